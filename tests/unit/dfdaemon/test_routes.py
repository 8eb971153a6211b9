"""Every event in every phase: it means something, or it means nothing, but it never breaks anything."""

from collections.abc import Callable
from typing import get_args

import pytest

from dfdaemon import events, routes
from dfdaemon.phase import Phase
from dfdaemon.piece_table import Stage
from swarm import messages
from swarm.ids import Epoch, HostId, ReaderId, RequestId, TaskId
from swarm.messages import OriginFault, Parent
from swarm.repositories import Denials, Purge, RepositoryAnswer, ResolveTag
from swarm.roots import NO_ROOT, Proven
from tests.support.daemon_playbook import PIECE, READER, REGISTRY, TASK, Playbook, record

A, CHILD = HostId("a"), HostId("child")
PIECES = 3


def opening(playbook: Playbook) -> None:
    playbook >> events.BlobWanted(TASK, PIECES * PIECE, REGISTRY, True)
    playbook.skip()
    playbook >> events.ReaderOpened(TASK, READER, 0, PIECES * PIECE)


def running(playbook: Playbook) -> None:
    """Piece 0 is asked of a parent, piece 1 is leased, piece 2 is written."""
    playbook.joined(PIECES).said(messages.Lease(TASK, Epoch(1), 1, 3, 10.0)).skip()
    playbook.with_parents("1").skip()
    playbook >> events.OriginPieceArrived(TASK, Epoch(1), record(2))


def checking(playbook: Playbook) -> None:
    playbook.joined(PIECES).said(messages.Lease(TASK, Epoch(1), 0, 3, 10.0)).skip()
    for index in range(PIECES):
        playbook >> events.OriginPieceArrived(TASK, Epoch(1), record(index))
        playbook.skip()
        playbook >> events.PieceCommitted(TASK, index)
        playbook.skip()


def whole(playbook: Playbook) -> None:
    checking(playbook)
    playbook >> events.BlobChecked(TASK, True)


def closing(playbook: Playbook) -> None:
    running(playbook)
    playbook.skip()
    playbook >> events.BlobWithdrawn(TASK, "denied")


def closed(playbook: Playbook) -> None:
    """There is no download any more, nor ever was one."""


