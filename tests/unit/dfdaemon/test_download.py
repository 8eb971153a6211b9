"""The life of a download, as dialogues: `>>` is what happens, `<<` what the daemon does about it."""

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
    OpenStore,
    ReleaseReaders,
    Subscribe,
    Unsubscribe,
)
from dfdaemon.download import IDLE_S, LOST_MAX
from dfdaemon.phase import Phase
from swarm.ids import UNGRANTED, Epoch, HostId, ReaderId
from swarm.messages import (
    Completed,
    Join,
    Lease,
    LeaseFailed,
    LeaseProgress,
    Leave,
    NoSource,
    OriginFault,
    Parent,
    Parents,
    PieceRecord,
    PieceRejected,
    Priority,
    Progress,
    Starving,
    TaskInfo,
    TaskProgress,
)
from tests.support.daemon_playbook import PIECE, READER, REGISTRY, TASK, Anything, Playbook, record

A, B, C = HostId("a"), HostId("b"), HostId("c")


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


def test_a_digest_that_cannot_be_computed_accuses_nobody(playbook: Playbook) -> None:
    playbook.attached().joined(pieces=1)
    playbook.said(Lease(TASK, Epoch(1), 0, 1, timeout_s=10.0)).skip()
    playbook >> events.OriginPieceArrived(TASK, Epoch(1), record(0))
    playbook.skip()
    playbook >> events.OriginEnded(TASK, Epoch(1))
    playbook.skip()
    playbook >> events.PieceCommitted(TASK, 0)
    assert CheckBlob(TASK) in playbook.skip()
    playbook >> events.BlobChecked(TASK, None)
    done = playbook.skip()
    assert [type(command) for command in done if isinstance(command, FailReaders | DropPieces)] == [
        FailReaders
    ]
    assert not [each for each in done if isinstance(getattr(each, "message", None), LeaseFailed)]


def test_one_blob_from_the_origin_under_a_lease(playbook: Playbook) -> None:
    playbook.attached().joined(pieces=2)
    playbook.said(TaskInfo(TASK, 2 * PIECE))
    playbook.said(Lease(TASK, Epoch(1), 0, 2, timeout_s=10.0)) << fetch(0, 2)
    playbook >> events.OriginPieceArrived(TASK, Epoch(1), record(0)) << CommitPiece(TASK, record(0))
    playbook >> events.PieceCommitted(TASK, 0) << ReleaseReaders(TASK, 0b01)
    playbook.told(Progress((TaskProgress(TASK, 0b01, (record(0),)),)))
    playbook.told(LeaseProgress(TASK, Epoch(1), 1, PIECE))
    playbook >> events.OriginPieceArrived(TASK, Epoch(1), record(1)) << CommitPiece(TASK, record(1))
    playbook >> events.OriginEnded(TASK, Epoch(1))
    playbook >> events.PieceCommitted(TASK, 1) << ReleaseReaders(TASK, 0b11)
    playbook.told(Progress((TaskProgress(TASK, 0b11, (record(1),)),)))
    playbook.told(LeaseProgress(TASK, Epoch(1), 2, 2 * PIECE)) << CheckBlob(TASK)
    playbook >> events.BlobChecked(TASK, True) << CompleteBlob(TASK)
    playbook.told(Completed(TASK)) << ReleaseReaders(TASK, 0b11)
    playbook >> events.ReaderClosed(TASK, READER) << CloseTask(TASK)
    assert playbook.machine.downloads == {}
    assert playbook.machine.held == {TASK: 2 * PIECE}


