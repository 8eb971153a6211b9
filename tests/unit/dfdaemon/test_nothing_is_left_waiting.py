"""What could leave a pull waiting, or end it, though somebody had what it needs."""

from collections import Counter

from dfdaemon import events
from dfdaemon.blob_state import READ_SHARE
from dfdaemon.commands import CheckBlob, DropPieces, FailReaders, FetchRange, RequestPiece, TellScheduler
from dfdaemon.download import LOST_MAX
from dfdaemon.fallback import PART_S
from dfdaemon.means import OWN_FETCHES_MAX
from dfdaemon.phase import Phase
from dfdaemon.picker import WINDOW
from swarm.ids import UNGRANTED, Epoch, HostId, ReaderId, TaskId
from swarm.messages import Join, Lease, Leave, NoSource, OriginFault, Parent, Parents, Starving, TaskInfo
from tests.support.daemon_playbook import OTHER_TASK, PIECE, READER, REGISTRY, TASK, Playbook, record

A = HostId("a")


def take(playbook: Playbook, index: int) -> list[object]:
    """A piece comes from a, and is recorded."""
    playbook.arrives("a", index).skip()
    playbook >> events.PieceCommitted(TASK, index)
    return playbook.skip()


def held(pieces: int) -> Playbook:
    """All pieces came from a, and the blob's digest is being computed."""
    playbook = Playbook().attached().joined(pieces).with_parents("1" * pieces)
    playbook.skip()
    for index in range(pieces):
        done = take(playbook, index)
    assert CheckBlob(TASK) in done
    return playbook


def test_downloads_that_starve_call_for_help_in_turn() -> None:
    playbook = Playbook().attached()
    for task in (TASK, OTHER_TASK):
        playbook.wanted(8, task).skip()
    told = [each.message for each in playbook.later(60.0) if isinstance(each, TellScheduler)]
    calls = Counter(message.task for message in told if isinstance(message, Starving))
    assert abs(calls[TASK] - calls[OTHER_TASK]) <= 1 < calls[TASK]


def test_no_source_means_nothing_to_a_blob_that_has_all_its_pieces() -> None:
    playbook = Playbook().attached().joined(1)
    playbook.said(Lease(TASK, Epoch(1), 0, 1, 10.0)).skip()
    playbook >> events.OriginEnded(TASK, Epoch(1), OriginFault.DENIED, detail="401")
    playbook.skip()
    playbook.with_parents("1").skip()
    take(playbook, 0)
    playbook.said(NoSource(TASK, OriginFault.DENIED))
    assert playbook.skip() == []
    assert playbook.machine.downloads[TASK].phase is Phase.CHECKING


def test_a_piece_lost_while_the_digest_is_computed_is_asked_for_again() -> None:
    playbook = held(2)
    playbook >> events.PieceLost(TASK, 1)
    playbook.skip()
    playbook >> events.BlobChecked(TASK, False)
    assert RequestPiece(A, TASK, 1) in playbook.skip()


def test_parents_that_hold_only_what_is_wanted_later_are_asked_when_they_are_free_again() -> None:
    playbook = Playbook().attached().joined(WINDOW + 8).with_parents(" " * (WINDOW + 4) + "1111")
    [(_, index)] = playbook.requests()
    playbook >> events.PieceFailed(A, TASK, index, events.PeerFault.TIMEOUT)
    playbook.skip()
    assert any(isinstance(each, RequestPiece) for each in playbook.later(1.5))


def test_a_reader_of_a_part_is_helped_soon_after_the_scheduler_came_back() -> None:
    playbook = Playbook(schedulers=("scheduler:9000",)).attached()
    playbook >> events.BlobWanted(TASK, 4 * READ_SHARE * PIECE, REGISTRY, True, part=True)
    playbook.skip()
    playbook >> events.ReaderOpened(TASK, READER, 5 * PIECE, 6 * PIECE)
    playbook.skip()
    playbook >> events.StoreOpened(TASK)
    playbook.skip()
    playbook.alone().skip()
    playbook.attached().skip()
    assert any(isinstance(each, FetchRange) for each in playbook.later(2 * PART_S))


def test_a_refused_credential_is_no_reason_not_to_try_the_next_clients() -> None:
    playbook = Playbook().attached().joined(4)
    playbook.said(Lease(TASK, Epoch(1), 0, 4, 10.0)).skip()
    playbook >> events.OriginEnded(TASK, Epoch(1), OriginFault.DENIED, detail="401")
    playbook.skip()
    playbook.with_parents("1000").skip()
    playbook >> events.BlobWanted(TASK, 4 * PIECE, REGISTRY, True)
    assert any(isinstance(each, TellScheduler) and isinstance(each.message, Join) for each in playbook.skip())
    playbook.said(Lease(TASK, Epoch(2), 1, 4, 10.0))
    assert any(isinstance(each, FetchRange) for each in playbook.skip())


