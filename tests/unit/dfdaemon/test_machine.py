"""What the machine itself does: routing, sharing out the budget, and the life of the daemon."""

import pytest

from dfdaemon import events, transfers
from dfdaemon.commands import (
    CloseTask,
    FailReaders,
    FetchRange,
    RequestPiece,
    SendAvailability,
    SendGone,
    SendHave,
    StartUpload,
    StopSending,
    TellScheduler,
)
from dfdaemon.events import PeerFault
from dfdaemon.machine import DOWNLOADS_MAX
from swarm.facts import Note
from swarm.ids import Epoch, HostId, RequestId, TaskId
from swarm.layers import PAUSE_S, Layer
from swarm.messages import HeldBlob, Hello, Leave, Parent, Parents, Priority, Settings
from swarm.repositories import RepositoryAnswer
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

A, B, CHILD = HostId("a"), HostId("b"), HostId("child")


class Stored:
    task = TASK
    size = 2 * PIECE
    records = (record(0), record(1))


@pytest.fixture
def playbook() -> Playbook:
    return Playbook()


def test_what_is_on_disk_is_told_and_served(playbook: Playbook) -> None:
    playbook.machine.restore([Stored()])
    playbook >> events.SchedulerAttached()
    hello = playbook.skip()[0].message
    assert hello == Hello(hello.info, (), (HeldBlob(TASK, 2 * PIECE),))
    playbook >> events.ChildSubscribed(CHILD, TASK) << SendAvailability(CHILD, TASK, 2 * PIECE, 0b11)
    playbook >> events.PieceRequested(CHILD, RequestId(1), TASK, 1)
    playbook << StartUpload(CHILD, RequestId(1), TASK, record(1))


def test_what_left_the_disk_while_it_is_wanted_again_is_not_told_as_held(playbook: Playbook) -> None:
    playbook.machine.restore([Stored()])
    playbook >> events.BlobWanted(TASK, 2 * PIECE, REGISTRY, True)
    playbook.skip()
    playbook >> events.BlobEvicted(TASK)
    playbook >> events.SchedulerAttached()
    assert playbook.skip()[0].message.held == ()


def test_a_running_download_is_told_when_a_scheduler_attaches(playbook: Playbook) -> None:
    playbook.wanted(2)
    playbook >> events.BlobWanted(OTHER_TASK, PIECE, REGISTRY, True) << Anything(type(playbook.done[0]))
    playbook >> events.SchedulerAttached()
    (active,) = playbook.skip()[0].message.active
    assert (active.task, active.size, active.may_fetch) == (TASK, 2 * PIECE, True), (
        "the other one has no store yet"
    )


def test_an_evicted_blob_is_forgotten(playbook: Playbook) -> None:
    playbook.machine.restore([Stored()])
    playbook.attached()
    playbook >> events.ChildSubscribed(CHILD, TASK) << Anything(SendAvailability)
    playbook >> events.BlobEvicted(TASK) << SendGone(CHILD, TASK)
    playbook.told(Leave(TASK))
    assert playbook.machine.held == {}


def test_a_piece_that_rotted_is_sent_no_more(playbook: Playbook) -> None:
    playbook.machine.restore([Stored()])
    playbook >> events.ChildSubscribed(CHILD, TASK) << Anything(SendAvailability)
    playbook >> events.PieceLost(TASK, 1) << StopSending(TASK, 0b10)


def test_a_blob_that_rotted_is_not_served(playbook: Playbook) -> None:
    playbook.machine.restore([Stored()])
    playbook.attached()
    playbook >> events.PieceLost(TASK, 1)
    playbook.told(Leave(TASK))
    assert playbook.machine.sharing.holdings[TASK].bits == 0b01
    assert [note.name for note in playbook.notes[1:]] == ["blob_damaged"]


def test_blobs_progress_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfers, "FIRST_REQUESTS", 4)
    playbook = Playbook(slots=4).attached()
    playbook.joined(8).with_parents(*["11111111"] * 4).skip()
    playbook.joined(8, OTHER_TASK)
    for name in "efgh":
        playbook.said(Parents(OTHER_TASK, (Parent(HostId(name), ()),))).skip()
        playbook >> events.ParentAvailable(HostId(name), OTHER_TASK, 0b11111111)
    assert [download.in_flight for download in playbook.machine.downloads.values()] == [4, 0]
    for request in list(playbook.machine.downloads[TASK].peers.transfers)[:2]:
        playbook.arrives(request.peer.name, request.index).skip()
    assert [download.in_flight for download in playbook.machine.downloads.values()] == [2, 2]


def layers(places: tuple[int, int] = (0, 1)) -> Playbook:
    """Two layers of an image, with a parent for each; one request at a time."""
    playbook = Playbook(slots=1).attached()
    for name, task, place in zip("ab", (TASK, OTHER_TASK), places, strict=True):
        playbook >> events.BlobWanted(task, 4 * PIECE, REGISTRY, True, layer=Layer("image", place))
        playbook.skip()
        playbook >> events.ReaderOpened(task, READER, 0, 4 * PIECE)
        playbook >> events.StoreOpened(task)
        playbook.skip()
        playbook.said(Parents(task, (Parent(HostId(name), ()),))).skip()
    return playbook


@pytest.mark.parametrize("places", [(0, 1), (1, 0)])
def test_an_earlier_layer_goes_before_a_later_one(places: tuple[int, int]) -> None:
    playbook = layers(places)
    later, earlier = ((TASK, A), (OTHER_TASK, B)) if places == (1, 0) else ((OTHER_TASK, B), (TASK, A))
    playbook >> events.ParentAvailable(later[1], later[0], 0b1111)
    (first,) = playbook.skip()
    assert first.task == later[0], "nobody has the other one yet"
    playbook >> events.ParentAvailable(earlier[1], earlier[0], 0b0001)
    assert playbook.skip() == []
    playbook >> events.PieceFailed(later[1], later[0], first.index, PeerFault.CANCELLED)
    assert [asked.task for asked in playbook.skip()] == [earlier[0]]
    playbook >> events.PieceFailed(earlier[1], earlier[0], 0, PeerFault.GONE)
    assert [asked.task for asked in playbook.skip()] == [later[0]], "of the earlier one nobody has anything"


