"""Fetching from the origin: leases, what becomes of them, and fetches of our own."""

import pytest

from dfdaemon import events
from dfdaemon.commands import CommitPiece, FetchRange, ReleaseReaders, RequestPiece, StopFetch
from swarm.ids import UNGRANTED, Epoch, HostId
from swarm.messages import (
    Lease,
    LeaseFailed,
    LeaseProgress,
    LeaseRevoked,
    OriginFault,
    Progress,
    TaskProgress,
)
from tests.support.daemon_playbook import (
    OTHER_TASK,
    PIECE,
    READER,
    REGISTRY,
    TASK,
    Anything,
    Playbook,
    record,
)

A = HostId("a")


@pytest.fixture
def playbook() -> Playbook:
    return Playbook().attached()


def fetch(start: int, end: int, epoch: int = 1, no_range: bool = False) -> FetchRange:
    return FetchRange(TASK, Epoch(epoch), start, end, 8.0, no_range=no_range)


def lease(start: int, end: int, epoch: int = 1, no_range: bool = False) -> Lease:
    return Lease(TASK, Epoch(epoch), start, end, 10.0, no_range=no_range)


def brings(playbook: Playbook, index: int, epoch: int = 1) -> Playbook:
    return playbook >> events.OriginPieceArrived(TASK, Epoch(epoch), record(index, epoch))


def ends(playbook: Playbook, fault: OriginFault | None = None, epoch: int = 1, wait: float = 0.0) -> Playbook:
    return playbook >> events.OriginEnded(TASK, Epoch(epoch), fault, wait)


def test_an_owner_gives_up_before_the_scheduler_does(playbook: Playbook) -> None:
    playbook.joined(4).said(lease(0, 4))
    (command,) = playbook.skip()
    assert command.timeout_s < 10.0


def test_the_first_sign_of_life_is_told_at_once(playbook: Playbook) -> None:
    playbook.joined(4).said(lease(0, 2)) << fetch(0, 2)
    playbook.said(lease(2, 4, epoch=2)) << fetch(2, 4, epoch=2)
    for epoch, start in ((1, 0), (2, 2)):
        playbook >> events.OriginAdvanced(TASK, Epoch(epoch), 0)
        playbook.told(LeaseProgress(TASK, Epoch(epoch), start, 0))
    playbook >> events.OriginAdvanced(TASK, Epoch(2), 1000)


def test_what_parents_bring_is_not_fetched(playbook: Playbook) -> None:
    playbook.joined(4).with_parents(" 1  ") << RequestPiece(A, TASK, 1)
    playbook.said(lease(0, 4)) << fetch(0, 1)
    brings(playbook, 0) << CommitPiece(TASK, record(0))
    ends(playbook) << fetch(2, 4)


def test_what_parents_fail_to_bring_is_fetched(playbook: Playbook) -> None:
    playbook.joined(3).with_parents("  1") << RequestPiece(A, TASK, 2)
    playbook.said(lease(0, 3)) << fetch(0, 2)
    playbook >> events.PieceFailed(A, TASK, 2, events.PeerFault.CLOSED)
    brings(playbook, 0) << CommitPiece(TASK, record(0))
    brings(playbook, 1) << CommitPiece(TASK, record(1))
    ends(playbook) << fetch(2, 3)


def test_what_is_leased_is_not_asked_of_parents(playbook: Playbook) -> None:
    playbook.joined(2).said(lease(0, 2)) << fetch(0, 2)
    playbook.with_parents("11")
    assert playbook.skip() == []


def test_a_failure_is_told_when_what_arrived_is_recorded(playbook: Playbook) -> None:
    playbook.joined(4).said(lease(0, 4)) << fetch(0, 4)
    brings(playbook, 0) << CommitPiece(TASK, record(0))
    ends(playbook, OriginFault.CUT)
    playbook >> events.PieceCommitted(TASK, 0) << ReleaseReaders(TASK, 0b1)
    playbook.told(Progress((TaskProgress(TASK, 0b1, (record(0),)),)))
    playbook.told(LeaseFailed(TASK, Epoch(1), 1, OriginFault.CUT))


