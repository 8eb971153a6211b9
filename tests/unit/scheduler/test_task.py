import pytest

from scheduler.host import Host, HostEvent
from scheduler.lease import Lease
from scheduler.peer import Peer, PeerEvent
from scheduler.task import (
    GRANTS_REMEMBERED,
    REGISTRIES_PER_TASK_MAX,
    SIZE_CLAIMS_MAX,
    TASK_STATES,
    Task,
    TaskEvent,
    TaskState,
)
from swarm.ids import UNGRANTED, Epoch, HostId, TaskId
from swarm.messages import HostInfo, PieceRecord
from swarm.pieces import PIECE_BYTES_MIN, PieceMap


def task() -> Task:
    return Task(TaskId("t"), PieceMap.of(8 * PIECE_BYTES_MIN), children_max=4)


def add(one: Task, name: str, bits: int = 0, zone: str = "") -> Peer:
    host = Host(HostInfo(HostId(name), (), zone))
    host.happen(HostEvent.ATTACH)
    peer = one.peers[host.id] = Peer(host, may_fetch=True)
    peer.happen(PeerEvent.WELCOME)
    one.gained(peer, bits)
    one.file(peer)
    return peer


def lease(host: str, start: int, end: int, epoch: int = 1, private: bool = False) -> Lease:
    return Lease(TaskId("t"), HostId(host), "r", Epoch(epoch), start, end, 100, 10.0, private)


def record(index: int, digest: bytes = b"d", epoch: int = 1) -> PieceRecord:
    return PieceRecord(index, digest * 16, Epoch(epoch))


@pytest.mark.parametrize("state", TaskState)
@pytest.mark.parametrize("event", TaskEvent)
def test_each_state_meets_each_event(state: TaskState, event: TaskEvent) -> None:
    one = task()
    one.state = state
    expected = TASK_STATES.get((state, event))
    if expected is None:
        assert (event, state is TaskState.LOADING) == (TaskEvent.LOADED, False)
        with pytest.raises(KeyError):
            one.happen(event)
    else:
        one.happen(event)
        assert one.state is expected


def test_a_piece_is_held_leased_or_free() -> None:
    one = task()
    add(one, "a", 0b0000_0011)
    add(one, "b", 0b0000_0110)
    one.add_lease(lease("a", 4, 6))
    assert one.held == 0b0000_0111
    assert one.leased == 0b0011_0000
    assert one.free() == 0b1100_1000


def test_pieces_whose_last_holder_goes_are_free() -> None:
    one = task()
    add(one, "a", 0b0011)
    peer = add(one, "b", 0b0110)
    del one.peers[peer.host.id]
    one.unfile(peer)
    assert one.withdrawn(peer) == 0b0100
    assert one.held == 0b0011


def test_a_peer_that_holds_less_than_before_frees_what_nobody_else_has() -> None:
    one = task()
    add(one, "a", 0b0001)
    peer = add(one, "b", 0b1111)
    assert one.changed(peer, 0b1_0001) == 0b1110
    assert one.held == 0b1_0001


def test_what_a_host_without_store_holds_counts_for_nobody() -> None:
    one = task()
    peer = add(one, "a")
    peer.stores = False
    one.gained(peer, 0b11)
    assert one.held == 0


def test_pools_follow_the_state_of_a_peer() -> None:
    one = task()
    peer = add(one, "a", 1, zone="z")
    zone = one.zone("z")
    assert (peer in zone.growing, peer in zone.complete, peer in zone.holders) == (True, False, True)
    assert one.has_fetchers()
    peer.happen(PeerEvent.COMPLETE)
    one.file(peer)
    assert (peer in zone.growing, peer in zone.complete, peer in zone.holders) == (False, True, True)
    assert not one.has_fetchers()
    one.unfile(peer)
    assert not one.zones


def test_only_records_of_an_own_lease_are_believed() -> None:
    one = task()
    one.add_lease(lease("a", 0, 4, epoch=7))
    mine, ungranted = record(1, epoch=7), record(2, epoch=UNGRANTED)
    assert one.believe(HostId("b"), (mine,)) == ([], [])
    assert one.believe(HostId("a"), (ungranted, record(5, epoch=7), mine)) == ([mine], [])
    assert one.records() == (mine,)
    assert one.record(1) == mine


