"""Blobs whose pieces are all there, and are not what the digest names."""

import pytest

from dfdaemon import commands, events
from dfdaemon.commands import (
    CheckBlob,
    CloseTask,
    CommitPiece,
    CompleteBlob,
    DropPieces,
    FailReaders,
    FetchRange,
    FollowBlob,
    OpenStore,
    ReleaseReaders,
)
from dfdaemon.config import FIRST_NODES
from dfdaemon.download import Phase
from dfdaemon.whole_check import HASH_BYTES_PER_S, PATIENCE_MAX_S, PATIENCE_MIN_S, patience_s
from swarm.ids import UNGRANTED, Epoch, HostId
from swarm.messages import (
    Completed,
    Join,
    Lease,
    LeaseFailed,
    LeaseProgress,
    Leave,
    OriginFault,
    PieceRecord,
    PieceRejected,
    TaskInfo,
)
from swarm.roots import NO_ROOT, BlobProved, Proven, root_of
from tests.support.daemon_playbook import PIECE, READER, REGISTRY, TASK, Playbook, record

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


# --- verify = "first-nodes" -------------------------------------------------------------------------------------------

PIECES = 4
ROOT = root_of(PIECES * PIECE, [record(index).digest for index in range(PIECES)])
SPARED = TaskInfo(TASK, PIECES * PIECE, is_spared=True)


@pytest.fixture
def shared() -> Playbook:
    """A host that shares the work of hashing, attached, with a download that it told of."""
    playbook = Playbook(verify=FIRST_NODES).attached()
    playbook >> events.BlobWanted(TASK, PIECES * PIECE, REGISTRY, True)
    playbook << OpenStore(TASK, PIECES * PIECE, follow=False)
    playbook >> events.ReaderOpened(TASK, READER, 0, PIECES * PIECE)
    playbook >> events.StoreOpened(TASK)
    return playbook.told(Join(TASK, PIECES * PIECE, REGISTRY, True, shares_check=True))


def bring_all(playbook: Playbook, *, wrong: int | None = None) -> Playbook:
    """All pieces come from a parent; one may have a digest that nobody else claims."""
    playbook.with_parents("1" * PIECES)
    playbook.skip()
    for index in range(PIECES):
        digest = b"wrong" if index == wrong else record(index).digest
        claimed = PieceRecord(index, digest, Epoch(1))
        playbook >> events.PieceArrived(A, TASK, claimed, digest, 0.01)
        playbook.skip()
        playbook >> events.PieceCommitted(TASK, index)
        if index < PIECES - 1:
            playbook.skip()
    return playbook << ReleaseReaders(TASK, 0b1111)


def completes(playbook: Playbook, proven: bool) -> None:
    playbook << CompleteBlob(TASK, proven)
    done = playbook.skip()
    assert commands.TellScheduler(Completed(TASK)) in done
    assert playbook.machine.held == {TASK: PIECES * PIECE}


def test_a_verifier_hashes_behind_the_download_and_tells_the_root(shared: Playbook) -> None:
    shared.said(TaskInfo(TASK, PIECES * PIECE)) << FollowBlob(TASK)
    bring_all(shared) << CheckBlob(TASK)
    shared >> events.BlobChecked(TASK, True)
    shared.told(BlobProved(TASK, ROOT))
    completes(shared, proven=False)


def test_a_host_that_is_spared_hashes_nothing_and_waits_for_the_proof(shared: Playbook) -> None:
    bring_all(shared.said(SPARED))
    shared.said(Proven(TASK, ROOT))
    completes(shared, proven=True)


def test_with_a_proof_at_hand_the_last_piece_completes_the_blob(shared: Playbook) -> None:
    bring_all(shared.said(SPARED).said(Proven(TASK, ROOT)))
    completes(shared, proven=True)


def test_a_root_that_is_not_ours_proves_nothing_and_the_liar_is_looked_for(shared: Playbook) -> None:
    bring_all(shared.said(SPARED).said(Proven(TASK, ROOT)), wrong=2) << CheckBlob(TASK)
    shared >> events.BlobChecked(TASK, False) << DropPieces(TASK, 0b1111) << own(0, PIECES)
    shared.skip()
    for index in range(PIECES):
        shared >> events.OriginPieceArrived(TASK, UNGRANTED, record(index))
        shared.skip()
        shared >> events.PieceCommitted(TASK, index)
        if index < PIECES - 1:
            shared.skip()
    shared << ReleaseReaders(TASK, 0b1111)
    completes(shared, proven=True)