def test_a_failure_names_the_first_piece_that_is_free_again(playbook: Playbook) -> None:
    playbook.joined(4).said(lease(1, 4)) << fetch(1, 4)
    brings(playbook, 1) << CommitPiece(TASK, record(1))
    playbook >> events.PieceCommitted(TASK, 1)
    playbook.skip()
    ends(playbook, OriginFault.THROTTLED, wait=5.0)
    playbook.told(LeaseFailed(TASK, Epoch(1), 2, OriginFault.THROTTLED, 5.0))
    assert playbook.machine.downloads[TASK].blob.table.missing == 0b1101


def test_the_scheduler_hears_of_a_lease_after_its_pieces(playbook: Playbook) -> None:
    playbook.joined(4).said(lease(0, 2)) << fetch(0, 2)
    brings(playbook, 0) << CommitPiece(TASK, record(0))
    playbook >> events.PieceCommitted(TASK, 0)
    told = [command.message for command in playbook.skip() if hasattr(command, "message")]
    assert told == [
        Progress((TaskProgress(TASK, 0b1, (record(0),)),)),
        LeaseProgress(TASK, Epoch(1), 1, PIECE),
    ]


def test_a_revoked_lease_stops_and_tells_nothing_more(playbook: Playbook) -> None:
    playbook.joined(4).said(lease(0, 4)) << fetch(0, 4)
    playbook.said(LeaseRevoked(TASK, Epoch(1))) << StopFetch(TASK, Epoch(1))
    ends(playbook)
    assert playbook.machine.downloads[TASK].blob.table.missing == 0b1111


def test_the_same_lease_twice_is_one(playbook: Playbook) -> None:
    playbook.joined(4).said(lease(0, 4)) << fetch(0, 4)
    playbook.said(lease(0, 4))


def test_a_lease_that_ends_earlier_stops_there_and_no_other_writes_beyond_until_it_has(
    playbook: Playbook,
) -> None:
    playbook.joined(4).said(lease(0, 4)) << fetch(0, 4)
    table = playbook.machine.downloads[TASK].blob.table
    playbook.said(lease(0, 1))
    playbook.with_parents("  11")
    assert playbook.skip() == [], "the fetch may be beyond its end before it is stopped"
    brings(playbook, 0) << CommitPiece(TASK, record(0)) << StopFetch(TASK, Epoch(1))
    playbook >> events.PieceCommitted(TASK, 0)
    playbook.skip()
    assert table.missing == 0
    ends(playbook)
    assert not playbook.machine.downloads[TASK].origin.leases, "the lease is over"
    asked = [command.index for command in playbook.skip() if isinstance(command, RequestPiece)]
    assert asked == [2] or asked == [3], "the rest is for others"
    assert table.missing >> 1 & 1


def test_a_lease_that_ends_before_where_it_is_stops_at_once(playbook: Playbook) -> None:
    playbook.joined(4).said(lease(0, 4)) << fetch(0, 4)
    for index in (0, 1):
        brings(playbook, index) << CommitPiece(TASK, record(index))
        playbook >> events.PieceCommitted(TASK, index)
        playbook.skip()
    playbook.said(lease(0, 1)) << StopFetch(TASK, Epoch(1))
    ends(playbook)
    playbook.skip()
    assert playbook.machine.downloads[TASK].blob.table.missing == 0b1100


@pytest.mark.parametrize("end", [0, 4, 5])
def test_an_end_that_shortens_nothing_changes_nothing(playbook: Playbook, end: int) -> None:
    playbook.joined(8).said(lease(0, 4)) << fetch(0, 4)
    playbook.said(lease(0, end))
    assert playbook.skip() == []


def test_a_lease_that_cannot_be_taken_is_given_back(playbook: Playbook) -> None:
    playbook.said(Lease(OTHER_TASK, Epoch(9), 3, 4, 10.0))
    playbook.told(LeaseFailed(OTHER_TASK, Epoch(9), 3, OriginFault.ABANDONED))
    playbook.joined(4, may_fetch=False).said(lease(1, 4))
    playbook.told(LeaseFailed(TASK, Epoch(1), 1, OriginFault.DENIED))
    playbook.said(lease(2, 9, epoch=2)).told(LeaseFailed(TASK, Epoch(2), 2, OriginFault.ABANDONED))


