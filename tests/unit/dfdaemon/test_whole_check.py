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
from dfdaemon.phase import Phase
from dfdaemon.whole_check import (
    ANSWER_S,
    CURES_MAX,
    HASH_BYTES_PER_S,
    PATIENCE_MAX_S,
    PATIENCE_MIN_S,
    patience_s,
)
from swarm.ids import UNGRANTED, Epoch, HostId, RequestId
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
from tests.support.daemon_playbook import HERE, PIECE, READER, REGISTRY, TASK, Anything, Playbook, record

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
    playbook >> events.BlobChecked(TASK, False)
    asks(playbook, 2, 0b11)
    playbook.said(TaskInfo(TASK, 2 * PIECE, (record(0),))) << DropPieces(TASK, 0b10) << own(1, 2)
    playbook.skip()
    right = PieceRecord(1, b"right", UNGRANTED)
    playbook >> events.OriginPieceArrived(TASK, UNGRANTED, right)
    convicted = PieceRejected(TASK, 1, A, b"right", record(1).digest, fits=True)
    playbook.told(convicted) << CommitPiece(TASK, right)
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


# --- what the owners of leases told -----------------------------------------------------------------------------------


def asks(playbook: Playbook, pieces: int, held: int) -> None:
    """The scheduler is asked which piece digests it knows; nothing else happens yet."""
    playbook.told(Join(TASK, pieces * PIECE, REGISTRY, True, bits=held))
    assert not [command for command in playbook.skip() if isinstance(command, DropPieces | CheckBlob)]


def takes(playbook: Playbook, parent: str, index: int, digest: bytes) -> Playbook:
    """A piece comes from a parent, with a digest that fits, and is recorded."""
    claimed = PieceRecord(index, digest, Epoch(1))
    playbook >> events.PieceArrived(HostId(parent), TASK, claimed, digest, 0.01)
    playbook.skip()
    playbook >> events.PieceCommitted(TASK, index)
    return playbook


@pytest.fixture
def deceived(playbook: Playbook) -> Playbook:
    """Two pieces came from one parent, the second one forged; the digest of the blob is being computed."""
    playbook.attached().joined(pieces=2).with_parents("11")
    playbook.skip()
    takes(playbook, "a", 0, record(0).digest).skip()
    return takes(playbook, "a", 1, b"forged") << ReleaseReaders(TASK, 0b11) << CheckBlob(TASK)


INFO = TaskInfo(TASK, 2 * PIECE, (record(0), record(1)))
CAUGHT = PieceRejected(TASK, 1, A, record(1).digest, b"forged", fits=True)


def test_only_pieces_that_differ_from_what_lease_owners_told_are_taken_again(deceived: Playbook) -> None:
    deceived >> events.BlobChecked(TASK, False)
    asks(deceived, 2, 0b11)
    deceived.said(INFO)
    deceived.told(CAUGHT) << DropPieces(TASK, 0b10) << commands.RequestPiece(A, TASK, 1)
    deceived.skip()
    takes(deceived, "a", 1, record(1).digest) << ReleaseReaders(TASK, 0b11) << CheckBlob(TASK)
    deceived >> events.BlobChecked(TASK, True)
    completes(deceived, proven=False, pieces=2)


def test_a_wrong_piece_is_sent_no_more_before_it_is_asked_for_again(deceived: Playbook) -> None:
    child = HostId("child")
    deceived >> events.ChildSubscribed(child, TASK) << Anything(commands.SendAvailability)
    deceived >> events.PieceRequested(child, RequestId(1), TASK, 1) << Anything(commands.StartUpload)
    deceived >> events.BlobChecked(TASK, False)
    asks(deceived, 2, 0b11)
    deceived.said(INFO)
    deceived.told(CAUGHT) << DropPieces(TASK, 0b10) << commands.StopSending(TASK, 0b10)
    deceived << commands.RequestPiece(A, TASK, 1)


def test_what_is_held_is_compared_whenever_the_scheduler_tells_digests(playbook: Playbook) -> None:
    playbook.attached().joined(pieces=3).with_parents("010")
    playbook.skip()
    takes(playbook, "a", 1, b"forged")
    playbook.skip()
    playbook.said(TaskInfo(TASK, 3 * PIECE, INFO.records))
    playbook.told(CAUGHT) << DropPieces(TASK, 0b10)
    playbook.skip()
    assert playbook.machine.downloads[TASK].phase is Phase.RUNNING


