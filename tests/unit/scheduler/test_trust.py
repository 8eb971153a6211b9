from scheduler import trust
from scheduler.claims import ANSWER_S
from scheduler.trust import Reports
from swarm.availability import full
from swarm.ids import HostId
from swarm.messages import (
    LeaseRevoked,
    NoSource,
    PieceRecord,
    PieceRejected,
    Progress,
    Quarantine,
    TaskInfo,
    TaskProgress,
)
from tests.support.scheduler_playbook import BLOB, Playbook


def reject(play: Playbook, reporter: str, parent: str, index: int = 0) -> None:
    play.says(reporter, PieceRejected(BLOB, index, HostId(parent), b"claimed" * 2, b"actual" * 2))


def swarm(*names: str) -> Playbook:
    play = Playbook()
    play.join(*names)
    for name in names:
        play.holds(name, full(4))
    return play


def test_one_report_keeps_a_pair_apart_and_brings_help() -> None:
    play = swarm("a", "b", "c", "d")
    reject(play, "a", "b")
    assert not play.notes("quarantine")
    task = play.machine.cluster.tasks[BLOB]
    a, b = (task.peers[HostId(name)] for name in "ab")
    assert b not in a.parents
    assert a in b.parents
    for _ in range(5):
        play.starves("a", full(4))
        assert "b" not in play.parents("a")


def test_who_rejected_the_only_holder_is_told_to_fetch_by_itself() -> None:
    play = Playbook()
    play.join("holder")
    play.holds("holder", full(8))
    play.join("a")
    reject(play, "a", "holder")
    play.starves("a", full(8))
    assert len(play.told("a", NoSource)) == 1
    play.join("b")
    play.starves("b", full(8))
    assert play.told("b", NoSource) == [], "for others it is a holder like any"


def test_who_rejected_one_of_two_holders_waits_for_the_other() -> None:
    play = swarm("a", "b", "c")
    play.join("d")
    reject(play, "d", "a")
    reject(play, "d", "b")
    play.starves("d", full(4))
    assert play.told("d", NoSource) == []


def test_two_reporters_put_a_host_in_quarantine_and_all_hear_of_it() -> None:
    play = swarm("a", "b", "c", "d")
    reject(play, "a", "b")
    reject(play, "a", "b", index=1)
    assert not play.notes("quarantine"), "the same reporter twice is one"
    reject(play, "c", "b")
    quarantine = Quarantine(HostId("b"), trust.QUARANTINE_S)
    assert [play.told(name, Quarantine) for name in "acd"] == [[quarantine]] * 3
    assert play.told("b", Quarantine) == []
    play.join("e")
    assert "b" not in play.parents("e")


def test_who_attaches_later_hears_who_is_in_quarantine_and_for_how_long() -> None:
    play = swarm("a", "b", "c")
    reject(play, "a", "b")
    reject(play, "c", "b")
    play.wait(100.0)
    play.attach("late")
    assert play.told("late", Quarantine) == [Quarantine(HostId("b"), trust.QUARANTINE_S - 100.0)]
    play.lose("b")
    play.attach("b")
    assert play.told("b", Quarantine) == [], "not of itself"


def test_reports_count_though_the_accused_attaches_only_later() -> None:
    play = swarm("a", "c")
    for reporter in "ac":
        reject(play, reporter, "b")
    assert not play.notes("quarantine")
    play.join("b")
    assert len(play.notes("quarantine")) == 1
    play.holds("b", full(8))
    play.starves("a", full(8))
    assert "b" not in play.parents("a")


def test_who_rejected_a_host_before_it_attached_is_not_sent_to_it() -> None:
    play = Playbook()
    play.join("a")
    reject(play, "a", "holder")
    play.join("holder")
    play.holds("holder", full(8))
    play.starves("a", full(8))
    assert "holder" not in play.parents("a")


def test_what_a_quarantined_host_holds_and_fetches_counts_for_nothing() -> None:
    play = Playbook(Playbook.config(connections=1))
    play.join("a", "b", "c")
    owner, lease = play.only_lease_ever()
    record = PieceRecord(0, b"d" * 16, lease.epoch)
    play.says(owner, Progress((TaskProgress(BLOB, full(2), (record,)),)))
    task = play.machine.cluster.tasks[BLOB]
    assert task.records() == (record,)
    others = [name for name in "abc" if name != owner]
    for name in others:
        reject(play, name, owner)
    assert play.told(owner, LeaseRevoked) == [LeaseRevoked(BLOB, lease.epoch)]
    new_owner, again = play.only_lease()
    assert new_owner in others
    assert again.start == 0
    assert task.records() == ()


