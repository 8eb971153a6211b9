"""Random interleavings of everything that can happen to a daemon; see tests/support/daemon_world.py."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dfdaemon import events
from dfdaemon.blob_state import READ_SHARE
from dfdaemon.config import FIRST_NODES, VERIFY
from dfdaemon.events import PeerFault
from dfdaemon.phase import Phase
from swarm import availability, messages
from swarm.dice import Dice
from swarm.ids import Epoch, HostId, TaskId
from swarm.messages import OriginFault, PieceRecord
from swarm.pieces import PIECE_BYTES_MIN, PieceMap
from swarm.roots import NO_ROOT, Proven, root_of
from tests.support.daemon_world import READER, Odds, World, tasks, truth

PIECE = PIECE_BYTES_MIN
TASK, OTHER = tasks(2)
CALM = Odds()
SEEDS = st.integers(0, 2**32)
slow = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def stir(world: World, task: TaskId) -> None:
    """Something happens that nobody asked for."""
    count = max(1, PieceMap.of(world.sizes[task]).count)
    host = world.dice.choose(list(world.parents)) if world.parents else HostId("nobody")
    happenings = [
        lambda: host in world.parents and world.parent_gains(host, task, 1 << world.dice.below(count)),
        lambda: world.post(events.ParentLost(host, PeerFault.CLOSED)) if not asked(world, host) else None,
        lambda: world.post(events.ParentGone(host, task)),
        lambda: world.post(events.ParentReady(host)),
        lambda: world.lose() if world.attached else world.attach(),
        lambda: world.attached and world.post(events.SchedulerSaid(messages.Quarantine(host, 5.0))),
        lambda: (
            world.attached and world.post(events.SchedulerSaid(messages.NoSource(task, OriginFault.TIMEOUT)))
        ),
        lambda: world.attached and world.help(task),
        lambda: revoke(world, task),
        lambda: world.child_asks(task, world.dice.below(count)),
        lambda: world.post(events.ReaderClosed(task, READER)),
        lambda: task in world.machine.downloads and world.want(task, world.sizes[task]),
        lambda: rot(world, task),
        lambda: world.attached and world.post(events.SchedulerSaid(trusted(task, world.sizes[task]))),
        lambda: vouch(world, task),
        lambda: bring_inline(world, task),
        lambda: task in world.machine.downloads and world.read_more(task, world.dice.below(count)),
        lambda: world.post(events.BlobEvicted(task)),
        lambda: (
            task in world.machine.downloads
            and world.post(events.BlobWanted(task, world.sizes[task], "registry.test", True, part=True))
        ),
    ]
    world.dice.choose(happenings)()


def asked(world: World, host: HostId) -> bool:
    return any(key[0] == host for key in world.requests)


def revoke(world: World, task: TaskId) -> None:
    for fetching, epoch in world.fetches:
        if fetching == task and epoch and world.attached:
            world.post(events.SchedulerSaid(messages.LeaseRevoked(task, epoch)))
            return


def bring_inline(world: World, task: TaskId) -> None:
    if world.attached and PieceMap.of(world.sizes[task]).count == 1:
        world.post(events.SchedulerSaid(messages.Inline(task, b"tiny")))


def rot(world: World, task: TaskId) -> None:
    """A piece on disk turns out damaged."""
    disk = world.disks.get(task)
    held = disk.recorded if disk is not None and not disk.slots else 0
    download = world.machine.downloads.get(task)
    if disk is not None and held and (download is None or not world.is_checking(task)):
        index = world.dice.choose(list(availability.indexes(held)))
        disk.recorded &= ~(1 << index)
        disk.rotten |= 1 << index
        disk.checked = False
        world.post(events.PieceLost(task, index))


def trusted(task: TaskId, size: int, spared: bool = False) -> messages.TaskInfo:
    count = PieceMap.of(size).count
    records = tuple(PieceRecord(i, truth(task, i), Epoch(1)) for i in range(count))
    return messages.TaskInfo(task, size, records, spared)


def vouch(world: World, task: TaskId) -> None:
    """The scheduler says that others hash the blob, what they found, that nobody does, or digests, some wrong."""
    if not world.attached:
        return
    size = world.sizes[task]
    right = root_of(size, (truth(task, index) for index in range(PieceMap.of(size).count)))
    words = [
        messages.TaskInfo(task, size, is_spared=True),
        messages.TaskInfo(task, size),
        trusted(task, size),
        messages.TaskInfo(task, size, (PieceRecord(world.dice.below(8), b"told wrong", Epoch(1)),)),
        Proven(task, right),
        Proven(task, NO_ROOT),
    ]
    world.post(events.SchedulerSaid(world.dice.choose(words)))


def settle_down(world: World) -> None:
    """All faults are over: whatever hangs is let go, and every client asks again if it must."""
    world.odds = CALM
    for host, task, index, scratch in list(world.requests):
        world.owe(lambda key=(host, task, index, scratch): world._fail_request(key, PeerFault.CLOSED))
    world.run(400)
    if not world.attached:
        world.attach()
    for task, size in world.sizes.items():
        world.want(task, size)


def finished(world: World) -> bool:
    return all(world.has_read(task) or task in world.failures for task in world.sizes)


@slow
@given(
    seed=SEEDS,
    pieces=st.integers(0, 14) | st.integers(33, 60),
    attached=st.booleans(),
    no_room=st.booleans(),
    parents=st.integers(0, 5),
    verify=st.sampled_from(VERIFY),
)
def test_whatever_happens_the_blob_arrives_once_it_can(
    seed: int, pieces: int, attached: bool, no_room: bool, parents: int, verify: str
) -> None:
    odds = Odds(fault=15, lie=5, busy=20, slow=10, disk=4, origin=6)
    world = World(seed, odds, attached, no_room, verify)
    (world.attach if attached else world.lose)()
    dice = Dice(seed)
    for task, size in ((TASK, max(0, pieces * PIECE - 7)), (OTHER, 3 * PIECE)):
        count = PieceMap.of(size).count
        for number in range(parents):
            bits = availability.full(count) if number == 0 else dice.throw() & availability.full(count)
            world.add_parent(f"host-{number}", task, bits, lies=number == 4)
        world.want(task, size)
    for _ in range(300):
        if dice.below(8):
            world.step()
        else:
            stir(world, dice.choose([TASK, OTHER]))
    settle_down(world)
    world.run(4000, lambda: finished(world))
    for _ in range(
        3
    ):  # a download that the faults had brought to its end says so, and the next attempt succeeds
        if world.failures:
            world.liars.clear()
            failed = list(world.failures)
            world.run(2000, lambda failed=failed: all(task in world.closed for task in failed))  # type: ignore[misc]
            for task in failed:
                world.want(task, world.sizes[task])
            world.run(4000, lambda: finished(world))
    assert world.failures == {}
    assert all(world.has_read(task) for task in world.sizes)


@pytest.mark.parametrize("seed", range(20))
def test_a_host_that_is_spared_completes_what_is_right_and_nothing_else(seed: int) -> None:
    world = World(seed, Odds(fault=5, busy=10, lie=5), verify=FIRST_NODES)
    world.attach()
    size, dice = 8 * PIECE, Dice(seed)
    for number in range(3):
        world.add_parent(f"host-{number}", TASK, 0b11111111, lies=number == seed % 4)
    world.want(TASK, size)
    for _ in range(40):
        world.step()
        if dice.below(8) == 0:
            vouch(world, TASK)
    settle_down(world)
    world.post(events.SchedulerSaid(messages.TaskInfo(TASK, size, is_spared=True)))
    world.run(4000, lambda: finished(world) and TASK in world.machine.held)
    assert world.failures == {}
    assert world.has_read(TASK)
    assert world.disks[TASK].checked


def test_a_spared_host_believes_a_proof() -> None:
    world = World(1, CALM, verify=FIRST_NODES)
    world.attach()
    world.want(TASK, 8 * PIECE)
    world.run(20, lambda: world.machine.downloads[TASK].phase is Phase.RUNNING)
    root = root_of(8 * PIECE, (truth(TASK, index) for index in range(8)))
    world.post(events.SchedulerSaid(Proven(TASK, root)))
    world.run(4000, lambda: TASK in world.machine.held)
    assert world.proven == 1


@slow
@given(seed=SEEDS, pieces=st.integers(1, 14), parents=st.integers(0, 4), attached=st.booleans())
def test_without_faults_every_byte_is_fetched_at_most_once(
    seed: int, pieces: int, parents: int, attached: bool
) -> None:
    world = World(seed, Odds(busy=30), attached)
    (world.attach if attached else world.lose)()
    count = pieces
    for number in range(parents):
        world.add_parent(f"host-{number}", TASK, Dice(seed + number).throw() & availability.full(count))
    world.want(TASK, pieces * PIECE)
    world.run(4000, lambda: finished(world))
    assert world.failures == {}
    assert world.has_read(TASK)
    fetched = world.origin_pieces.get(TASK, [])
    assert len(fetched) == len(set(fetched))
    if not attached:
        assert len(fetched) == count, "nobody was known to ask"
        return
    offered = 0
    for held in world.parents.values():
        offered |= held[TASK]
    assert set(fetched) == set(availability.indexes(availability.full(count) & ~offered))


@slow
@given(
    seed=SEEDS,
    pieces=st.integers(4, 60),
    parents=st.integers(0, 3),
    attached=st.booleans(),
    parts=st.lists(st.tuples(st.integers(0, 59), st.integers(1, 3)), min_size=1, max_size=5),
)
def test_readers_of_parts_get_these_and_the_rest_is_left_until_it_is_wanted(
    seed: int, pieces: int, parents: int, attached: bool, parts: list[tuple[int, int]]
) -> None:
    world = World(seed, Odds(busy=20, origin=4), attached)
    (world.attach if attached else world.lose)()
    for number in range(parents):
        world.add_parent(f"host-{number}", TASK, Dice(seed + number).throw() & availability.full(pieces))
    demanded = 0
    for piece, count in parts:
        start = piece % pieces
        demanded |= availability.span(start, min(pieces, start + count))
        world.want_part(TASK, pieces * PIECE, start, count)
        world.run(seed % 20)

    def served() -> bool:
        disk = world.disks.get(TASK)
        return disk is not None and not demanded & ~disk.released

    world.run(4000, served)
    assert served()
    if demanded.bit_count() * READ_SHARE < pieces:
        assert not world.disks[TASK].recorded & ~demanded, "nothing else was fetched"
    world.want(TASK, pieces * PIECE)
    world.run(4000, lambda: finished(world))
    assert world.has_read(TASK)
    fetched = world.origin_pieces.get(TASK, [])
    assert len(fetched) == len(set(fetched))


@pytest.mark.parametrize("seed", range(20))
def test_a_closed_client_leaves_nothing_behind(seed: int) -> None:
    world = World(seed, Odds(fault=10, busy=10, slow=20, origin=5), no_room=seed % 2 == 0)
    world.attach()
    world.add_parent("host-0", TASK, 0b1111)
    world.want(TASK, 8 * PIECE)
    world.run(seed * 3)
    world.post(events.ReaderClosed(TASK, READER))
    world.run(5000, lambda: TASK in world.closed)
    assert TASK in world.closed
    assert world.machine.downloads == {}
    assert world.requests == {}
    assert world.fetches == {}
