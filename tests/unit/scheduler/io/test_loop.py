import asyncio
import io
import math

import pytest

from scheduler.commands import Command, LoadTask, SaveEpoch, SaveRecords, SaveRoot, Send, SendInline
from scheduler.events import EpochSaved, Event, HostLost, HostSaid, InlineArrived, TaskLoaded, TimeReached
from scheduler.io.inline_cache import InlineCache
from scheduler.io.loop import MachineFailed, SchedulerLoop
from scheduler.io.outbox import Outbox
from scheduler.io.state_store import MemoryStore, StateStore
from swarm.digest import Digest
from swarm.errors import WireError
from swarm.facts import Note
from swarm.ids import Epoch, HostId, TaskId
from swarm.io.telemetry import Telemetry
from swarm.messages import Completed, Hello, HostInfo, InlineContent, PieceRecord, Settings
from tests.support.attach import ScriptedMachine

HOST = HostId("n1")
TASK = Digest.of(b"content").task
RECORD = PieceRecord(0, bytes(16), Epoch(4))


class BrokenStore(MemoryStore):
    """A shared store that is gone."""

    async def load_task(self, task: TaskId) -> TaskLoaded:
        raise ConnectionError("no route to the store")

    async def save_epoch(self, task: TaskId, epoch: Epoch) -> EpochSaved:
        raise ConnectionError("no route to the store")

    async def save_records(self, task: TaskId, records: tuple[PieceRecord, ...]) -> None:
        raise ConnectionError("no route to the store")


class World:
    """A loop around a scripted machine, with its log."""

    def __init__(self, machine: ScriptedMachine, store: StateStore | None = None) -> None:
        self.log = io.StringIO()
        self.machine = machine
        self.store = store or MemoryStore()
        self.loop = SchedulerLoop(
            machine, self.store, InlineCache(100), Telemetry("scheduler", stream=self.log)
        )

    def attach(self, host: HostId = HOST) -> Outbox:
        outbox = Outbox()
        self.loop.attach(Hello(HostInfo(host, ())), outbox)
        return outbox


def completed(*commands: Command) -> ScriptedMachine:
    """A machine that answers Completed with these commands."""
    return ScriptedMachine(
        lambda event: (
            list(commands) if isinstance(event, HostSaid) and event.message == Completed(TASK) else []
        )
    )


async def test_commands_are_carried_out_before_post_returns() -> None:
    world = World(completed(Send(HOST, Settings()), Send(HostId("gone"), Settings()), Note("complete", TASK)))
    outbox = world.attach()
    world.loop.said(HOST, Completed(TASK))
    assert await outbox.take() == [Settings()]


async def test_the_store_s_answers_come_back_as_events() -> None:
    kept = SaveRecords(TASK, (RECORD,)), SaveRoot(TASK, b"root"), SaveEpoch(TASK, Epoch(4))
    world = World(completed(*kept, LoadTask(TASK)))
    world.attach()
    world.loop.said(HOST, Completed(TASK))
    await world.machine.happened(EpochSaved(TASK, Epoch(4)))
    await world.machine.happened(TaskLoaded(TASK, Epoch(4), (RECORD,), b"root"))


async def test_a_store_that_fails_is_noted_and_nothing_waits_for_it() -> None:
    store = BrokenStore()
    world = World(completed(SaveRecords(TASK, (RECORD,)), SaveEpoch(TASK, Epoch(4)), LoadTask(TASK)), store)
    world.attach()
    world.loop.said(HOST, Completed(TASK))
    await world.machine.happened(EpochSaved(TASK, Epoch(4)))
    await world.machine.happened(TaskLoaded(TASK, Epoch(0)))
    assert world.log.getvalue().count("state_store_failed") == 3
    assert "ConnectionError: no route to the store" in world.log.getvalue()