def test_a_contradiction_shows_and_the_later_lease_counts() -> None:
    one = task()
    one.add_lease(lease("a", 0, 4, epoch=7))
    one.add_lease(lease("b", 0, 4, epoch=8))
    one.believe(HostId("a"), (record(1, b"x", 7),))
    other = record(1, b"y", 8)
    assert one.believe(HostId("b"), (other,)) == ([other], [other])
    assert one.records() == (other,)


def test_the_records_of_a_liar_go() -> None:
    one = task()
    one.add_lease(lease("a", 0, 2, epoch=1))
    one.add_lease(lease("b", 2, 4, epoch=2))
    one.believe(HostId("a"), (record(0, epoch=1),))
    one.believe(HostId("b"), (record(2, epoch=2),))
    one.disbelieve(HostId("a"))
    assert one.records() == (record(2, epoch=2),)
    assert one.believe(HostId("a"), (record(0, epoch=1),)) == ([], [])


def test_a_record_has_its_maker_as_long_as_its_grant_is_remembered() -> None:
    one = task()
    one.add_lease(lease("a", 0, 2, epoch=1))
    assert one.maker(record(0, epoch=1)) == "a"
    one.disbelieve(HostId("a"))
    assert one.maker(record(0, epoch=1)) is None


def test_the_shared_store_tells_records_within_the_blob() -> None:
    one = task()
    one.remember_records((record(3), record(0), record(99)))
    assert [known.index for known in one.records()] == [0, 3]


def test_remembered_grants_are_bounded() -> None:
    one = task()
    for epoch in range(1, GRANTS_REMEMBERED + 10):
        one.add_lease(lease("a", 0, 1, epoch, private=True))
    assert len(one.grants) == GRANTS_REMEMBERED


def test_another_size_starts_over() -> None:
    one = task()
    peer = add(one, "a", 0b11)
    one.remember_records((record(0),))
    one.resize(4 * PIECE_BYTES_MIN)
    assert (one.held, peer.bits, one.records(), one.all_bits()) == (0, 0, (), 0b1111)


def test_registries_that_nobody_uses_make_room() -> None:
    one = task()
    for number in range(REGISTRIES_PER_TASK_MAX):
        assert one.add_registry(f"r{number}")
    assert one.add_registry("r0"), "it is known"
    assert not one.add_registry("other")
    add(one, "a").registry = "r1"
    complete = add(one, "b")
    complete.registry = "r2"
    complete.happen(PeerEvent.COMPLETE)
    one.add_lease(Lease(TaskId("t"), HostId("c"), "r3", Epoch(1), 0, 2, 100, 10.0))
    assert one.drop_unused_registries() == ["r0", "r2", "r4", "r5", "r6", "r7"]
    assert one.add_registry("other")


def test_grants_and_doubts_of_another_size_are_void() -> None:
    one = task()
    one.add_lease(lease("a", 0, 4, epoch=7))
    one.leases.clear()
    one.doubt(0b1, until=99.0)
    one.inline_held = True
    one.resize(4 * PIECE_BYTES_MIN)
    assert one.believe(HostId("a"), (record(1, epoch=7),)) == ([], [])
    assert one.free() == 0b1111


def test_only_another_host_confirms_a_size() -> None:
    one = task()
    assert not one.claim_size(HostId("a"), 5)
    assert not one.claim_size(HostId("a"), 5)
    assert not one.claim_size(HostId("b"), 6)
    assert one.claim_size(HostId("c"), 5)


def test_remembered_sizes_are_bounded_and_void_after_a_change() -> None:
    one = task()
    for number in range(SIZE_CLAIMS_MAX + 10):
        one.claim_size(HostId(f"h{number}"), number)
    assert len(one.size_claims) == SIZE_CLAIMS_MAX
    one.resize(4 * PIECE_BYTES_MIN)
    assert not one.claim_size(HostId("a"), 5)