def test_one_blob_from_two_parents(playbook: Playbook) -> None:
    playbook.attached().joined(pieces=2).with_parents("1 ", " 1")
    assert [*playbook.waiting, *playbook.skip()] == [
        commands.RequestPiece(A, TASK, 0),
        commands.RequestPiece(B, TASK, 1),
    ]
    playbook.arrives("b", 1) << CommitPiece(TASK, record(1), source=B)
    playbook >> events.PieceCommitted(TASK, 1) << ReleaseReaders(TASK, 0b10)
    playbook.told(Progress((TaskProgress(TASK, 0b10),)))
    playbook.arrives("a", 0) << CommitPiece(TASK, record(0), source=A)
    playbook >> events.PieceCommitted(TASK, 0) << ReleaseReaders(TASK, 0b11) << CheckBlob(TASK)
    playbook >> events.BlobChecked(TASK, True) << CompleteBlob(TASK)
    playbook.told(Progress((TaskProgress(TASK, 0b11),))).told(Completed(TASK))
    playbook << ReleaseReaders(TASK, 0b11) << Unsubscribe(A, TASK) << Unsubscribe(B, TASK)


def test_a_blob_that_is_on_disk_is_read_at_once(playbook: Playbook) -> None:
    playbook.attached()
    playbook >> events.BlobWanted(TASK, PIECE, REGISTRY, True) << OpenStore(TASK, PIECE)
    playbook >> events.ReaderOpened(TASK, READER, 0, PIECE)
    playbook >> events.StoreOpened(TASK, (record(0),), complete=True) << ReleaseReaders(TASK, 0b1)
    playbook >> events.ReaderClosed(TASK, READER) << CloseTask(TASK)


def test_what_a_crash_left_on_disk_is_told_with_join(playbook: Playbook) -> None:
    playbook.attached()
    (
        playbook
        >> events.BlobWanted(TASK, 3 * PIECE, REGISTRY, False, Priority.PREHEAT)
        << OpenStore(TASK, 3 * PIECE)
    )
    playbook >> events.StoreOpened(TASK, (record(1),))
    playbook.told(Join(TASK, 3 * PIECE, REGISTRY, False, True, Priority.PREHEAT, 0b010))
    playbook >> events.ReaderOpened(TASK, READER, 0, 3 * PIECE) << ReleaseReaders(TASK, 0b010)


def test_a_second_client_with_a_credential_is_told(playbook: Playbook) -> None:
    playbook.attached().joined(pieces=1, may_fetch=False)
    playbook >> events.BlobWanted(TASK, PIECE, REGISTRY, True)
    playbook.told(Join(TASK, PIECE, REGISTRY, True))
    playbook >> events.BlobWanted(TASK, PIECE, REGISTRY, True)


def test_a_lie_is_reported_and_the_liar_left(playbook: Playbook) -> None:
    playbook.attached().joined(pieces=1).with_parents("1")
    playbook << commands.RequestPiece(A, TASK, 0)
    playbook.arrives("a", 0, digest=b"other")
    playbook.told(PieceRejected(TASK, 0, A, record(0).digest, b"other")) << Unsubscribe(A, TASK)
    playbook.said(Parents(TASK, (Parent(A, ()),)))
    playbook >> events.ParentAvailable(A, TASK, 0b1)


def test_a_claim_that_contradicts_the_owner_of_the_lease_is_reported_and_its_parent_asked_anew(
    playbook: Playbook,
) -> None:
    playbook.attached().joined(pieces=1)
    true = PieceRecord(0, b"truth", Epoch(1))
    playbook.said(TaskInfo(TASK, PIECE, (true,))).with_parents("1")
    playbook << commands.RequestPiece(A, TASK, 0)
    playbook.arrives("a", 0)
    playbook.told(PieceRejected(TASK, 0, A, b"truth", record(0).digest, fits=True))
    while type(playbook.time().done[0]) is commands.TellScheduler:
        playbook.told(Starving(TASK, 0b1))
    playbook << Subscribe(Parent(A, ()), TASK)  # it may have been deceived itself
    playbook >> events.ParentAvailable(A, TASK, 0b1) << commands.RequestPiece(A, TASK, 0)


