import pytest

from scheduler.config import LeaseConfig, SchedulerConfig
from scheduler.events import EpochSaved
from scheduler.leases import HERD_S, PRIVATE_AFTER_S
from swarm.availability import full, span
from swarm.ids import Epoch, TaskId
from swarm.messages import Lease, LeaseProgress, LeaseRevoked, Leave, NoSource, OriginFault, Priority
from swarm.pieces import MIB
from tests.support.scheduler_playbook import BLOB, LAYER, REGISTRY, Playbook

OTHER = TaskId("sha256:" + "d" * 64)


def started(*names: str, connections: int = 4) -> tuple[Playbook, str, Lease]:
    """A swarm with one lease out, as always until the registry has shown that it honours Range."""
    play = Playbook(Playbook.config(connections))
    play.join(*names)
    owner, lease = play.only_lease_ever()
    return play, owner, lease


def ranges(play: Playbook) -> list[tuple[str, int, int]]:
    return sorted(
        (owner, lease.start, lease.end) for owner, given in play.leases().items() for lease in given
    )


def test_until_range_is_known_to_be_honoured_one_lease_is_out() -> None:
    play, owner, lease = started("a", "b", "c")
    play.starves("b", full(128))
    assert play.leases() == {}
    play.fetches(owner, lease, 0)
    assert sorted((start, end) for _, start, end in ranges(play)) == [(8, 16), (16, 24)]


def test_leases_are_spread_over_hosts() -> None:
    play, owner, lease = started("a", "b", "c", "d")
    play.fetches(owner, lease, 0)
    assert sorted(play.leases()) == sorted({"a", "b", "c", "d"} - {owner})


def test_a_lone_host_gets_another_connection_with_each_answer_of_the_origin() -> None:
    play, _, lease = started("a")
    play.fetches("a", lease, lease.start)
    assert play.leases() == {}, "others may yet come"
    play.wait(HERD_S)
    _, lease = play.only_lease()
    assert lease.start == 8
    for number in range(2, 4):
        play.fetches("a", lease, lease.start)
        _, lease = play.only_lease()
        assert lease.start == 8 * number
    play.fetches("a", lease, lease.start)
    assert play.leases() == {}, "four connections of one host are enough"


def test_the_next_lease_is_granted_ahead_of_need() -> None:
    play, owner, lease = started("a", "b", connections=1)
    play.fetches(owner, lease, 6)
    assert play.leases() == {}
    play.fetches(owner, lease, 7)
    assert play.only_lease()[1].start == 8
    play.fetches(owner, lease, 8)
    assert play.leases() == {}


def test_a_lease_is_sent_only_once_its_epoch_is_saved() -> None:
    play = Playbook()
    play.attach("a")
    play.store_answers = False
    play.join("a")
    play.event(play.waiting.pop(0))
    assert play.leases() == {}
    play.event(play.waiting.pop(0))
    assert play.only_lease()[0] == "a"
    assert play.event(EpochSaved(BLOB, Epoch(1))) == [], "said twice is said once"


def test_an_owner_that_left_while_its_epoch_was_saved_is_replaced() -> None:
    play = Playbook()
    play.join("x")
    play.says("x", Leave(BLOB))
    play.store_answers = False
    play.join("a")
    play.event(play.waiting.pop(0))
    play.join("b")
    play.says("a", Leave(BLOB))
    play.store_answers = True
    play.wait(0)
    play.event(play.waiting.pop(0))
    assert play.only_lease()[0] == "b"


def test_silence_costs_the_owner_its_lease_and_only_the_missing_suffix_is_leased_again() -> None:
    play, owner, lease = started("a", "b", connections=1)
    play.fetches(owner, lease, 3)
    play.holds(owner, full(3))
    play.wait(9.9)
    assert play.leases() == {}
    play.wait(0.2)
    assert play.told(owner, LeaseRevoked) == [LeaseRevoked(BLOB, lease.epoch)]
    other, again = play.only_lease()
    assert (again.start, again.end, again.epoch) == (3, 11, lease.epoch + 1)
    assert other != owner
    assert play.notes("lease_expired")


