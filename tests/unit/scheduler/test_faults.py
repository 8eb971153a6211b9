import pytest

from scheduler.leases import FRUITLESS_S
from scheduler.registry import ALONE_S_MAX
from swarm.availability import full, span
from swarm.ids import HostId, TaskId
from swarm.messages import Completed, Lease, LeaseRevoked, NoSource, OriginFault, TaskInfo
from swarm.pieces import PIECE_BYTES_MIN
from tests.support.scheduler_playbook import BLOB, LAYER, REGISTRY, Playbook


def started(*names: str, size: int = LAYER) -> tuple[Playbook, str, Lease]:
    play = Playbook(Playbook.config(connections=2))
    play.attach(*names)
    play.wait(5.0)
    play.join(*names, size=size)
    play.machine.cluster.registries[REGISTRY].connections = 1
    owner, lease = play.only_lease_ever()
    return play, owner, lease


@pytest.mark.parametrize("fault", [OriginFault.CUT, OriginFault.UNREACHABLE, OriginFault.SERVER_ERROR])
def test_another_host_goes_on_where_one_failed(fault: OriginFault) -> None:
    play, owner, lease = started("a", "b")
    play.holds(owner, full(3))
    play.fails(owner, lease, fault, next_piece=3)
    other, again = play.only_lease()
    assert other != owner
    assert (again.start, again.epoch) == (3, lease.epoch + 1)
    assert play.notes("lease_failed")[0].fields[1] == ("fault", fault.name)


def test_after_each_failure_whoever_failed_least_is_asked() -> None:
    play, owner, lease = started("a", "b", "c")
    asked = [owner]
    for _ in range(2):
        play.fails(owner, lease, OriginFault.CUT)
        play.wait(1.0)
        owner, lease = [(name, given[0]) for name, given in play.leases(play.said).items()][-1]
        asked.append(owner)
    assert sorted(asked) == ["a", "b", "c"]


def test_what_a_failed_owner_finished_is_not_leased_again_before_it_shows_it() -> None:
    play, owner, lease = started("a", "b")
    play.fails(owner, lease, OriginFault.CUT, next_piece=3)
    play.starves(owner, full(3))
    task = play.machine.cluster.tasks[BLOB]
    assert task.leased & full(3) == full(3)
    assert sum(bool(one.bits() & full(3)) for one in task.leases) == 1


def test_an_origin_that_throttles_is_left_alone_for_as_long_as_it_asks() -> None:
    play, owner, lease = started("a", "b")
    play.fails(owner, lease, OriginFault.THROTTLED, retry_after_s=7.0)
    play.join("c")
    play.starves("b", full(4))
    play.wait(6.9)
    assert play.leases() == {}
    assert not [command for name in "abc" for command in play.told(name, NoSource, play.said)]
    play.wait(0.2)
    assert play.only_lease()[1].start == 0
    assert play.machine.cluster.registries[REGISTRY].connections == 1


def test_a_host_that_is_over_its_own_limit_is_not_the_one_that_asks_next() -> None:
    play, owner, lease = started("a", "b")
    play.fails(owner, lease, OriginFault.THROTTLED, retry_after_s=300.0)
    play.wait(ALONE_S_MAX + 0.1)
    other, again = play.only_lease()
    assert other != owner
    play.fails(other, again, OriginFault.THROTTLED, retry_after_s=300.0)
    play.wait(299.0)
    assert play.leases() == {}, "two heard the same: it is meant for all"


def test_an_origin_that_ignores_range_is_read_whole_by_one_host() -> None:
    play, owner, lease = started("a", "b")
    play.fails(owner, lease, OriginFault.NO_RANGE)
    _, again = play.only_lease()
    assert (again.start, again.end, again.no_range) == (0, 128, True)
    play.starves("b", full(128))
    assert play.leases() == {}
    play.join("c", task=BLOB)
    assert play.leases() == {}


def test_who_is_denied_asks_no_more_and_the_next_one_does() -> None:
    play, owner, lease = started("a", "b", "c")
    asked = [owner]
    for _ in range(2):
        play.fails(owner, lease, OriginFault.DENIED)
        owner, lease = play.only_lease()
        asked.append(owner)
    assert sorted(asked) == ["a", "b", "c"]
    play.fails(owner, lease, OriginFault.NOT_FOUND)
    assert [play.told(name, NoSource) for name in "abc"] == [[NoSource(BLOB, OriginFault.NOT_FOUND)]] * 3
    play.join("d")
    assert play.only_lease()[0] == "d"


def test_who_calls_for_what_nobody_may_fetch_is_told_so_and_nobody_else_again() -> None:
    play, owner, lease = started("a", "b", "c")
    for peer in play.machine.cluster.tasks[BLOB].peers.values():
        peer.may_fetch = False
        play.machine.cluster.tasks[BLOB].file(peer)
    play.fails(owner, lease, OriginFault.DENIED)
    assert [play.told(name, NoSource) for name in "abc"] == [[NoSource(BLOB, OriginFault.DENIED)]] * 3
    play.machine.cluster.tasks[BLOB].peers[HostId("c")].warned = False
    play.starves("b", full(4))
    assert [len(play.told(name, NoSource)) for name in "abc"] == [0, 1, 0]


