import pytest

from scheduler import cluster as bounds
from scheduler.host import SHED_MAX
from swarm.ids import Epoch, HostId, TaskId
from swarm.messages import ActiveTask, Completed, HeldBlob, HeldLease, Leave, Progress, Starving, TaskInfo
from tests.support.scheduler_playbook import BLOB, LAYER, REGISTRY, Playbook


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


def test_who_there_was_no_room_for_is_let_in_when_it_calls_for_help_and_there_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bounds, "TASKS_MAX", 1)
    play = Playbook()
    play.join("a")
    play.join("b", task=task(1))
    assert play.says("b", Starving(task(1), 0b1)) == []
    play.completes("a")
    play.says("b", Starving(task(1), 0b1))
    assert play.told("b", TaskInfo) == [TaskInfo(task(1), LAYER)]
    assert play.only_lease()[0] == "b"


def test_who_gave_up_or_attached_again_without_it_is_not_let_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "TASKS_MAX", 1)
    play = Playbook()
    play.join("a")
    play.join("b", "c", "d", "e", task=task(1))
    play.says("b", Leave(task(1)))
    play.says("c", Completed(task(1)))
    play.attach("d")
    play.attach("e", active=(ActiveTask(task(1), LAYER, REGISTRY, 0, True),))
    play.completes("a")
    for name in "bcd":
        assert play.says(name, Starving(task(1), 0b1)) == []
    play.says("e", Starving(task(1), 0b1))
    assert play.told("e", TaskInfo)


def test_downloads_without_room_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "TASKS_MAX", 1)
    play = Playbook()
    play.join("a")
    for number in range(SHED_MAX + 10):
        play.join("b", task=task(number))
    assert len(play.machine.cluster.hosts[HostId("b")].shed) == SHED_MAX
    assert len(play.notes("overload")) == 1, "no task became idle meanwhile"


def test_a_new_task_has_its_joiners_size_and_the_holders_of_that_size() -> None:
    play = Playbook()
    play.attach("liar", held=(HeldBlob(BLOB, LAYER + 1),))
    play.attach("holder", held=(HeldBlob(BLOB, LAYER),))
    play.join("a")
    assert play.told("a", TaskInfo) == [TaskInfo(BLOB, LAYER)]
    assert list(play.machine.cluster.tasks[BLOB].peers) == ["holder", "a"]


def test_an_idle_task_that_a_host_brings_along_makes_no_room_for_its_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bounds, "TASKS_MAX", 1)
    play = Playbook()
    play.join("a")
    play.completes("a")
    play.wait(5.0)
    play.attach("b", active=tuple(ActiveTask(name, LAYER, REGISTRY, 0, True) for name in (BLOB, task(1))))
    assert [info.task for info in play.told("b", TaskInfo)] == [BLOB]


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


def test_registries_beyond_the_bound_share_the_connections_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "REGISTRIES_MAX", 3)
    play = Playbook(Playbook.config(connections=1))
    for number in range(4):
        play.join(f"h{number}", task=task(number), registry=f"r{number}")
    registries = play.machine.cluster.registries
    assert list(registries) == ["r0", "r1", bounds.OVERFLOW]
    assert [lease.task for lease in registries[bounds.OVERFLOW].leases] == [task(2)]
    assert not play.leases(), "the fourth waits for the connection of the third"
    play.says("h2", Leave(task(2)))
    assert play.only_lease()[0] == "h3"
    play.says("h3", Leave(task(3)))
    play.wait(bounds.IDLE_S + 1)
    assert not registries[bounds.OVERFLOW].leases
    assert not registries[bounds.OVERFLOW].hungry


def test_a_running_fetch_beyond_the_bound_is_taken_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "REGISTRIES_MAX", 2)
    play = Playbook()
    play.join("a", registry="one")
    running = HeldLease(0, 8, 2, Epoch(7))
    play.attach("b", active=(ActiveTask(task(1), LAYER, "two", 0, True, leases=(running,)),))
    assert [lease.epoch for lease in play.machine.cluster.registries[bounds.OVERFLOW].leases] == [7]


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