def test_a_claim_that_most_hosts_contradict_is_for_the_scheduler_to_settle(playbook: Playbook) -> None:
    playbook.attached().joined(pieces=1).with_parents("0", "0", "0")
    playbook >> events.ParentHas(A, TASK, (record(0),)) << commands.RequestPiece(A, TASK, 0)
    other = PieceRecord(0, b"other", Epoch(1))
    playbook >> events.ParentHas(B, TASK, (other,))
    playbook.told(Join(TASK, PIECE, REGISTRY, True))
    playbook >> events.ParentHas(C, TASK, (other,))
    playbook.arrives("a", 0)
    (asked,) = playbook.skip()
    assert asked.parent in (B, C), (
        "it is not believed, and reported only when the scheduler has told who is right"
    )


def test_a_piece_that_others_claim_to_be_different_is_taken_but_asked_about(playbook: Playbook) -> None:
    playbook.attached().joined(pieces=1).with_parents("1", "0")
    playbook.skip()
    playbook >> events.ParentHas(B, TASK, (PieceRecord(0, b"other", Epoch(1)),))
    playbook.arrives("a", 0).told(Join(TASK, PIECE, REGISTRY, True)) << CommitPiece(TASK, record(0), source=A)


def test_without_a_scheduler_a_claim_that_others_contradict_is_a_lie(playbook: Playbook) -> None:
    playbook.attached().joined(pieces=1)
    playbook.said(TaskInfo(TASK, PIECE, (PieceRecord(0, b"truth", Epoch(1)),))).with_parents("1")
    playbook << commands.RequestPiece(A, TASK, 0)
    playbook >> events.SchedulerLost("closed")
    playbook.arrives("a", 0) << Unsubscribe(A, TASK)


def test_a_cluster_that_knows_another_size_ends_a_download_that_may_not_ask_the_origin(
    playbook: Playbook,
) -> None:
    playbook.attached().joined(pieces=1, may_fetch=False)
    playbook.said(TaskInfo(TASK, 3 * PIECE)).told(Leave(TASK)) << Anything(FailReaders)
    assert playbook.skip()[-1] == CloseTask(TASK)


def test_a_source_that_nobody_has_is_the_origin(playbook: Playbook) -> None:
    playbook.attached().joined(pieces=2)
    playbook.said(NoSource(TASK, OriginFault.UNREACHABLE))
    playbook.time() << own(0, 2)


def test_without_a_source_and_a_credential_the_client_hears_why(playbook: Playbook) -> None:
    playbook.attached().joined(pieces=2, may_fetch=False)
    playbook.said(NoSource(TASK, OriginFault.DENIED))
    playbook << FailReaders(TASK, "no host has it, and the origin cannot be asked: DENIED")
    playbook.told(Leave(TASK)) << CloseTask(TASK)


def test_a_client_that_leaves_does_not_end_a_download_that_others_need(playbook: Playbook) -> None:
    playbook.attached().joined(pieces=3)
    playbook.said(Lease(TASK, Epoch(1), 0, 3, 10.0)) << fetch(0, 3)
    playbook >> events.ReaderClosed(TASK, READER)
    origin_brings(playbook, 0)
    playbook.at(IDLE_S - 1) >> events.TimeReached()
    playbook.skip()
    assert playbook.machine.downloads[TASK].phase is Phase.RUNNING


def test_but_one_without_clients_and_progress_is_given_up(playbook: Playbook) -> None:
    playbook.attached().joined(pieces=3)
    playbook.said(Lease(TASK, Epoch(1), 0, 3, 10.0)) << fetch(0, 3)
    playbook >> events.ReaderClosed(TASK, READER)
    playbook.at(IDLE_S) >> events.TimeReached()
    playbook.told(LeaseFailed(TASK, Epoch(1), 0, OriginFault.ABANDONED)) << commands.StopFetch(TASK, Epoch(1))
    playbook.told(Leave(TASK))
    playbook >> events.OriginPieceArrived(TASK, Epoch(1), record(0))
    playbook >> events.OriginEnded(TASK, Epoch(1)) << CloseTask(TASK)


