import pytest

from scheduler import cluster as bounds
from swarm.ids import TaskId
from swarm.messages import HeldBlob, Progress, TaskInfo
from tests.support.scheduler_playbook import BLOB, LAYER, Playbook


def task(number: int) -> TaskId:
    return TaskId(f"sha256:{number:064x}")


def test_the_idle_task_that_was_used_least_recently_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "TASKS_MAX", 3)
    play = Playbook()
    for number in range(3):
        play.join("a", task=task(number))
        play.completes("a", task=task(number))
    play.join("b", task=task(0))
    play.completes("b", task=task(0))
    play.join("b", task=task(9))
    assert set(play.machine.cluster.tasks) == {task(2), task(0), task(9)}
    assert play.told("b", TaskInfo)


def test_when_all_tasks_are_busy_another_waits_and_nobody_is_sent_to_the_origin(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bounds, "TASKS_MAX", 1)
    play = Playbook()
    play.join("a")
    assert [type(command).__name__ for command in play.join("a", task=task(1))] == ["Note"]
    assert play.notes("overload")
    play.completes("a")
    play.join("a", task=task(1))
    assert play.told("a", TaskInfo)


def test_a_new_task_has_its_joiners_size_and_the_holders_of_that_size() -> None:
    play = Playbook()
    play.attach("liar", held=(HeldBlob(BLOB, LAYER + 1),))
    play.attach("holder", held=(HeldBlob(BLOB, LAYER),))
    play.join("a")
    assert play.told("a", TaskInfo) == [TaskInfo(BLOB, LAYER)]
    assert list(play.machine.cluster.tasks[BLOB].peers) == ["holder", "a"]


def test_hosts_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "HOSTS_MAX", 2)
    play = Playbook()
    play.attach("a", "b", "c")
    assert set(play.machine.cluster.hosts) == {"a", "b"}
    assert play.says("c", Progress(())) == []


def test_registries_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "REGISTRIES_MAX", 2)
    play = Playbook()
    play.join("a", registry="one")
    for number in range(5):
        play.join("a", task=task(number), size=0, registry=f"r{number}")
    assert "one" in play.machine.cluster.registries, "it has a lease"


def test_a_hosts_tasks_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scheduler.membership.TASKS_PER_HOST_MAX", 2)
    play = Playbook()
    for number in range(4):
        play.join("a", task=task(number))
    assert len(play.machine.cluster.hosts[next(iter(play.machine.cluster.hosts))].tasks) == 2


def test_an_idle_task_is_forgotten_after_a_while() -> None:
    play = Playbook()
    play.join("a")
    play.completes("a")
    play.wait(bounds.IDLE_S - 1)
    assert BLOB in play.machine.cluster.tasks
    play.wait(2)
    assert BLOB not in play.machine.cluster.tasks