def test_patience_ends_and_the_blob_is_hashed(shared: Playbook) -> None:
    bring_all(shared.said(SPARED))
    began = shared.now
    while not shared.done:
        shared.time()
        shared.done = [done for done in shared.done if type(done) is not commands.TellScheduler]
    shared << CheckBlob(TASK)
    assert shared.now == began + patience_s(PIECES * PIECE, 0.0)
    shared.said(Proven(TASK, ROOT))  # what runs is not taken back
    shared >> events.BlobChecked(TASK, True)
    completes(shared, proven=False)


def test_patience_grows_with_the_blob_and_its_download_within_bounds() -> None:
    assert patience_s(1, 0.0) == PATIENCE_MIN_S
    assert patience_s(1 << 30, 0.0) == (1 << 30) / HASH_BYTES_PER_S
    assert patience_s(1 << 30, 8.0) == 4.0
    assert patience_s(1 << 40, 0.0) == patience_s(1, 1e6) == PATIENCE_MAX_S


def test_when_nobody_vouches_for_it_a_host_that_waits_hashes_at_once(shared: Playbook) -> None:
    bring_all(shared.said(SPARED))
    shared.said(Proven(TASK, NO_ROOT)) << FollowBlob(TASK) << CheckBlob(TASK)


def test_one_that_is_made_a_verifier_on_the_way_hashes_behind_the_download(shared: Playbook) -> None:
    shared.said(SPARED).said(Proven(TASK, NO_ROOT)) << FollowBlob(TASK)
    bring_all(shared) << CheckBlob(TASK)
    shared >> events.BlobChecked(TASK, True)
    shared.told(BlobProved(TASK, ROOT))
    completes(shared, proven=False)


def test_the_loss_of_the_scheduler_ends_the_wait(shared: Playbook) -> None:
    bring_all(shared.said(SPARED))
    shared >> events.SchedulerLost("closed") << FollowBlob(TASK) << CheckBlob(TASK)


def test_without_a_scheduler_the_blob_is_hashed_behind_the_download() -> None:
    playbook = Playbook(verify=FIRST_NODES).alone()
    playbook >> events.BlobWanted(TASK, PIECES * PIECE, REGISTRY, True)
    playbook << OpenStore(TASK, PIECES * PIECE, follow=False)
    playbook >> events.StoreOpened(TASK) << FollowBlob(TASK)


def test_a_scheduler_that_does_not_answer_is_not_waited_for(shared: Playbook) -> None:
    bring_all(shared) << CheckBlob(TASK)


def test_a_piece_lost_while_waiting_is_fetched_again(shared: Playbook) -> None:
    bring_all(shared.said(SPARED))
    shared >> events.PieceLost(TASK, 1)
    shared.skip()
    assert shared.machine.downloads[TASK].phase is Phase.RUNNING
    shared.said(Proven(TASK, ROOT))
    shared >> events.PieceArrived(A, TASK, record(1), record(1).digest, 0.01)
    shared.skip()
    shared >> events.PieceCommitted(TASK, 1) << ReleaseReaders(TASK, 0b1111)
    completes(shared, proven=True)


def test_a_small_blob_is_just_hashed() -> None:
    playbook = Playbook(verify=FIRST_NODES).attached().joined(pieces=2)
    playbook.said(TaskInfo(TASK, 2 * PIECE, is_spared=True)).said(Proven(TASK, bytes(32)))
    assert playbook.skip() == []
    assert not playbook.machine.downloads[TASK].blob.shares_check


def test_a_host_that_hashes_everything_itself_takes_nobody_s_word(playbook: Playbook) -> None:
    playbook.attached().joined(PIECES).said(SPARED).said(Proven(TASK, ROOT))
    bring_all(playbook) << CheckBlob(TASK)
    playbook >> events.BlobChecked(TASK, True)
    completes(playbook, proven=False)