async def test_the_machine_is_woken_when_it_asked() -> None:
    machine = ScriptedMachine()
    world = World(machine)

    def sleep_again(event: Event) -> list[Command]:
        machine.wakeup = math.inf if isinstance(event, TimeReached) else 0.0
        return []

    machine.answer = sleep_again
    world.attach()
    await machine.happened(TimeReached())
    assert machine.events.count(TimeReached()) == 1
    await world.loop.close()


async def test_a_wakeup_that_moved_away_does_not_come_early() -> None:
    now = [100.0]
    machine = ScriptedMachine()
    telemetry = Telemetry("scheduler", stream=io.StringIO())
    loop = SchedulerLoop(machine, MemoryStore(), InlineCache(0), telemetry, clock=lambda: now[0])
    machine.wakeup = 100.001
    loop.post(HostLost(HOST))
    machine.wakeup = 100.002
    loop.post(HostLost(HOST))
    now[0] = 100.0015  # the bell for 100.001 rings before 100.002
    heard = asyncio.ensure_future(machine.happened(TimeReached()))
    await asyncio.wait((heard,), timeout=0.05)
    assert TimeReached() not in machine.events
    now[0] = 100.002
    machine.wakeup = math.inf
    await heard
    await loop.close()


async def test_a_fault_of_the_machine_is_noted_raised_and_survived() -> None:
    machine = completed()

    def fail(event: Event) -> list[Command]:
        if isinstance(event, HostSaid):
            raise AssertionError("this cannot be")
        return []

    machine.answer = fail
    world = World(machine)
    world.attach()
    with pytest.raises(MachineFailed, match="HostSaid could not be handled"):
        world.loop.said(HOST, Completed(TASK))
    assert (
        'ERROR machine_failed host=n1 on=HostSaid error="AssertionError: this cannot be (test_loop.py:'
        in (world.log.getvalue())
    )
    world.loop.detach(HOST, world.loop.streams[HOST], "over")
    assert world.machine.lost() == [HOST]
    await world.loop.close()


async def test_a_newer_stream_of_a_host_takes_the_place_of_the_older() -> None:
    world = World(ScriptedMachine())
    older, newer = world.attach(), world.attach()
    assert "attached again" in (await older.ended).reason
    world.loop.detach(HOST, older, "over")
    assert world.machine.lost() == []
    assert world.loop.streams == {HOST: newer}
    world.loop.detach(HOST, newer, "over")
    assert world.machine.lost() == [HOST]


async def test_an_inline_blob_with_another_digest_is_a_breach() -> None:
    world = World(ScriptedMachine())
    world.attach()
    with pytest.raises(WireError, match=f"the inline blob {TASK} has the digest sha256:"):
        world.loop.said(HOST, InlineContent(TASK, b"something else"))
    assert len(world.machine.events) == 1


async def test_an_inline_blob_that_is_gone_is_noted() -> None:
    world = World(completed(SendInline((HOST,), TASK)))
    world.attach()
    world.loop.said(HOST, Completed(TASK))
    assert f"inline_missing task={TASK}" in world.log.getvalue()


async def test_close_ends_every_stream_and_tells_the_machine_nothing() -> None:
    world = World(ScriptedMachine())
    outboxes = [world.attach(HostId(f"n{number}")) for number in range(3)]
    await world.loop.close()
    assert [(await outbox.ended).code.name for outbox in outboxes] == ["UNAVAILABLE"] * 3
    world.loop.detach(HOST, outboxes[1], "over")
    assert world.machine.lost() == []


async def test_an_inline_blob_of_a_scope_has_the_name_of_that_scope() -> None:
    content = b"config"
    task = Digest.of(content).task_within("r.example")
    world = World(ScriptedMachine())
    world.attach()
    world.loop.said(HOST, InlineContent(task, content, "r.example"))
    assert InlineArrived(HOST, task) in world.machine.events
    for scope in "", "other.example":
        with pytest.raises(WireError, match="has the digest"):
            world.loop.said(HOST, InlineContent(task, content, scope))