def test_each_of_very_many_leases_of_one_host_can_end() -> None:
    play = Playbook(Playbook.config(connections=4))
    play.attach("a", "b")
    play.wait(5.0)
    tasks = [TaskId(f"sha256:{number:064x}") for number in range(80)]
    for task in tasks:
        play.join("a", task=task, size=1000)
    given = play.leases(play.said)["a"]
    assert len(given) == len(tasks)
    play.join("b", task=tasks[70], size=1000)
    play.fails("a", given[70], OriginFault.CUT)
    assert play.only_lease()[0] == "b"


def test_nobody_may_fetch_what_nobody_holds() -> None:
    play = Playbook()
    play.attach("a")
    play.wait(5.0)
    play.join("a", may_fetch=False)
    assert play.told("a", NoSource) == [NoSource(BLOB, OriginFault.DENIED)]


def test_right_after_a_start_others_may_yet_come() -> None:
    play = Playbook()
    play.join("a", may_fetch=False)
    assert play.told("a", NoSource) == []
    play.wait(3.1)
    assert play.told("a", NoSource)


def test_wrong_content_is_not_asked_of_the_same_host_again() -> None:
    play, owner, lease = started("a")
    play.fails(owner, lease, OriginFault.WRONG_CONTENT)
    assert play.told("a", NoSource) == [NoSource(BLOB, OriginFault.WRONG_CONTENT)]


def test_a_client_that_went_away_is_nobodys_fault() -> None:
    play, owner, lease = started("a", "b")
    play.fails(owner, lease, OriginFault.ABANDONED)
    other, again = play.only_lease()
    assert other != owner
    assert again.start == 0
    assert (
        play.machine.cluster.hosts[play.machine.cluster.tasks[BLOB].peers.popitem()[1].host.id].failures == 0
    )


def test_a_sick_origin_is_asked_ever_less_and_then_the_truth_is_told() -> None:
    play, owner, lease = started("a")
    began, times = play.now, []
    while not play.told("a", NoSource):
        times.append(play.now)
        play.fails(owner, lease, OriginFault.SERVER_ERROR)
        if not play.leases() and not play.told("a", NoSource):
            play.wait(play.machine.wakeup_at() - play.now)
        if play.leases():
            owner, lease = play.only_lease()
    assert FRUITLESS_S <= play.now - began < 3 * FRUITLESS_S
    assert len(times) < 10


def test_one_piece_is_hope_enough() -> None:
    play, owner, lease = started("a")
    for pieces in range(1, 12):
        play.holds("a", full(pieces))
        play.fails(owner, lease, OriginFault.CUT, next_piece=pieces)
        owner, lease = play.only_lease()
        play.wait(1.0)
    assert not play.told("a", NoSource, play.said)


def test_the_origins_size_counts_and_everybody_starts_over() -> None:
    play, owner, lease = started("a", "b")
    play.holds("b", 0b1)
    play.fails(owner, lease, OriginFault.SIZE_MISMATCH, size=20 * PIECE_BYTES_MIN)
    other, again = play.only_lease()
    assert other != owner
    play.fails(other, again, OriginFault.SIZE_MISMATCH, size=20 * PIECE_BYTES_MIN)
    assert [play.told(name, TaskInfo) for name in "ab"] == [[TaskInfo(BLOB, 20 * PIECE_BYTES_MIN)]] * 2
    task = play.machine.cluster.tasks[BLOB]
    assert (task.pieces.count, task.held) == (20, 0)
    assert play.only_lease()[1].end <= 20
    assert len(task.fetchers) == 2, "who said it first fetches again"


def test_one_host_alone_does_not_change_a_size() -> None:
    play, owner, lease = started("a", "b", "c")
    honest = [name for name in "abc" if name != owner]
    play.holds(honest[0], full(100))
    play.fails(owner, lease, OriginFault.SIZE_MISMATCH, size=1)
    task = play.machine.cluster.tasks[BLOB]
    assert (task.pieces.size, task.held) == (LAYER, full(100))
    assert [play.told(name, TaskInfo) for name in honest] == [[], []]
    assert play.only_lease()[0] in honest
    assert not task.peers[HostId(owner)].may_fetch


def test_hosts_that_contradict_each_other_change_no_size() -> None:
    play, owner, lease = started("a", "b", "c")
    play.fails(owner, lease, OriginFault.SIZE_MISMATCH, size=1)
    other, again = play.only_lease()
    play.fails(other, again, OriginFault.SIZE_MISMATCH, size=2)
    assert play.machine.cluster.tasks[BLOB].pieces.size == LAYER
    assert play.only_lease()[0] not in (owner, other)


def test_a_size_that_a_digest_proved_is_not_changed() -> None:
    play, owner, lease = started("a", "b")
    other = "b" if owner == "a" else "a"
    play.holds(other, full(128))
    play.says(other, Completed(BLOB))
    play.fails(owner, lease, OriginFault.SIZE_MISMATCH, size=20 * PIECE_BYTES_MIN)
    assert play.machine.cluster.tasks[BLOB].pieces.size == LAYER


def test_sizes_that_keep_changing_are_given_up() -> None:
    play, owner, lease = started("a")
    for size in (10, 20, 30, 40):
        play.fails(owner, lease, OriginFault.SIZE_MISMATCH, size=2 * size * PIECE_BYTES_MIN)
        if play.leases():
            owner, lease = play.only_lease()
    assert play.told("a", NoSource)


def test_a_failure_of_a_lease_that_is_long_over_changes_nothing() -> None:
    play, owner, lease = started("a", "b")
    play.wait(10.1)
    assert play.told(owner, LeaseRevoked)
    assert play.fails(owner, lease, OriginFault.DENIED) == []
    assert span(0, 8) & play.machine.cluster.tasks[BLOB].free() == 0