SCENES: dict[Phase, Callable[[Playbook], None]] = {
    Phase.OPENING: opening,
    Phase.RUNNING: running,
    Phase.CHECKING: checking,
    Phase.WHOLE: whole,
    Phase.CLOSING: closing,
    Phase.CLOSED: closed,
}
SAID: list[messages.ToDaemon] = [
    messages.Settings(),
    messages.TaskInfo(TASK, PIECES * PIECE, (record(0), record(99))),
    messages.TaskInfo(TASK, 17),
    messages.Parents(TASK, (Parent(A, ()), Parent(HostId("b"), ()))),
    messages.Lease(TASK, Epoch(1), 0, 3, 10.0),
    messages.Lease(TASK, Epoch(2), 0, 3, 10.0),
    messages.Imports(TASK, 0b11),
    messages.Imports(TASK, 1 << 500),
    messages.LeaseRevoked(TASK, Epoch(1)),
    messages.LeaseRevoked(TASK, Epoch(7)),
    messages.Quarantine(A, 10.0),
    messages.Inline(TASK, b"content"),
    messages.NoSource(TASK, OriginFault.TIMEOUT),
    RepositoryAnswer(1, public=False),
    ResolveTag("r", "n", "v1"),
    Denials((TASK,)),
    Purge(TASK),
    Proven(TASK, NO_ROOT),
    Proven(TASK, bytes(32)),
]
EVENTS: list[events.Event] = [
    events.SchedulerAttached(),
    events.SchedulerLost("closed"),
    events.BlobWanted(TASK, PIECES * PIECE, REGISTRY, True),
    events.ReaderOpened(TASK, ReaderId(9), PIECE, PIECES * PIECE),
    events.ReaderAdvanced(TASK, READER, PIECE),
    events.ReaderClosed(TASK, READER),
    events.ReaderClosed(TASK, ReaderId(10)),
    events.StoreOpened(TASK, (record(1),)),
    events.StoreOpened(TASK, tuple(record(index) for index in range(PIECES)), complete=True),
    events.StoreRefused(TASK),
    *(events.PieceCommitted(TASK, index) for index in range(PIECES)),
    *(events.PieceLost(TASK, index) for index in range(PIECES)),
    events.BlobChecked(TASK, True),
    events.BlobChecked(TASK, False),
    events.BlobEvicted(TASK),
    events.ParentAvailable(A, TASK, 0b111),
    events.ParentAvailable(A, TASK, 0b1000),
    events.ParentHas(A, TASK, (record(1),)),
    events.ParentBusy(A, TASK, 0),
    events.ParentReady(A),
    events.ParentGone(A, TASK),
    events.ParentLost(A, events.PeerFault.CLOSED),
    events.PieceArrived(A, TASK, record(0), record(0).digest, 0.1),
    events.PieceArrived(A, TASK, record(0), b"other", 0.1),
    events.PieceArrived(A, TASK, record(0), record(0).digest, 0.1, scratch=True),
    *(events.PieceFailed(A, TASK, 0, fault) for fault in events.PeerFault),
    events.OriginAdvanced(TASK, Epoch(1), 10),
    events.OriginPieceArrived(TASK, Epoch(1), record(1)),
    events.OriginPieceArrived(TASK, Epoch(8), record(1)),
    *(events.OriginEnded(TASK, Epoch(1), fault) for fault in (None, *OriginFault)),
    events.InlineWritten(TASK, (record(0),)),
    events.ChildSubscribed(CHILD, TASK),
    events.ChildUnsubscribed(CHILD, TASK),
    events.ChildLost(CHILD),
    events.PieceRequested(CHILD, RequestId(1), TASK, 0),
    events.UploadEnded(CHILD, RequestId(1), TASK, PIECE, 0.1),
    events.BlobWithdrawn(TASK, "purged"),
    events.TimeReached(),
    events.Stopping(),
    *(events.SchedulerSaid(message) for message in SAID),
]


def test_every_event_and_every_message_is_here() -> None:
    assert {type(event) for event in EVENTS} == set(get_args(events.Event))
    assert {type(message) for message in SAID} == set(get_args(messages.ToDaemon))
    assert set(SCENES) == set(Phase)


def enter(phase: Phase) -> Playbook:
    playbook = Playbook().attached()
    SCENES[phase](playbook)
    playbook.skip()
    download = playbook.machine.downloads.get(TASK)
    assert (download.phase if download is not None else Phase.CLOSED) is phase
    return playbook


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
@pytest.mark.parametrize("phase", Phase)
def test_no_event_breaks_anything_in_any_phase(phase: Phase, event: events.Event) -> None:
    playbook = enter(phase)
    playbook >> event
    playbook.skip()
    playbook >> event
    playbook.skip()
    playbook.at(1000.0) >> events.TimeReached()


IGNORED = [
    (phase, event)
    for event in EVENTS
    for phase in Phase
    if phase is not Phase.CLOSED and phase not in routes.ACCEPTED.get(type(event), (frozenset(Phase),))[0]
]


@pytest.mark.parametrize(
    ("phase", "event"), IGNORED, ids=lambda value: getattr(value, "name", type(value).__name__)
)
def test_what_means_nothing_changes_nothing(phase: Phase, event: events.Event) -> None:
    playbook = enter(phase)
    download = playbook.machine.downloads[TASK]
    before = [download.blob.table.at(stage) for stage in Stage]
    playbook >> event
    after = [download.blob.table.at(stage) for stage in Stage]
    assert (playbook.skip(), download.phase, after) == ([], phase, before)


def test_a_task_that_nobody_wants_gets_no_download() -> None:
    playbook = Playbook().attached()
    for event in EVENTS:
        if type(event) not in (events.BlobWanted, events.Stopping):
            playbook >> event
            playbook.skip()
    assert playbook.machine.downloads == {}
    assert TaskId(TASK) not in playbook.machine.held