def test_who_was_denied_takes_no_further_lease(playbook: Playbook) -> None:
    playbook.joined(4).said(lease(0, 4)) << fetch(0, 4)
    ends(playbook, OriginFault.DENIED).told(LeaseFailed(TASK, Epoch(1), 0, OriginFault.DENIED))
    playbook.said(lease(0, 4, epoch=2)).told(LeaseFailed(TASK, Epoch(2), 0, OriginFault.DENIED))


def test_a_fetch_that_brought_nothing_has_failed_whatever_it_says(playbook: Playbook) -> None:
    playbook.joined(4).said(lease(0, 4)) << fetch(0, 4)
    ends(playbook).told(LeaseFailed(TASK, Epoch(1), 0, OriginFault.CUT))


def test_a_piece_that_the_disk_lost_is_fetched_again_under_the_lease(playbook: Playbook) -> None:
    playbook.joined(2).said(lease(0, 2)) << fetch(0, 2)
    brings(playbook, 0) << CommitPiece(TASK, record(0))
    brings(playbook, 1) << CommitPiece(TASK, record(1))
    ends(playbook)
    playbook >> events.PieceLost(TASK, 0) << fetch(0, 1)


def test_an_origin_that_ignores_ranges_is_read_whole(playbook: Playbook) -> None:
    playbook.joined(4).said(lease(1, 4, no_range=True)) << fetch(1, 4, no_range=True)
    playbook.skip()


def test_alone_too(playbook: Playbook) -> None:
    playbook.alone().wanted(2).time()
    playbook << FetchRange(TASK, UNGRANTED, 0, 2, 20.0)
    playbook >> events.OriginEnded(TASK, UNGRANTED, OriginFault.NO_RANGE)
    playbook.time() << FetchRange(TASK, UNGRANTED, 0, 2, 20.0, no_range=True)


def test_where_ranges_are_ignored_one_fetch_brings_all_that_is_missing_behind_it() -> None:
    """Each fetch begins with byte 0: one for each window of a ring would send the blob again and again."""
    playbook = Playbook(ring_bytes=32 * PIECE).alone()
    playbook >> events.BlobWanted(TASK, 100 * PIECE, REGISTRY, True)
    playbook.skip()
    playbook >> events.ReaderOpened(TASK, READER, 0, 100 * PIECE)
    playbook >> events.StoreRefused(TASK)
    playbook.skip()
    playbook.time() << FetchRange(TASK, UNGRANTED, 0, 32, 20.0, limit=32)
    playbook >> events.OriginEnded(TASK, UNGRANTED, OriginFault.NO_RANGE)
    playbook.time() << FetchRange(TASK, UNGRANTED, 0, 100, 20.0, limit=32, no_range=True)


def test_only_four_fetches_that_nobody_granted_at_once(playbook: Playbook) -> None:
    playbook.alone()
    names = [type(TASK)(f"sha256:{number}") for number in range(6)]
    for name in names:
        playbook.wanted(2, name)
    playbook >> events.TimeReached()
    running = {command.task for command in playbook.skip()}
    assert len(running) == 4
    first = next(iter(running))
    for index in range(2):
        playbook >> events.OriginPieceArrived(first, UNGRANTED, record(index, 0)) << Anything(CommitPiece)
        playbook >> events.PieceCommitted(first, index)
        playbook.skip()
    playbook >> events.OriginEnded(first, UNGRANTED)
    playbook.at(1.0) >> events.TimeReached()
    (command,) = playbook.skip()
    assert command.task not in running


def test_a_download_goes_on_with_its_leases_when_a_scheduler_attaches_again(playbook: Playbook) -> None:
    playbook.joined(4).said(lease(0, 4)) << fetch(0, 4)
    brings(playbook, 0) << CommitPiece(TASK, record(0))
    playbook.alone()
    playbook >> events.PieceCommitted(TASK, 0)
    playbook.skip()
    playbook >> events.SchedulerAttached()
    hello, progress = (command.message for command in playbook.skip())
    (active,) = hello.active
    assert active.bits == 0b1
    assert [(held.start, held.end, held.next_piece, held.epoch) for held in active.leases] == [(0, 4, 1, 1)]
    assert progress == Progress((TaskProgress(TASK, 0b1, (record(0),)),)), "it needs the records anew"