def test_a_client_that_comes_while_it_is_given_up_gets_it_going_again(playbook: Playbook) -> None:
    playbook.attached().joined(pieces=2)
    playbook.said(Lease(TASK, Epoch(1), 0, 2, 10.0)) << fetch(0, 2)
    playbook >> events.ReaderClosed(TASK, READER)
    playbook.at(IDLE_S) >> events.TimeReached()
    playbook.skip()
    playbook >> events.BlobWanted(TASK, 2 * PIECE, REGISTRY, True)
    playbook.told(Join(TASK, 2 * PIECE, REGISTRY, True))
    playbook >> events.ReaderOpened(TASK, ReaderId(8), 0, 2 * PIECE)
    playbook >> events.OriginEnded(TASK, Epoch(1))
    playbook.said(Lease(TASK, Epoch(2), 0, 2, 10.0)) << fetch(0, 2, epoch=2)


def test_what_arrives_after_it_got_going_again_is_offered(playbook: Playbook) -> None:
    playbook.attached().joined(pieces=3)
    playbook.said(Lease(TASK, Epoch(1), 0, 2, 10.0)) << fetch(0, 2)
    playbook >> events.ReaderClosed(TASK, READER)
    playbook.at(IDLE_S) >> events.TimeReached()
    playbook.skip()
    playbook >> events.BlobWanted(TASK, 3 * PIECE, REGISTRY, True)
    playbook.skip()
    origin_brings(playbook, 0)
    assert playbook.machine.sharing.holdings[TASK].bits == 0b001


def test_a_client_that_comes_while_it_is_checked_and_given_up_waits_for_that_check(
    playbook: Playbook,
) -> None:
    playbook.attached().joined(pieces=1)
    playbook.said(Lease(TASK, Epoch(1), 0, 1, 10.0)) << fetch(0, 1)
    origin_brings(playbook, 0)
    playbook >> events.OriginEnded(TASK, Epoch(1))
    playbook.skip()
    assert playbook.machine.downloads[TASK].phase is Phase.CHECKING
    playbook >> events.ReaderClosed(TASK, READER)
    playbook.at(IDLE_S) >> events.TimeReached()
    playbook.skip()
    playbook >> events.BlobWanted(TASK, PIECE, REGISTRY, True)
    assert CheckBlob(TASK) not in playbook.skip(), "it runs already"
    playbook >> events.BlobChecked(TASK, True) << CompleteBlob(TASK)


def test_a_disk_that_loses_piece_after_piece_ends_the_download(playbook: Playbook) -> None:
    playbook.attached().joined(pieces=LOST_MAX + 1)
    playbook.said(Lease(TASK, Epoch(1), 0, LOST_MAX, 10.0)) << fetch(0, LOST_MAX)
    for index in range(LOST_MAX):
        playbook >> events.OriginPieceArrived(TASK, Epoch(1), record(index)) << Anything(CommitPiece)
    for index in range(LOST_MAX - 1):
        playbook >> events.PieceLost(TASK, index)
    playbook >> events.PieceLost(TASK, LOST_MAX - 1)
    assert playbook.skip()[0] == FailReaders(
        TASK, "the disk does not take this blob: look at store.directory and at the kernel's log"
    )


def test_a_piece_that_rotted_on_disk_is_fetched_again(playbook: Playbook) -> None:
    playbook.attached()
    playbook >> events.BlobWanted(TASK, 2 * PIECE, REGISTRY, True) << OpenStore(TASK, 2 * PIECE)
    playbook >> events.ReaderOpened(TASK, READER, 0, 2 * PIECE)
    playbook >> events.StoreOpened(TASK, (record(0), record(1)), complete=True) << ReleaseReaders(TASK, 0b11)
    playbook >> events.PieceLost(TASK, 1) << ReleaseReaders(TASK, 0b01)
    playbook.told(Join(TASK, 2 * PIECE, REGISTRY, True, bits=0b01))
    playbook.told(Progress((TaskProgress(TASK, 0b01),)))
    assert playbook.machine.sharing.holdings[TASK].bits == 0b01


def test_an_empty_blob_is_complete_once_its_digest_is_checked(playbook: Playbook) -> None:
    playbook.attached().joined(pieces=0) << CheckBlob(TASK)
    playbook >> events.BlobChecked(TASK, True) << CompleteBlob(TASK)
    playbook.told(Completed(TASK))