def test_owners_that_say_nothing_get_ever_more_time_and_are_no_proof_against_the_origin() -> None:
    play, _, _ = started("a", "b", "c", connections=1)
    began, granted = play.now, []
    while len(granted) < 4:
        play.wait(play.machine.wakeup_at() - play.now)
        granted += [play.now - began] * len(play.leases())
    assert [round(at) for at in granted] == [10, 30, 70, 150]
    assert not any(play.told(name, NoSource) for name in "abc")


@pytest.mark.parametrize("sign", ["lease progress", "pieces"])
def test_a_sign_of_life_renews_a_lease(sign: str) -> None:
    play, owner, lease = started("a", "b")
    for pieces in range(1, 6):
        play.wait(6.0)
        if sign == "pieces":
            play.holds(owner, full(pieces))
        else:
            play.fetches(owner, lease, 0)
    expired = {dict(note.fields)["epoch"] for note in play.notes("lease_expired")}
    assert lease.epoch not in expired


def test_fetched_pieces_stay_covered_until_the_owner_shows_that_it_holds_them() -> None:
    play, owner, lease = started("a", "b", connections=1)
    play.fetches(owner, lease, 8)
    task = play.machine.cluster.tasks[BLOB]
    assert task.leased & span(0, 8) == span(0, 8)
    play.holds(owner, full(8))
    assert not task.leased & span(0, 8)
    assert task.held == full(8)


def test_a_lost_hosts_lease_lives_until_it_had_time_to_attach_again() -> None:
    play, owner, lease = started("a", "b", connections=1)
    play.fetches(owner, lease, 3)
    play.holds(owner, full(3))
    play.lose(owner)
    assert play.leases() == {}, "it may go on fetching while it attaches again"
    task = play.machine.cluster.tasks[BLOB]
    assert not task.free() & span(0, 3), "others may have taken what it held, and not told yet"
    play.wait(0.4)
    assert task.free() & span(0, 3) == span(0, 3), "what it alone held is out of reach"
    play.wait(1.6)
    assert play.leases()
    assert play.machine.cluster.tasks[BLOB].free() & span(0, 8) == 0


def test_a_lease_that_is_not_its_own_any_more_is_taken_back_from_who_works_on_it() -> None:
    play, owner, lease = started("a", "b")
    play.wait(10.1)
    play.says(owner, LeaseProgress(BLOB, lease.epoch, 2, MIB))
    assert play.told(owner, LeaseRevoked) == [LeaseRevoked(BLOB, lease.epoch)]
    play.says(owner, LeaseProgress(BLOB, lease.epoch, lease.end, 4 * MIB))
    assert play.told(owner, LeaseRevoked) == [], "it just tells its end"


def test_connections_belong_to_the_registry_and_urgent_tasks_go_first() -> None:
    play, owner, lease = started("a", "b", connections=1)
    play.fetches(owner, lease, 0)
    others = [TaskId("sha256:" + letter * 64) for letter in "ef"]
    play.join("a", "b", task=others[0])
    play.machine.cluster.tasks[others[0]].priority = Priority.SEEDING
    play.join("a", "b", task=others[1])
    assert play.leases() == {}, "one connection, one lease"
    play.completes(owner)
    assert play.only_lease()[1].task == others[1]
    play.join("c", task=TaskId("sha256:" + "c" * 64), registry="other.example")
    assert play.only_lease()[0] == "c"