def test_quarantine_ends() -> None:
    play = swarm("a", "b", "c")
    reject(play, "a", "b")
    reject(play, "c", "b")
    play.holds("b", full(6))
    task = play.machine.cluster.tasks[BLOB]
    assert task.held == full(4)
    play.wait(trust.QUARANTINE_S + 1)
    assert task.held == full(6)
    play.join("d")
    assert "b" in play.parents("d")


def test_quarantine_outlives_the_hosts_stream() -> None:
    play = swarm("a", "b", "c")
    reject(play, "a", "b")
    reject(play, "c", "b")
    play.lose("b")
    play.join("b")
    play.join("d")
    assert "b" not in play.parents("d")
    play.lose("b")
    play.wait(trust.QUARANTINE_S + 1)
    assert "b" not in play.machine.cluster.hosts


def test_reports_about_strangers_and_impossible_pieces_are_ignored() -> None:
    play = swarm("a", "b", "c")
    reject(play, "a", "stranger")
    reject(play, "a", "a")
    reject(play, "a", "b", index=500)
    assert not play.notes("piece_rejected")


def test_a_claim_against_the_lease_owners_record_is_noted() -> None:
    play = Playbook()
    play.join("a", "b", "c")
    owner, lease = play.only_lease_ever()
    record = PieceRecord(0, b"d" * 16, lease.epoch)
    play.says(owner, Progress((TaskProgress(BLOB, 1, (record,)),)))
    one, other = [name for name in "abc" if name != owner]
    reject(play, one, other)
    assert [note.host for note in play.notes("record_conflict")] == [other]


def test_who_alone_accuses_many_does_not_count() -> None:
    reports = Reports()
    liar = HostId("liar")
    assert reports.add(HostId("x"), liar, 0.0) == 1
    assert reports.add(HostId("y"), liar, 0.0) == 1
    assert reports.add(HostId("z"), liar, 0.0) == 0
    assert reports.add(HostId("w"), liar, 0.0) == 0
    assert reports.add(HostId("w"), HostId("honest"), 0.0) == 1


def test_old_reports_do_not_count() -> None:
    reports = Reports()
    reports.add(HostId("x"), HostId("a"), 0.0)
    assert reports.add(HostId("x"), HostId("b"), trust.REPORT_S + 1) == 1


def test_reports_are_bounded() -> None:
    reports = Reports()
    for number in range(trust.REPORTED_MAX + 10):
        reports.add(HostId(f"h{number}"), HostId(f"r{number}"), 0.0)
    assert len(reports) == trust.REPORTED_MAX
    for number in range(100):
        reports.add(HostId(f"h{number}"), HostId("liar"), 0.0)
        reports.add(HostId("accused"), HostId(f"r{number}"), 0.0)
    assert len(reports._by_reporter[HostId("liar")]) == trust.ACCUSED_REMEMBERED
    assert len(reports._by_accused[HostId("accused")]) == trust.REPORTERS_MAX


def test_a_crowd_of_suspects_does_not_silence_honest_hosts() -> None:
    reports = Reports()
    for liar in range(trust.REPORTERS_MAX):
        for number in range(trust.ACCUSED_MAX):
            reports.add(HostId(f"h{liar}-{number}"), HostId(f"liar{liar}"), 0.0)
        assert reports.add(HostId("accused"), HostId(f"liar{liar}"), 0.0) == 0
    assert reports.add(HostId("accused"), HostId("honest"), 1.0) == 1
    assert reports.add(HostId("accused"), HostId("honest-too"), 1.0) == 2


# --- pieces that have the digest that came with them ------------------------------------------------------------------

TRUE, WRONG = b"d" * 16, b"w" * 16


def misled(play: Playbook, reporter: str, parent: str, actual: bytes = WRONG, expected: bytes = TRUE) -> None:
    play.says(reporter, PieceRejected(BLOB, 0, HostId(parent), expected, actual, fits=True))


