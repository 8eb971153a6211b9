import pytest

from scheduler import leases
from scheduler.config import LeaseConfig
from scheduler.host import Host, HostEvent
from scheduler.lease import Lease, LeaseState
from scheduler.peer import Peer, PeerEvent
from scheduler.registry import Registry
from scheduler.task import Task
from swarm.dice import Dice
from swarm.ids import Epoch, HostId, TaskId
from swarm.messages import HostInfo, Role
from swarm.pieces import MIB, PIECE_BYTES_MIN, PieceMap

CONFIG = LeaseConfig(bytes_min=4 * PIECE_BYTES_MIN, parts=8)
REGISTRIES = frozenset(("r",))


def bits(picture: str) -> int:
    """`.` is a piece that is held or leased, `*` is a free one."""
    return sum(1 << index for index, mark in enumerate(picture) if mark == "*")


@pytest.mark.parametrize(
    ("free", "preferred", "expected"),
    [
        ("****************", "", (0, 4)),
        ("..**************", "", (2, 6)),
        ("..*.************", "", (2, 3)),
        ("................", "", None),
        ("***.........****", "............*...", (12, 16)),
        ("***.........****", "....*...........", (0, 3)),
        ("..............**", "", (14, 16)),
    ],
)
def test_ranges_are_early_contiguous_and_bounded(
    free: str, preferred: str, expected: tuple[int, int] | None
) -> None:
    if expected is not None:
        assert (
            leases.next_range(bits(free), bits(preferred), PieceMap.of(16 * PIECE_BYTES_MIN), CONFIG)
            == expected
        )


@pytest.mark.parametrize(
    ("free", "expected"),
    [
        ("****************", (0, 4)),
        (".......*********", (7, 11)),
        ("........********", (8, 12)),
        (".........*******", (9, 16)),
        ("............****", (12, 16)),
        (".......*****.***", (7, 12)),
    ],
)
def test_a_layer_leaves_no_less_than_the_smallest_lease_has(free: str, expected: tuple[int, int]) -> None:
    pieces = PieceMap.of(16 * PIECE_BYTES_MIN)
    assert leases.next_range(bits(free), 0, pieces, CONFIG, leaves_crumbs=False) == expected


def test_a_large_blob_is_leased_in_parts_of_whole_pieces() -> None:
    pieces = PieceMap.of(1000 * MIB)
    assert leases.lease_pieces(pieces, pieces.count, CONFIG) == -(-125 * MIB // pieces.piece_bytes)


def test_the_last_leases_are_smaller_so_that_they_end_together() -> None:
    pieces = PieceMap.of(1000 * MIB)
    assert leases.lease_pieces(pieces, 100, CONFIG) == 100 // leases.SHRINK
    assert leases.lease_pieces(pieces, 3, CONFIG) * pieces.piece_bytes == CONFIG.bytes_min


def team(*names: str) -> tuple[Task, dict[str, Peer]]:
    """Hosts that may all fetch; a capital letter is a seed, the second letter a zone."""
    task, peers = Task(TaskId("t"), PieceMap.of(128 * PIECE_BYTES_MIN), 16), {}
    for name in names:
        role = Role.SEED if name[0].isupper() else Role.NORMAL
        host = Host(HostInfo(HostId(name), (), name[1:], role=role))
        host.happen(HostEvent.ATTACH)
        peer = peers[name] = task.peers[host.id] = Peer(host, "r", may_fetch=True)
        peer.happen(PeerEvent.WELCOME)
        task.file(peer)
    return task, peers


def give(task: Task, peer: Peer, state: LeaseState = LeaseState.STARTED) -> None:
    lease = Lease(task.id, peer.host.id, "r", Epoch(1), 0, 20, 100, 10.0, state=state)
    task.leases.append(lease)
    peer.leases.append(lease)
    peer.host.leases.append(lease)


def owner(task: Task, now: float = 0.0) -> str:
    able = leases.able_owners(task, REGISTRIES, now, Dice(5))
    return leases.best_owner(task, able, now).host.id


def test_seeds_come_first_until_they_are_busier_than_others() -> None:
    task, peers = team("a1", "b1", "S1")
    assert owner(task) == "S1"
    give(task, peers["S1"])
    assert owner(task) in ("a1", "b1")


def test_zones_take_turns() -> None:
    task, peers = team("a1", "b1", "c1", "d2")
    give(task, peers["a1"])
    assert owner(task) == "d2"


def test_slow_hosts_and_hosts_that_failed_come_last() -> None:
    task, peers = team("a1", "b1", "c1")
    peers["a1"].host.is_slow = True
    peers["b1"].host.fetch_after = 5.0
    assert owner(task) == "c1"
    give(task, peers["c1"], LeaseState.GRANTED)
    assert owner(task) == "a1"
    peers["a1"].may_fetch = False
    task.file(peers["a1"])
    assert owner(task) == "b1", "better one that failed than nobody"


def test_a_host_whose_last_lease_is_unanswered_waits() -> None:
    task, peers = team("a1")
    give(task, peers["a1"], LeaseState.GRANTED)
    assert leases.able_owners(task, REGISTRIES, 0.0, Dice(1)) == []
    peers["a1"].leases[0].state = LeaseState.STARTED
    assert owner(task) == "a1"


def test_nobody_fetches_without_right_registry_or_trust() -> None:
    task, peers = team("a1")
    assert leases.able_owners(task, frozenset(), 0.0, Dice(1)) == []
    peers["a1"].host.happen(HostEvent.QUARANTINE)
    assert leases.able_owners(task, REGISTRIES, 0.0, Dice(1)) == []


def test_the_pause_between_failures_doubles_up_to_a_bound() -> None:
    assert [leases.hold_s(count) for count in (0, 1, 2, 3, 4, 50)] == [
        0.0,
        0.0,
        0.25,
        0.5,
        1.0,
        leases.HOLD_MAX_S,
    ]


def fetching(rate: float, end: int = 100, **more: bool) -> Lease:
    task, host = TaskId("t"), HostId("a")
    return Lease(
        task, host, "r", Epoch(1), 0, end, end * MIB, 9.0, state=LeaseState.STARTED, rate=rate, **more
    )


def relieved_end(lease: Lease, best: float = 120 * MIB, connections: int = 2) -> int:
    registry = Registry("r", 8, 8, best_rate=best)
    for number in range(connections):
        other = Lease(lease.task, HostId(f"h{number}"), "r", Epoch(9), 100, 200, 100 * MIB, 9.0)
        registry.leases[other] = None
    return leases.relieved_end(lease, PieceMap(200 * MIB, MIB, 200), registry)


def test_a_slow_owner_keeps_what_it_fetches_while_the_rest_comes_at_the_full_rate() -> None:
    assert relieved_end(fetching(6.0 * MIB)) == 1 + int(99 * 6 / 126)


@pytest.mark.parametrize("rate", [0.0, 13.4 * MIB, 40.0 * MIB])
def test_who_is_not_much_slower_than_another_connection_would_be_keeps_all(rate: float) -> None:
    assert relieved_end(fetching(rate)) == 100


def test_what_is_soon_over_stays() -> None:
    assert relieved_end(fetching(6.0 * MIB, end=11)) == 11
    assert relieved_end(fetching(0.1 * MIB, end=1)) == 1, "the piece in flight is not divided"


@pytest.mark.parametrize("kind", ["private", "inline", "no_range"])
def test_what_others_cannot_take_over_stays(kind: str) -> None:
    assert relieved_end(fetching(6.0 * MIB, **{kind: True})) == 100
