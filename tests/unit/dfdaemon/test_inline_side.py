"""Tiny blobs that come whole through the scheduler."""

import pytest

from dfdaemon import commands, events
from dfdaemon.commands import (
    CommitPiece,
    FetchRange,
    OpenStore,
    ReleaseReaders,
    WriteInline,
)
from dfdaemon.inline_side import INLINE_S
from swarm.ids import UNGRANTED, Epoch, HostId
from swarm.messages import (
    Completed,
    Inline,
    Join,
    Lease,
)
from tests.support.daemon_playbook import READER, REGISTRY, TASK, Playbook, record

A, B = HostId("a"), HostId("b")


@pytest.fixture
def playbook() -> Playbook:
    return Playbook()


def fetch(start: int, end: int, epoch: int = 1, timeout_s: float = 8.0) -> FetchRange:
    return FetchRange(TASK, Epoch(epoch), start, end, timeout_s)


def own(start: int, end: int) -> FetchRange:
    return fetch(start, end, UNGRANTED, 20.0)


def origin_brings(playbook: Playbook, *indexes: int, epoch: int = 1) -> None:
    """Pieces arrive from the origin and are recorded."""
    for index in indexes:
        playbook >> events.OriginPieceArrived(TASK, Epoch(epoch), record(index, epoch))
        playbook << CommitPiece(TASK, record(index, epoch))
        playbook >> events.PieceCommitted(TASK, index)
        playbook.skip()


def test_a_tiny_blob_comes_with_the_scheduler(playbook: Playbook) -> None:
    playbook.attached()
    playbook >> events.BlobWanted(TASK, 100, REGISTRY, True) << OpenStore(TASK, 100)
    playbook >> events.ReaderOpened(TASK, READER, 0, 100)
    playbook >> events.StoreOpened(TASK)
    playbook.told(Join(TASK, 100, REGISTRY, True))
    playbook.said(Inline(TASK, b"content")) << WriteInline(TASK, b"content")
    playbook >> events.InlineWritten(TASK, (record(0),)) << ReleaseReaders(TASK, 0b1)
    playbook.told(Completed(TASK))
    assert playbook.machine.sharing.holdings[TASK].bits == 0b1


def test_a_tiny_blob_that_is_not_written_comes_from_the_origin(playbook: Playbook) -> None:
    playbook.attached().joined(pieces=1)
    playbook.said(Inline(TASK, b"wrong")) << WriteInline(TASK, b"wrong")
    playbook.at(INLINE_S) >> events.TimeReached() << own(0, 1)
    playbook >> events.InlineWritten(TASK)


def test_a_tiny_blob_waits_until_nothing_else_writes_it(playbook: Playbook) -> None:
    playbook.attached().joined(pieces=1).with_parents("1")
    playbook << commands.RequestPiece(A, TASK, 0)
    playbook.said(Inline(TASK, b"content"))
    playbook >> events.PieceFailed(A, TASK, 0, events.PeerFault.CLOSED) << WriteInline(TASK, b"content")


def test_a_tiny_blob_is_fetched_for_all(playbook: Playbook) -> None:
    playbook.attached().joined(pieces=1)
    playbook.said(Lease(TASK, Epoch(3), 0, 1, 10.0, inline=True))
    playbook << FetchRange(TASK, Epoch(3), 0, 1, 8.0, inline=True)


def test_where_there_is_no_room_the_origin_gives_it_again(playbook: Playbook) -> None:
    playbook.attached()
    playbook >> events.BlobWanted(TASK, 100, REGISTRY, True) << OpenStore(TASK, 100)
    playbook >> events.ReaderOpened(TASK, READER, 0, 100)
    playbook >> events.StoreRefused(TASK)
    playbook.skip()
    playbook.said(Inline(TASK, b"content")) << FetchRange(TASK, UNGRANTED, 0, 1, 20.0, limit=1)
