"""The single writer: everything that happens to the scheduler passes through `post`, one event at a time.

`post` runs on the event loop's thread and is done when it returns: the machine has decided, and what it wants
sent lies in the outboxes of the streams. There is no queue between a Join and its answer.
"""

import asyncio
import math
from collections.abc import Callable, Coroutine
from time import monotonic
from typing import Any, Protocol

import grpc

from scheduler.commands import (
    Command,
    DropInline,
    LoadTask,
    SaveDenials,
    SaveEpoch,
    SaveRecords,
    SaveRoot,
    Send,
    SendInline,
)
from scheduler.events import (
    DaemonMessage,
    EpochSaved,
    Event,
    HostAttached,
    HostLost,
    HostSaid,
    InlineArrived,
    InlineForgotten,
    TaskLoaded,
    TimeReached,
)
from scheduler.io.denials_file import DenialsFile
from scheduler.io.inline_cache import InlineCache
from scheduler.io.outbox import Outbox, StreamEnd
from scheduler.io.state_store import StateStore
from swarm.digest import Digest
from swarm.errors import WireError
from swarm.facts import Note
from swarm.ids import Epoch, HostId, TaskId
from swarm.io.log_lines import where
from swarm.io.telemetry import Telemetry
from swarm.messages import Hello, Inline, InlineContent

STORE_TIMEOUT_S = 1.0
"""A shared store answers within milliseconds; without it the scheduler goes on from what it knows itself."""
AFTER_FAILURE_S = 1.0
"""Pause of the timer after a fault of ours, so that one fault does not fill the processor and the log."""


class Machine(Protocol):
    """What scheduler/machine.py offers."""

    def handle(self, event: Event, now: float) -> list[Command]:
        """Decide what to do about an event."""

    def wakeup_at(self) -> float:
        """Return when TimeReached is wanted; inf if never."""


class MachineFailed(Exception):
    """The machine raised: a fault of ours. It was noted; whoever sent the event shall attach again."""


