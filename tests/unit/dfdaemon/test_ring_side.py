"""A disk without room: the blob streams through a ring in memory, in order, and nobody else hears of it."""

import pytest

from dfdaemon import events
from dfdaemon.commands import (
    CloseTask,
    CommitPiece,
    FetchRange,
    OpenRing,
    OpenStore,
    RaiseLimit,
    ReleaseReaders,
    RequestPiece,
    StopFetch,
)
from dfdaemon.fallback import HANG_S, STALL_S
from swarm.ids import Epoch, HostId, ReaderId
from swarm.messages import Join, Lease, LeaseFailed, LeaseProgress, Leave, OriginFault
from tests.support.daemon_playbook import PIECE, READER, REGISTRY, TASK, Playbook, record

A = HostId("a")
SLOTS = 32
COUNT = 100


@pytest.fixture
def playbook() -> Playbook:
    playbook = Playbook(ring_bytes=SLOTS * PIECE).attached()
    playbook >> events.BlobWanted(TASK, COUNT * PIECE, REGISTRY, True) << OpenStore(TASK, COUNT * PIECE)
    playbook >> events.ReaderOpened(TASK, READER, 0, COUNT * PIECE)
    playbook >> events.StoreRefused(TASK) << OpenRing(TASK, COUNT * PIECE, SLOTS)
    return playbook.told(Join(TASK, COUNT * PIECE, REGISTRY, True, stores=False))


def brings(playbook: Playbook, index: int) -> None:
    playbook >> events.OriginPieceArrived(TASK, Epoch(1), record(index)) << CommitPiece(TASK, record(index))
    playbook >> events.PieceCommitted(TASK, index)


def read_until(playbook: Playbook, piece: int) -> Playbook:
    return playbook >> events.ReaderAdvanced(TASK, READER, piece * PIECE)


def test_a_fetch_stays_within_the_ring_and_goes_on_as_the_client_reads(playbook: Playbook) -> None:
    playbook.said(Lease(TASK, Epoch(1), 0, COUNT, 10.0, private=True))
    playbook << FetchRange(TASK, Epoch(1), 0, COUNT, 8.0, limit=SLOTS)
    brings(playbook, 0)
    playbook << ReleaseReaders(TASK, 0b1)
    playbook.told(LeaseProgress(TASK, Epoch(1), 1, PIECE))
    read_until(playbook, 1) << RaiseLimit(TASK, Epoch(1), SLOTS + 1)
    assert playbook.machine.downloads[TASK].blob.ring is not None


def test_what_was_read_is_let_go(playbook: Playbook) -> None:
    playbook.said(Lease(TASK, Epoch(1), 0, COUNT, 10.0, private=True)).skip()
    for index in range(3):
        brings(playbook, index)
        playbook.skip()
    read_until(playbook, 2).skip()
    brings(playbook, 3)
    assert playbook.skip()[0] == ReleaseReaders(TASK, 0b1100)


def test_a_client_that_pauses_with_all_places_full_makes_the_host_fetch_nothing_unasked(
    playbook: Playbook,
) -> None:
    playbook.said(Lease(TASK, Epoch(1), 0, SLOTS, 10.0, private=True)).skip()
    for index in range(SLOTS):
        brings(playbook, index)
        playbook.skip()
    playbook >> events.OriginEnded(TASK, Epoch(1))
    playbook.skip()
    playbook.later(2 * HANG_S)
    read_until(playbook, 1)
    done = playbook.later(STALL_S)
    assert not [command for command in done if isinstance(command, FetchRange)]


def test_nothing_of_it_is_offered(playbook: Playbook) -> None:
    playbook.said(Lease(TASK, Epoch(1), 0, COUNT, 10.0, private=True)).skip()
    brings(playbook, 0)
    playbook.skip()
    assert TASK not in playbook.machine.sharing.holdings


def test_a_lease_that_waits_for_its_reader_is_alive(playbook: Playbook) -> None:
    playbook.said(Lease(TASK, Epoch(1), 0, COUNT, 9.0, private=True)).skip()
    brings(playbook, 0)
    playbook.skip()
    told = []
    while playbook.now < 110.0:
        playbook.time()
        told += [c.message for c in playbook.skip() if type(getattr(c, "message", None)) is LeaseProgress]
    assert 3 <= len(told) <= 6, "within each time-out, and not without need"


def test_pieces_come_from_parents_too_but_only_those_with_a_place(playbook: Playbook) -> None:
    playbook.with_parents(" " * SLOTS + "1" * (COUNT - SLOTS))
    assert playbook.skip() == []
    playbook >> events.ParentHas(A, TASK, (record(5),))
    assert playbook.requests() == [("a", 5)]


def test_for_a_client_that_reads_a_range_no_more_than_that_is_asked_for() -> None:
    playbook = Playbook(ring_bytes=SLOTS * PIECE).attached()
    playbook >> events.BlobWanted(TASK, COUNT * PIECE, REGISTRY, True)
    playbook.skip()
    playbook >> events.ReaderOpened(TASK, READER, 3 * PIECE, 5 * PIECE)
    playbook >> events.StoreRefused(TASK)
    playbook.skip()
    playbook.with_parents("1" * COUNT)
    assert playbook.requests() == [("a", 3)]
    playbook.arrives("a", 3)
    assert RequestPiece(A, TASK, 4) in playbook.skip()
    playbook.arrives("a", 4)
    assert not [command for command in playbook.skip() if isinstance(command, RequestPiece)]


def test_a_client_that_begins_further_back_turns_the_ring_once_nothing_is_in_its_way(
    playbook: Playbook,
) -> None:
    playbook.said(Lease(TASK, Epoch(1), 0, COUNT, 10.0, private=True)).skip()
    for index in range(40):
        brings(playbook, index)
        playbook.skip()
        read_until(playbook, index + 1).skip()
    playbook >> events.ReaderOpened(TASK, ReaderId(8), 20 * PIECE, COUNT * PIECE)
    assert StopFetch(TASK, Epoch(1)) in playbook.skip()
    playbook >> events.OriginEnded(TASK, Epoch(1))
    assert FetchRange(TASK, Epoch(1), 20, COUNT, 8.0, limit=20 + SLOTS) in playbook.skip()


def test_when_the_client_leaves_it_is_over_at_once(playbook: Playbook) -> None:
    playbook.said(Lease(TASK, Epoch(1), 0, COUNT, 10.0, private=True)).skip()
    playbook >> events.ReaderClosed(TASK, READER)
    playbook.told(LeaseFailed(TASK, Epoch(1), 0, OriginFault.ABANDONED)) << StopFetch(TASK, Epoch(1))
    playbook.told(Leave(TASK))
    playbook >> events.OriginEnded(TASK, Epoch(1)) << CloseTask(TASK)


def test_a_scheduler_that_attaches_hears_that_it_gives_nothing(playbook: Playbook) -> None:
    playbook.said(Lease(TASK, Epoch(1), 0, COUNT, 10.0, private=True)).skip()
    brings(playbook, 0)
    playbook.skip()
    playbook >> events.SchedulerAttached()
    (active,) = playbook.skip()[0].message.active
    assert (active.stores, active.bits) == (False, 0)
