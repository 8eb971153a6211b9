"""Blobs whose pieces are all there, and are not what the digest names."""

import pytest

from dfdaemon import commands, events
from dfdaemon.commands import (
    CheckBlob,
    CloseTask,
    CommitPiece,
    DropPieces,
    FailReaders,
    FetchRange,
    ReleaseReaders,
)
from swarm.ids import UNGRANTED, Epoch, HostId
from swarm.messages import (
    Lease,
    LeaseFailed,
    LeaseProgress,
    Leave,
    OriginFault,
    PieceRecord,
    PieceRejected,
)
from tests.support.daemon_playbook import PIECE, TASK, Playbook, record

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


def test_a_wrong_blob_is_fetched_again_from_the_origin_which_convicts_the_liar(playbook: Playbook) -> None:
    playbook.attached().joined(pieces=2)
    playbook.said(Lease(TASK, Epoch(1), 0, 1, 10.0)) << fetch(0, 1)
    origin_brings(playbook, 0)
    playbook >> events.OriginEnded(TASK, Epoch(1))
    playbook.told(LeaseProgress(TASK, Epoch(1), 1, PIECE))
    playbook.with_parents("01") << commands.RequestPiece(A, TASK, 1)
    playbook.arrives("a", 1) << CommitPiece(TASK, record(1), source=A)
    playbook >> events.PieceCommitted(TASK, 1) << ReleaseReaders(TASK, 0b11) << CheckBlob(TASK)
    playbook >> events.BlobChecked(TASK, False) << DropPieces(TASK, 0b10) << own(1, 2)
    playbook.skip()
    right = PieceRecord(1, b"right", UNGRANTED)
    playbook >> events.OriginPieceArrived(TASK, UNGRANTED, right)
    playbook.told(PieceRejected(TASK, 1, A, b"right", record(1).digest)) << CommitPiece(TASK, right)
    playbook >> events.OriginEnded(TASK, UNGRANTED)
    playbook >> events.PieceCommitted(TASK, 1) << ReleaseReaders(TASK, 0b11) << CheckBlob(TASK)


def test_a_blob_that_the_origin_itself_gave_wrong_fails_clearly(playbook: Playbook) -> None:
    playbook.attached().joined(pieces=1)
    playbook.said(Lease(TASK, Epoch(1), 0, 1, 10.0)) << fetch(0, 1)
    origin_brings(playbook, 0)
    playbook >> events.OriginEnded(TASK, Epoch(1))
    playbook.told(LeaseProgress(TASK, Epoch(1), 1, PIECE))
    playbook >> events.BlobChecked(TASK, False)
    playbook.told(LeaseFailed(TASK, Epoch(1), 0, OriginFault.WRONG_CONTENT)) << DropPieces(TASK, 0b1)
    reason = "the origin's content does not have the digest that names it"
    playbook << FailReaders(TASK, reason)
    playbook.told(Leave(TASK)) << CloseTask(TASK)
    assert playbook.machine.held == {}