def test_a_later_layer_gets_something_now_and_then() -> None:
    playbook = layers()
    playbook >> events.ParentAvailable(A, TASK, 0b1111)
    (asked,) = playbook.skip()
    playbook >> events.ParentAvailable(B, OTHER_TASK, 0b1111)
    playbook.now += PAUSE_S
    playbook >> events.PieceFailed(A, TASK, asked.index, PeerFault.CANCELLED)
    assert [request.task for request in playbook.skip()] == [OTHER_TASK]


def test_a_layer_that_waits_its_turn_calls_for_no_help_and_does_not_help_itself() -> None:
    playbook = layers()
    playbook >> events.ParentAvailable(A, TASK, 0b1111)
    asked = playbook.skip()
    playbook >> events.ParentAvailable(B, OTHER_TASK, 0b1111)
    assert [command for command in playbook.later(0.4) if isinstance(command, TellScheduler)] == []
    playbook >> events.SchedulerLost("it went away")
    assert [command for command in playbook.later(6.0) if isinstance(command, FetchRange)] == []
    while asked[0].task == TASK:
        playbook >> events.PieceFailed(A, TASK, asked[0].index, PeerFault.GONE)
        asked = playbook.skip()
    assert asked[0].task == OTHER_TASK


def test_a_later_layer_that_nobody_offers_does_not_wait_for_its_turn() -> None:
    playbook = layers()
    playbook >> events.ParentAvailable(A, TASK, 0b1111)
    playbook.skip()
    playbook >> events.ParentAvailable(B, OTHER_TASK, 0)
    calls = [command.message for command in playbook.later(0.4) if isinstance(command, TellScheduler)]
    assert {call.task for call in calls} == {OTHER_TASK}
    playbook >> events.SchedulerLost("it went away")
    fetches = [command for command in playbook.later(6.0) if isinstance(command, FetchRange)]
    assert {fetch.task for fetch in fetches} == {OTHER_TASK}


def test_what_a_container_waits_for_goes_before_a_preheat() -> None:
    playbook = Playbook(slots=1).attached()
    playbook >> events.BlobWanted(TASK, PIECE, REGISTRY, True, Priority.PREHEAT)
    playbook.skip()
    playbook >> events.StoreOpened(TASK)
    playbook.skip()
    playbook.joined(1, OTHER_TASK)
    for name, task in (("a", TASK), ("b", OTHER_TASK)):
        playbook.said(Parents(task, (Parent(HostId(name), ()),))).skip()
    playbook >> events.ParentAvailable(A, TASK, 0b1) << RequestPiece(A, TASK, 0)
    playbook >> events.ParentAvailable(B, OTHER_TASK, 0b1)
    playbook >> events.PieceFailed(A, TASK, 0, PeerFault.CANCELLED) << RequestPiece(B, OTHER_TASK, 0)


def test_a_child_that_is_a_parent_too_hears_only_of_what_it_lacks() -> None:
    playbook = Playbook(slots=1)
    playbook.attached().joined(2).with_parents("1", "01")
    playbook.skip()
    for child in (A, B, CHILD):
        playbook >> events.ChildSubscribed(child, TASK) << SendAvailability(child, TASK, 2 * PIECE, 0)
    (asked,) = playbook.waiting
    playbook.arrives(asked.parent, asked.index).skip()
    playbook >> events.PieceCommitted(TASK, asked.index)
    others = tuple(host for host in (A, B, CHILD) if host != asked.parent)
    assert SendHave(others, TASK, (record(asked.index),)) in playbook.skip()


def test_a_daemon_that_stops_leaves_and_takes_nothing_new(playbook: Playbook) -> None:
    playbook.attached()
    playbook >> events.Stopping()
    playbook.told(Leave(TaskId("")))
    playbook >> events.BlobWanted(TASK, PIECE, REGISTRY, True)
    playbook << FailReaders(TASK, "the daemon stops") << CloseTask(TASK)
    playbook >> events.ChildSubscribed(CHILD, TASK) << SendGone(CHILD, TASK)


def test_downloads_are_bounded(playbook: Playbook) -> None:
    for number in range(DOWNLOADS_MAX):
        playbook.machine.handle(
            events.BlobWanted(TaskId(f"sha256:{number}"), PIECE, REGISTRY, True), playbook.now
        )
    assert len(playbook.machine.downloads) == DOWNLOADS_MAX
    done = playbook.machine.handle(events.BlobWanted(TASK, PIECE, REGISTRY, True), playbook.now)
    assert [type(command) for command in done] == [FailReaders, CloseTask]


def test_that_there_is_no_scheduler_is_noted_once(playbook: Playbook) -> None:
    playbook.alone().alone()
    assert playbook.notes == [Note("scheduler_lost", fields=(("reason", "none is configured"),))]


def test_the_scheduler_sets_the_pace(playbook: Playbook) -> None:
    playbook.attached().said(Settings(progress_interval_s=2.0))
    assert playbook.machine.session.settings.progress_interval_s == 2.0


def test_what_is_not_the_machines_business_means_nothing(playbook: Playbook) -> None:
    playbook.attached().said(RepositoryAnswer(1, public=True))
    playbook >> events.PieceCommitted(TASK, 0)
    playbook >> events.OriginEnded(TASK, Epoch(1))