def test_a_tiny_blob_does_not_wait_for_a_connection_that_a_layer_has() -> None:
    play, owner, lease = started("a", connections=1)
    tiny = TaskId("sha256:" + "c" * 64)
    play.fails(owner, lease, OriginFault.THROTTLED, retry_after_s=10.0)
    play.join("b")
    play.join("c", task=tiny, size=50_000)
    assert play.leases(play.wait(9.9)) == {}
    granted = [given.task for leases in play.leases(play.wait(0.2)).values() for given in leases]
    assert sorted(granted) == [BLOB, tiny]


def test_a_task_that_nobody_can_fetch_does_not_block_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scheduler.granting.SERVED_AT_ONCE_MAX", 1)
    play, _, _ = started("a", connections=1)
    hopeless, hopeful = [TaskId("sha256:" + letter * 64) for letter in "ef"]
    for task in (hopeless, hopeful):
        play.join("c", task=task)
    play.join("c", task=hopeless, may_fetch=False)
    play.completes("a")
    assert play.leases(play.said).keys() == {"a"}
    for _ in range(2):
        play.machine._granting.feed(play.machine.cluster.registries[REGISTRY])
    assert [lease.host for lease in play.machine.cluster.tasks[hopeful].leases] == ["c"]


def test_more_connections_while_they_bring_more() -> None:
    play, owner, lease = started("a", "b", "c", "d", "e", "f", connections=1)
    play.fetches(owner, lease, 0)
    play.now += 1.5
    play.says(owner, LeaseProgress(BLOB, lease.epoch, 1, MIB))
    assert play.machine.cluster.registries[REGISTRY].connections == 2
    assert len(play.leases()) == 1


def test_a_host_without_store_fetches_for_itself_only_if_nobody_could_for_all() -> None:
    play = Playbook()
    play.join("ring", stores=False)
    owner, lease = play.only_lease()
    assert (owner, lease.start, lease.private) == ("ring", 0, True)
    play.fetches("ring", lease, 7)
    assert play.only_lease()[1].start == 8, "the next range comes ahead of need"
    play.join("b")
    _, public = play.only_lease()
    assert (public.start, public.private) == (0, False)
    play.starves("ring", span(64, 70))
    assert play.leases() == {}


def test_a_starving_host_that_stores_nothing_is_lent_no_pieces_that_others_wait_for() -> None:
    play = Playbook()
    play.join("ring", stores=False)
    _, lease = play.only_lease()
    play.fetches("ring", lease, 1)
    play.now += 1.0
    play.starves("ring", span(64, 70))
    assert all(lease.private for lease in play.leases().get("ring", [])), (
        "else nobody fetches what it never serves"
    )
    assert not play.machine.cluster.tasks[BLOB].leased


def test_what_is_missing_before_a_range_that_was_lent_ahead_is_lent_too() -> None:
    play = Playbook()
    play.join("ring", stores=False)
    _, lease = play.only_lease()
    play.fetches("ring", lease, lease.end - 1)
    _, ahead = play.only_lease()
    assert ahead.start == lease.end
    play.fetches("ring", ahead, ahead.start)
    play.wait(HERD_S)
    play.fails("ring", lease, OriginFault.CUT, lease.end - 1)
    play.starves("ring", 1 << lease.end - 1)
    _, again = play.only_lease()
    assert (again.start, again.end, again.private) == (lease.end - 1, lease.end, True)
    play.starves("ring", 1 << lease.end - 1)
    assert play.leases() == {}, "once"


def test_a_host_whose_client_takes_nothing_has_no_connection() -> None:
    play = Playbook(Playbook.config(connections=1))
    play.join("ring", task=OTHER, stores=False)
    _, lease = play.only_lease_ever()
    play.fetches("ring", lease, 2)
    play.said.clear()
    play.join("a")
    assert play.leases(play.said) == {}
    play.fetches("ring", lease, 2)
    owner, public = play.only_lease()
    assert (owner, public.private) == ("a", False)
    registry = play.machine.cluster.registry(REGISTRY)
    play.fetches("ring", lease, 3)
    assert registry.busy() == 2, "it goes on"