def recorded(*names: str) -> tuple[Playbook, str, list[str]]:
    """Hosts that download; the owner of the first lease told the digest of piece 0. Returns it, and the others."""
    play = Playbook(Playbook.config(connections=1))
    play.join(*names)
    owner, lease = play.only_lease_ever()
    play.says(owner, Progress((TaskProgress(BLOB, 1, (PieceRecord(0, TRUE, lease.epoch),)),)))
    return play, owner, [name for name in names if name != owner]


def quarantined(play: Playbook) -> set[str]:
    return {str(note.host) for note in play.notes("quarantine")}


def test_who_gave_a_forged_piece_is_told_what_is_right_and_judged_only_later() -> None:
    play, _, (forger, a, b) = recorded("w", "x", "y", "z")
    record = play.machine.cluster.tasks[BLOB].record(0)
    misled(play, a, forger)
    assert [info.records for info in play.told(forger, TaskInfo)] == [(record,)]
    misled(play, b, forger)
    assert play.told(forger, TaskInfo) == [], "it was told just now"
    play.wait(ANSWER_S - 0.1)
    assert quarantined(play) == set()
    play.wait(0.2)
    assert quarantined(play) == {forger}


def test_who_passed_a_forged_piece_on_and_says_so_is_innocent() -> None:
    play, _, (forger, relay, a, b) = recorded("v", "w", "x", "y", "z")
    misled(play, a, relay)
    misled(play, b, relay)
    misled(play, relay, forger)
    misled(play, a, forger)
    play.wait(ANSWER_S + 0.1)
    assert quarantined(play) == {forger}


def test_who_does_not_know_any_more_who_gave_it_says_that_it_has_it() -> None:
    play, _, (relay, a, b) = recorded("w", "x", "y", "z")
    misled(play, relay, relay)
    misled(play, a, relay)
    misled(play, b, relay)
    play.wait(ANSWER_S + 0.1)
    assert quarantined(play) == set()


def test_one_reporter_of_a_forged_piece_is_not_enough() -> None:
    play, _, (forger, a, _) = recorded("w", "x", "y", "z")
    misled(play, a, forger)
    misled(play, a, forger)
    play.wait(ANSWER_S + 0.1)
    assert quarantined(play) == set()


def test_who_is_gone_when_it_is_judged_could_not_answer() -> None:
    play, _, (relay, a, b) = recorded("w", "x", "y", "z")
    misled(play, a, relay)
    misled(play, b, relay)
    play.lose(relay)
    misled(play, a, relay)
    play.wait(ANSWER_S + 0.1)
    play.join(relay)
    play.wait(ANSWER_S + 0.1)
    assert quarantined(play) == set()


def test_without_a_record_nobody_can_tell_who_is_right() -> None:
    play = swarm("a", "b", "c")
    misled(play, "a", "b")
    misled(play, "c", "b")
    play.wait(ANSWER_S + 0.1)
    assert quarantined(play) == set()


def test_what_a_forger_told_of_its_lease_stays_known() -> None:
    play, owner, (a, b, _) = recorded("w", "x", "y", "z")
    records = play.machine.cluster.tasks[BLOB].records()
    misled(play, a, owner)
    misled(play, b, owner)
    play.wait(ANSWER_S + 0.1)
    assert quarantined(play) == {owner}
    assert play.machine.cluster.tasks[BLOB].records() == records
    forged = PieceRecord(1, WRONG, records[0].epoch)
    play.says(owner, Progress((TaskProgress(BLOB, 3, (forged,)),)))
    assert play.machine.cluster.tasks[BLOB].records() == records, "and it tells nothing more"


def test_where_the_record_is_what_is_wrong_its_maker_is_to_blame_and_not_who_passed_it_on() -> None:
    play, owner, (relay, a, b) = recorded("w", "x", "y", "z")
    misled(play, a, relay, actual=TRUE, expected=b"origin" * 2)
    assert quarantined(play) == set()
    misled(play, b, relay, actual=TRUE, expected=b"origin" * 2)
    assert quarantined(play) == {owner}
    assert play.machine.cluster.tasks[BLOB].records() == ()


def test_the_record_of_a_forger_in_quarantine_can_still_be_found_wrong() -> None:
    play, owner, (a, b, relay) = recorded("w", "x", "y", "z")
    misled(play, a, owner)
    misled(play, b, owner)
    play.wait(ANSWER_S + 0.1)
    for reporter in (a, b):
        misled(play, reporter, relay, actual=TRUE, expected=b"origin" * 2)
    assert play.machine.cluster.tasks[BLOB].records() == ()
    assert quarantined(play) == {owner}
