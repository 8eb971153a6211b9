from math import inf

import pytest

from scheduler.commands import Command, LoadTask, SaveRecords, Send
from scheduler.events import (
    DaemonMessage,
    DigestAllowed,
    DigestDenied,
    EpochSaved,
    Event,
    HostLost,
    HostSaid,
    InlineArrived,
    InlineForgotten,
    PurgeWanted,
    TaskLoaded,
    TimeReached,
)
from swarm.availability import full
from swarm.ids import Epoch, HostId, TaskId
from swarm.messages import (
    Completed,
    LeaseFailed,
    LeaseProgress,
    Leave,
    Load,
    OriginFault,
    PieceRecord,
    PieceRejected,
    Progress,
    Starving,
    TaskInfo,
    TaskProgress,
)
from swarm.repositories import (
    AskRepository,
    Purge,
    RepositoryAnswer,
    RepositoryReport,
    TagPushed,
    TagReport,
    TagUnresolved,
)
from tests.support.scheduler_playbook import BLOB, LAYER, Playbook

A, B = HostId("a"), HostId("b")
MESSAGES: list[DaemonMessage] = [
    Progress((TaskProgress(BLOB, 0b1),)),
    Starving(BLOB, 0b1),
    LeaseProgress(BLOB, Epoch(1), 1, 10),
    LeaseFailed(BLOB, Epoch(1), 1, OriginFault.CUT),
    PieceRejected(BLOB, 0, B, b"x", b"y"),
    Load(10, 10, 1),
    Completed(BLOB),
    Leave(BLOB),
    Leave(TaskId("")),
    TagReport("r", "n", "t", BLOB, "", 1),
    TagUnresolved("r", "n", "t"),
    TagPushed("r", "n", "t"),
    RepositoryReport("r", "n", True),
]
EVENTS: list[Event] = [
    HostLost(A),
    InlineArrived(A, BLOB),
    InlineForgotten(BLOB),
    TaskLoaded(BLOB, Epoch(3)),
    EpochSaved(BLOB, Epoch(1)),
    DigestDenied(TaskId("sha256:" + "d" * 64), ""),
    DigestAllowed(BLOB),
    PurgeWanted(Purge(BLOB)),
    TimeReached(),
    *[HostSaid(A, message) for message in MESSAGES],
]


def nothing_known() -> Playbook:
    return Playbook()


def attached() -> Playbook:
    play = Playbook()
    play.attach("a", "b")
    return play


def loading() -> Playbook:
    play = attached()
    play.store_answers = False
    play.join("a", "b")
    return play


def saving() -> Playbook:
    play = loading()
    play.event(play.waiting.pop(0))
    return play


def downloading() -> Playbook:
    play = attached()
    play.join("a", "b")
    return play


def tiny() -> Playbook:
    play = attached()
    play.join("a", "b", size=1000)
    return play


def complete() -> Playbook:
    play = downloading()
    play.completes("a", "b")
    return play


def lost() -> Playbook:
    play = downloading()
    play.lose("a")
    return play


STATES = [nothing_known, attached, loading, saving, downloading, tiny, complete, lost]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(getattr(event, "message", event)).__name__)
@pytest.mark.parametrize("state", STATES, ids=lambda state: state.__name__)
def test_each_event_in_each_state_leaves_the_tables_true_and_the_others_served(
    state: type, event: Event
) -> None:
    play: Playbook = state()
    play.event(event)
    play.event(event)
    play.store_answers = True
    play.wait(30.0)
    play.join("c", size=1000 if state is tiny else LAYER)
    assert play.told("c", TaskInfo), "whatever happened before, a newcomer is answered"


def test_nothing_is_due_in_an_empty_cluster() -> None:
    play = Playbook()
    assert play.machine.wakeup_at() == inf
    play.wait(100.0)
    assert play.said == []


def test_an_unknown_host_is_not_listened_to() -> None:
    play = Playbook()
    assert play.says("stranger", Progress((TaskProgress(BLOB, 1),))) == []
    assert not play.machine.cluster.tasks


def test_a_store_that_does_not_answer_is_asked_again() -> None:
    play = loading()
    play.store_answers = False
    asked = play.wait(5.0)
    assert asked == [LoadTask(BLOB)] * 2


def test_records_of_a_lease_owner_are_saved_and_told_to_newcomers() -> None:
    play = downloading()
    owner, lease = play.only_lease_ever()
    record = PieceRecord(2, b"d" * 16, lease.epoch)
    said = play.says(owner, Progress((TaskProgress(BLOB, full(3), (record,)),)))
    assert SaveRecords(BLOB, (record,)) in said
    play.join("c")
    assert play.told("c", TaskInfo) == [TaskInfo(BLOB, LAYER, (record,))]


def test_records_of_the_shared_store_are_told() -> None:
    play = loading()
    record = PieceRecord(2, b"d" * 16, Epoch(1))
    play.event(TaskLoaded(BLOB, Epoch(41), (record,)))
    assert play.told("a", TaskInfo) == [TaskInfo(BLOB, LAYER, (record,))]
    assert play.machine.cluster.tasks[BLOB].epoch == 42


def test_questions_about_a_repository_are_answered_at_once() -> None:
    play = attached()
    play.says("a", TagReport("r", "n", "latest", BLOB, "type", 7))
    play.says("b", TagReport("r", "n", "latest", BLOB, "type", 7))
    play.says("b", RepositoryReport("r", "n", True, (BLOB,)))
    expected: list[Command] = [Send(A, RepositoryAnswer(9, True, BLOB, "type", 7, True))]
    assert play.says("a", AskRepository(9, "r", "n", "latest", BLOB)) == expected


def test_a_measured_slow_host_becomes_a_leaf() -> None:
    play = attached()
    play.attach("c", "d", "slow")
    for name in "abcd":
        play.says(name, Load(1000, 0, 1))
    play.wait(2.0)
    play.says("slow", Load(100, 0, 1))
    play.join("slow")
    play.join("a")
    assert play.parents("a") == []
    play.join("b")
    assert play.parents("b") == ["a"]


def test_progress_of_many_tasks_travels_in_one_message() -> None:
    play = attached()
    other = TaskId("sha256:" + "e" * 64)
    play.join("a")
    play.join("a", task=other)
    play.says("a", Progress((TaskProgress(BLOB, 0b1), TaskProgress(other, 0b11))))
    assert [play.machine.cluster.tasks[task].held for task in (BLOB, other)] == [0b1, 0b11]