def test_a_download_that_ends_with_its_scheduler_makes_room_for_the_next() -> None:
    playbook = held(2)
    playbook >> events.ReaderClosed(TASK, READER)
    playbook.skip()
    playbook >> events.BlobChecked(TASK, False)
    playbook.skip()
    playbook.said(TaskInfo(TASK, 2 * PIECE, (record(0),))).skip()
    playbook >> events.OriginPieceArrived(TASK, UNGRANTED, record(1, 0))
    playbook.skip()
    playbook >> events.OriginEnded(TASK, UNGRANTED)
    playbook.skip()
    playbook >> events.PieceCommitted(TASK, 1)
    playbook.skip()
    playbook >> events.BlobChecked(TASK, False)
    playbook.skip()
    playbook.alone().skip()
    assert TASK not in playbook.machine.downloads
    playbook.wanted(2)


def test_a_second_copy_is_not_asked_of_the_host_that_sends_the_first() -> None:
    playbook = Playbook(slots=1).attached().joined(1).with_parents("1")
    playbook.skip()
    playbook >> events.ParentGone(A, TASK)
    playbook.skip()
    playbook.said(Parents(TASK, (Parent(A, ()),))).skip()
    playbook >> events.ParentAvailable(A, TASK, 1)
    playbook.skip()
    host = playbook.machine._means.book.get(A)
    host.round_trip_s, host.pace = 1.0, 1e-8  # a long way: several requests at once are allowed
    assert not any(isinstance(each, RequestPiece) and each.scratch for each in playbook.later(60.0))


def test_own_fetches_that_find_no_room_are_made_when_there_is() -> None:
    playbook = Playbook(slots=32).attached()
    tasks = [TaskId(f"sha256:{number:064x}") for number in range(OWN_FETCHES_MAX + 1)]
    for task in tasks:
        playbook.wanted(1, task).skip()
        playbook.said(Parents(task, (Parent(A, ()),))).skip()
        playbook >> events.ParentAvailable(A, task, 1)
        playbook.skip()
        playbook >> events.PieceArrived(A, task, record(0), record(0).digest, 0.01)
        playbook.skip()
        playbook >> events.PieceCommitted(task, 0)
        playbook.skip()
    for task in tasks:
        playbook >> events.BlobChecked(task, False)
        playbook.skip()
        playbook.said(TaskInfo(task, PIECE))
        assert DropPieces(task, 1) in playbook.skip()
    playbook >> events.OriginPieceArrived(tasks[0], UNGRANTED, record(0, 0))
    playbook.skip()
    playbook >> events.OriginEnded(tasks[0], UNGRANTED)
    playbook.skip()
    playbook >> events.PieceCommitted(tasks[0], 0)
    playbook.skip()
    fetched = [each.task for each in playbook.later(1.0) if isinstance(each, FetchRange)]
    assert fetched == [tasks[-1]]


def test_a_cluster_that_knows_another_size_is_left_and_the_origin_asked() -> None:
    playbook = Playbook().attached().joined(2).with_parents("00")
    playbook.skip()
    playbook.said(TaskInfo(TASK, 3 * PIECE))
    done = playbook.skip()
    assert TellScheduler(Leave(TASK)) in done
    done += playbook.later(0.1)
    assert FetchRange(TASK, UNGRANTED, 0, 2, 20.0) in done
    assert not any(isinstance(each, FailReaders) for each in done)


def test_a_disk_that_takes_nothing_from_parents_ends_the_download() -> None:
    playbook = Playbook().attached().joined(1).with_parents("1")
    for _ in range(LOST_MAX):
        assert RequestPiece(A, TASK, 0) in playbook.skip()
        playbook >> events.PieceFailed(A, TASK, 0, events.PeerFault.DISK)
    assert any(isinstance(each, FailReaders) and "disk" in each.reason for each in playbook.skip())


def test_a_reader_may_come_after_the_first_is_gone() -> None:
    playbook = held(1)
    playbook >> events.ReaderOpened(TASK, ReaderId(8), 0, PIECE)
    playbook.skip()
    playbook >> events.PieceLost(TASK, 0)
    playbook.skip()
    playbook >> events.BlobChecked(TASK, True)
    assert RequestPiece(A, TASK, 0) in playbook.skip()