def test_who_does_not_know_who_gave_it_says_that_it_holds_it(playbook: Playbook) -> None:
    playbook.attached()
    playbook >> events.BlobWanted(TASK, 2 * PIECE, REGISTRY, True) << OpenStore(TASK, 2 * PIECE)
    playbook >> events.StoreOpened(TASK, (PieceRecord(1, b"forged", Epoch(1)),))
    playbook.skip()
    playbook.said(INFO)
    playbook.told(PieceRejected(TASK, 1, HERE, record(1).digest, b"forged", fits=True))
    playbook << DropPieces(TASK, 0b10)
    playbook.skip()


def test_no_answer_in_time_means_to_find_out_with_the_origin(deceived: Playbook) -> None:
    deceived >> events.BlobChecked(TASK, False)
    asks(deceived, 2, 0b11)
    began = deceived.now
    while not any(isinstance(command, DropPieces) for command in deceived.done):
        deceived.skip()
        deceived.time()
    assert deceived.now == began + ANSWER_S
    assert own(0, 2) in deceived.skip()


def test_the_loss_of_the_scheduler_ends_the_wait_for_its_answer(deceived: Playbook) -> None:
    deceived >> events.BlobChecked(TASK, False)
    asks(deceived, 2, 0b11)
    deceived >> events.SchedulerLost("closed") << DropPieces(TASK, 0b11) << own(0, 2)


def test_without_a_scheduler_it_is_found_out_with_the_origin_at_once() -> None:
    playbook = Playbook().alone()
    playbook.wanted(1)
    playbook.skip()
    playbook.time() << own(0, 1)
    playbook >> events.OriginPieceArrived(TASK, UNGRANTED, record(0))
    playbook.skip()
    playbook >> events.PieceCommitted(TASK, 0)
    playbook.skip()
    playbook >> events.OriginEnded(TASK, UNGRANTED)
    playbook.skip()
    playbook >> events.BlobChecked(TASK, False) << DropPieces(TASK, 0b1)
    reason = "the origin's content does not have the digest that names it"
    playbook << FailReaders(TASK, reason) << CloseTask(TASK)


def test_a_scheduler_that_never_explains_it_for_good_is_asked_so_many_times_only(deceived: Playbook) -> None:
    for number in range(CURES_MAX):
        deceived >> events.BlobChecked(TASK, False)
        asks(deceived, 2, 0b11)
        deceived.said(TaskInfo(TASK, 2 * PIECE, (PieceRecord(1, b"%d" % number, Epoch(1)),)))
        deceived.skip()
        takes(deceived, "a", 1, b"%d" % number) << ReleaseReaders(TASK, 0b11) << CheckBlob(TASK)
    deceived >> events.BlobChecked(TASK, False) << DropPieces(TASK, 0b01) << own(0, 1)
    deceived.skip()


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


def completes(playbook: Playbook, proven: bool, pieces: int = PIECES) -> None:
    playbook << CompleteBlob(TASK, proven)
    done = playbook.skip()
    assert commands.TellScheduler(Completed(TASK)) in done
    assert playbook.machine.held == {TASK: pieces * PIECE}


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
    shared >> events.BlobChecked(TASK, False)
    shared.skip()
    shared.said(SPARED) << DropPieces(TASK, 0b1111) << own(0, PIECES)
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
    playbook = Playbook(verify=FIRST_NODES).attached().joined(pieces=1)
    playbook.said(TaskInfo(TASK, PIECE, is_spared=True)).said(Proven(TASK, bytes(32)))
    assert playbook.skip() == []
    assert not playbook.machine.downloads[TASK].blob.shares_check


def test_a_host_that_hashes_everything_itself_takes_nobody_s_word(playbook: Playbook) -> None:
    playbook.attached().joined(PIECES).said(SPARED).said(Proven(TASK, ROOT))
    bring_all(playbook) << CheckBlob(TASK)
    playbook >> events.BlobChecked(TASK, True)
    completes(playbook, proven=False)