class SchedulerLoop:
    """Owns the machine; carries out what it asks for."""

    def __init__(
        self,
        machine: Machine,
        store: StateStore,
        inline: InlineCache,
        telemetry: Telemetry,
        clock: Callable[[], float] = monotonic,
        denials: DenialsFile | None = None,
    ) -> None:
        self.denials = denials or DenialsFile("")
        self.streams: dict[HostId, Outbox] = {}
        self._machine = machine
        self._store = store
        self._inline = inline
        self._telemetry = telemetry
        self._clock = clock
        self._running = False
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = math.inf
        self._wanted_at = math.inf
        self._calls: set[asyncio.Task[None]] = set()
        self._execute: dict[type, Callable[[Any], None]] = {
            Send: self._send,
            SendInline: self._send_inline,
            DropInline: lambda command: self._inline.drop(command.task),
            SaveDenials: self._save_denials,
            LoadTask: self._load_task,
            SaveEpoch: self._save_epoch,
            SaveRecords: self._save_records,
            SaveRoot: self._save_root,
            Note: telemetry.note,
        }

    # --- events -----------------------------------------------------------------------------------

    def post(self, event: Event) -> None:
        """Handle one event at once; raises MachineFailed, noted, when the machine has a fault."""
        assert not self._running, "a command must not cause an event before its predecessors are carried out"
        self._running = True
        began = self._clock()
        try:
            for command in self._machine.handle(event, began):
                self._execute[type(command)](command)
        except Exception as error:
            self._failed(event, error)
            raise MachineFailed(f"{type(event).__name__} could not be handled") from error
        finally:
            self._running = False
        self._telemetry.observe("decision_seconds", self._clock() - began)
        self._set_timer(self._machine.wakeup_at())

    def attach(self, hello: Hello, outbox: Outbox) -> None:
        """Take a daemon's new stream; an older one of the same host ends."""
        host = hello.info.host
        older = self.streams.get(host)
        if older is not None:
            reason = f"host {host} attached again; if these are two machines, give each its own `host` name"
            older.end(StreamEnd(grpc.StatusCode.ABORTED, reason))
        self.streams[host] = outbox
        self.post(HostAttached(hello))

    def detach(self, host: HostId, outbox: Outbox, reason: str) -> None:
        """A stream ended. The machine hears of it unless a newer one took its place, or the host left."""
        if self.streams.get(host) is outbox:
            self._forget(host, reason)
            self._post_quietly(HostLost(host))

    def left(self, host: HostId) -> None:
        """A host said Leave for good, which the machine has heard."""
        self._forget(host, "the daemon stopped")

    def _forget(self, host: HostId, reason: str) -> None:
        del self.streams[host]
        self._telemetry.note(Note("stream_ended", host=host, fields=(("reason", reason),)))

    def said(self, host: HostId, message: DaemonMessage | InlineContent) -> None:
        """Take a message of an attached daemon; raises WireError when an inline blob is not what it says."""
        self._telemetry.count("messages_total", kind=type(message).__name__)
        if isinstance(message, InlineContent):
            self._keep_inline(host, message)
        else:
            self.post(HostSaid(host, message))

    def _keep_inline(self, host: HostId, message: InlineContent) -> None:
        actual = Digest.of(message.content, Digest.parse(message.task).algorithm)
        if actual.task_within(message.scope) != message.task:
            raise WireError(f"the inline blob {message.task} has the digest {actual}")
        self._inline.put(message.task, message.content)
        self.post(InlineArrived(host, message.task))
        for task in self._inline.evict():
            self.post(InlineForgotten(task))

    def _failed(self, event: Event, error: Exception) -> None:
        host = event.host if isinstance(event, HostSaid | HostLost | InlineArrived) else None
        fields = (("on", type(event).__name__), ("error", where(error)))
        self._telemetry.note(Note("machine_failed", host=host, fields=fields))
        self._set_timer(self._clock() + AFTER_FAILURE_S)

    # --- the timer --------------------------------------------------------------------------------

    def _set_timer(self, at: float) -> None:
        """Let the bell ring at `at`. One that is set for earlier stays: to set it costs more than a look."""
        self._wanted_at = at
        if at >= self._timer_at:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = at
        delay = max(0.0, at - self._clock())
        self._timer = asyncio.get_running_loop().call_later(delay, self._ring_bell)

    def _ring_bell(self) -> None:
        self._timer, self._timer_at = None, math.inf
        if self._wanted_at > self._clock():
            self._set_timer(self._wanted_at)
        else:
            self._post_quietly(TimeReached())

    def _post_quietly(self, event: Event) -> None:
        try:
            self.post(event)
        except MachineFailed:
            pass  # noted; nobody waits for this event's end

    # --- commands ---------------------------------------------------------------------------------

    def _send(self, command: Send) -> None:
        outbox = self.streams.get(command.host)
        if outbox is not None:
            outbox.put(command.message)

    def _send_inline(self, command: SendInline) -> None:
        content = self._inline.get(command.task)
        if content is None:
            self._telemetry.note(Note("inline_missing", command.task))
            return
        message = Inline(command.task, content)
        for host in command.hosts:
            self._send(Send(host, message))

    def _save_denials(self, command: SaveDenials) -> None:
        """Write them before anybody is told that it is done: rare, and less than a megabyte."""
        self.denials.save(command)
        if self.denials.error:
            fields = (("error", self.denials.error),)
            self._telemetry.note(Note("denials_not_saved", fields=fields))

    def _load_task(self, command: LoadTask) -> None:
        nothing = TaskLoaded(command.task, Epoch(0))
        self._call(self._ask(self._store.load_task(command.task), nothing, command.task))

    def _save_epoch(self, command: SaveEpoch) -> None:
        granted = EpochSaved(command.task, command.epoch)
        self._call(self._ask(self._store.save_epoch(command.task, command.epoch), granted, command.task))

    def _save_records(self, command: SaveRecords) -> None:
        self._call(self._tell(self._store.save_records(command.task, command.records), command.task))

    def _save_root(self, command: SaveRoot) -> None:
        self._call(self._tell(self._store.save_root(command.task, command.root), command.task))

    # --- the shared store -------------------------------------------------------------------------

    def _call(self, call: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(call)
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)

    async def _ask(self, call: Coroutine[Any, Any, Event], otherwise: Event, task: TaskId) -> None:
        """Post the store's answer, or `otherwise` without one: nothing waits for a store that is gone."""
        answer = otherwise
        try:
            async with asyncio.timeout(STORE_TIMEOUT_S):
                answer = await call
        except Exception as error:
            self._store_failed(task, error)
        self._post_quietly(answer)

    async def _tell(self, call: Coroutine[Any, Any, None], task: TaskId) -> None:
        try:
            async with asyncio.timeout(STORE_TIMEOUT_S):
                await call
        except Exception as error:
            self._store_failed(task, error)

    def _store_failed(self, task: TaskId, error: Exception) -> None:
        self._telemetry.note(Note("state_store_failed", task, fields=(("error", where(error)),)))

    async def close(self) -> None:
        """End all streams and the timer; nothing is posted any more."""
        for outbox in self.streams.values():
            outbox.end(
                StreamEnd(grpc.StatusCode.UNAVAILABLE, "the scheduler stops; attach to another, or again")
            )
        self.streams.clear()
        if self._timer is not None:
            self._timer.cancel()
        for task in list(self._calls):
            task.cancel()
        await asyncio.gather(*self._calls, return_exceptions=True)