def test_who_fetches_for_all_goes_before_who_stores_nothing() -> None:
    play = Playbook(Playbook.config(connections=1))
    play.join("ring", task=OTHER, stores=False)
    _, lease = play.only_lease_ever()
    play.fetches("ring", lease, 2)
    play.join("a")
    play.said.clear()
    play.fetches("ring", lease, lease.end)
    assert list(play.leases(play.said)) == ["a"]
    play.fails("a", play.only_lease()[1], OriginFault.ABANDONED)
    play.says("a", Leave(BLOB))
    play.wait(HERD_S)
    play.starves("ring", full(128) & ~full(lease.end), OTHER)
    assert play.only_lease()[1].start == lease.end


def test_a_host_that_stores_nothing_waits_for_who_fetches_for_all_but_not_for_long() -> None:
    play, owner, lease = started("a", connections=6)
    play.join("ring", stores=False)
    play.fetches(owner, lease, 1)
    play.wait(HERD_S)
    assert list(play.leases()) == ["a"], "the last thing that anybody fetches for all"
    play.wait(PRIVATE_AFTER_S - 0.1)
    free = play.machine.cluster.tasks[BLOB].free()
    play.starves("ring", free)
    assert "ring" not in play.leases()
    play.wait(0.2)
    play.starves("ring", free)
    assert [lent.private for lent in play.leases()["ring"]] == [True]


def test_a_starving_host_gets_what_it_wants_first() -> None:
    play, owner, lease = started("a", "b", connections=1)
    play.fails(owner, lease, OriginFault.THROTTLED, retry_after_s=1.0)
    play.now += 1.5
    play.starves("b", span(100, 110))
    assert ranges(play) == [("b", 100, 108)]


def test_lease_owners_have_three_children() -> None:
    play = Playbook(SchedulerConfig(lease=LeaseConfig(bytes_min=4 * MIB, parts=16)), strict=False)
    play.join(*[f"h{number}" for number in range(300)])
    play.fetches(*play.only_lease_ever(), 0)
    peers = play.machine.cluster.tasks[BLOB].peers
    assert all(len(peer.children) >= 3 for peer in peers.values() if peer.leases)
    assert play.machine.cluster.tasks[BLOB].pieces.size == LAYER


def crawling(*names: str, connections: int = 2) -> tuple[Playbook, str, Lease]:
    """The whole blob is one lease, of an owner that brings a piece a second where the origin gave 1,000 MiB."""
    config = LeaseConfig(bytes_min=LAYER, connections=connections, connections_max=max(2, connections))
    play = Playbook(SchedulerConfig(lease=config))
    play.join(*names)
    owner, lease = play.only_lease_ever()
    registry = play.machine.cluster.registries[REGISTRY]
    registry.best_rate = 1000 * MIB
    registry.learned_ranges(True, play.now)
    for pieces in range(2):
        play.now += 1.01
        play.holds(owner, full(pieces))
        play.fetches(owner, lease, pieces)
    return play, owner, lease


def test_a_slow_owner_is_relieved_of_most_that_it_has_left() -> None:
    play, owner, lease = crawling("a", "b")
    given = play.leases()
    kept, rest = given[owner][0], given[next(name for name in given if name != owner)][0]
    assert (kept.epoch, kept.start, kept.end) == (lease.epoch, 0, 2)
    assert (rest.start, rest.end) == (2, 128)
    assert play.notes("lease_relieved")
    play.holds(owner, full(2))
    assert [one.start for one in play.machine.cluster.tasks[BLOB].leases] == [2], "its part is over"


@pytest.mark.parametrize(("names", "connections"), [(("a",), 2), (("a", "b"), 1)])
def test_a_slow_owner_keeps_what_no_other_could_fetch_now(names: tuple[str, ...], connections: int) -> None:
    play, _, _ = crawling(*names, connections=connections)
    assert len(play.leases(play.said)) == 1
    assert not play.notes("lease_relieved")
