"""The Attach streams in virtual time: one scheduler's machine, its shared store, and the daemons that hear it."""

from collections import Counter
from collections.abc import Callable
from typing import Any

from benchmarks.simulator.clock import Alarm, Clock
from benchmarks.simulator.disk import Post
from benchmarks.simulator.fabric import Fabric
from benchmarks.simulator.life import Life
from benchmarks.simulator.scenario import Scenario
from dfdaemon import events as daemon_events
from scheduler import commands, events
from scheduler.config import SchedulerConfig
from scheduler.machine import SchedulerMachine
from swarm.dice import Dice
from swarm.facts import Note
from swarm.ids import Epoch, HostId, TaskId
from swarm.messages import Hello, Inline, InlineContent, Parents, PieceRecord, ToScheduler
from swarm.roots import NO_ROOT

ATTACH_RETRY_S = 0.5
"""How soon a daemon tries again to reach a scheduler that is down."""
FOREVER = float("inf")
HOME = 0
"""The zone of the scheduler."""


class Stream:
    """A daemon's end of its stream. `life` counts the scheduler's lives: 0 is no stream."""

    def __init__(self, host: HostId, zone: int, life: Life) -> None:
        self.host = host
        self.life = life
        self.zone = zone
        self.scheduler_life = 0
        self.post: Post = lambda event: None


class Control:
    """Runs the scheduler, which may die and come back knowing nothing; the shared store stays."""

    def __init__(
        self, clock: Clock, scenario: Scenario, dice: Dice, fabric: Fabric, noted: Callable[[Note], None]
    ) -> None:
        self.messages: Counter[str] = Counter()
        self.machine: SchedulerMachine | None = None
        self.validates = False
        self.watch: Callable[[str, object], None] | None = None
        self._clock = clock
        self._scenario = scenario
        self._dice = dice
        self._fabric = fabric
        self._noted = noted
        self.introduced: dict[HostId, set[tuple[HostId, TaskId]]] = {}
        """Parents that each host was told of, and for which task."""
        self.rescuers: dict[HostId, set[tuple[HostId, TaskId]]] = {}
        """Those of them that it first heard of by a rescue."""
        self._newly: tuple[HostId, set[tuple[HostId, TaskId]]] = (HostId(""), set())
        self._life = Life(clock)
        self._alarm: Alarm | None = None
        self._streams: dict[HostId, Stream] = {}
        self._epochs: dict[TaskId, Epoch] = {}
        self._records: dict[TaskId, dict[int, PieceRecord]] = {}
        self._roots: dict[TaskId, bytes] = {}
        self._execute: dict[type, Callable[[Any], None]] = {
            commands.Send: lambda c: self._send(c.host, c.message),
            commands.SendInline: self._send_inline,
            commands.LoadTask: self._load,
            commands.SaveEpoch: self._save_epoch,
            commands.SaveRecords: self._save_records,
            commands.SaveRoot: lambda c: self._roots.update({c.task: c.root}),
            Note: self._note,
        }

    # --- the scheduler's life -------------------------------------------------------------------------

    def start(self) -> None:
        """Start a scheduler that knows nothing; daemons that wait for one find it soon."""
        self._life.begin()
        self.machine = SchedulerMachine(SchedulerConfig(), Dice(self._dice.throw()))
        for stream in self._streams.values():
            if stream.life.alive:
                stream.life.soon(self._dice.share() * ATTACH_RETRY_S, self._attached, stream)

    def stop(self) -> None:
        """End it: all streams break."""
        self._life.end()
        self.machine = None
        if self._alarm is not None:
            self._alarm.cancel()
        for stream in self._streams.values():
            if stream.scheduler_life:
                stream.scheduler_life = 0
                lost = daemon_events.SchedulerLost("the connection was closed")
                stream.life.soon(self._scenario.control_latency_s, stream.post, lost)

    # --- daemons --------------------------------------------------------------------------------------

    def attach(self, stream: Stream) -> None:
        """A daemon has started: it opens its stream, or learns that there is no scheduler."""
        self._streams[stream.host] = stream
        stream.scheduler_life = 0
        if self._life.alive and self._fabric.passes(stream.zone, HOME):
            stream.life.soon(self._scenario.control_latency_s, self._attached, stream)
        else:
            stream.post(daemon_events.SchedulerLost("the connection was refused"))

    def _attached(self, stream: Stream) -> None:
        reached = self._life.alive and self._fabric.passes(stream.zone, HOME)
        if reached and stream.scheduler_life != self._life.number:
            stream.scheduler_life = self._life.number
            stream.post(daemon_events.SchedulerAttached())

    def notice_cut(self) -> None:
        """Silence has lasted too long: streams from beyond a cut are broken, at both ends."""
        for stream in self._streams.values():
            if stream.scheduler_life and not self._fabric.passes(stream.zone, HOME):
                if stream.scheduler_life == self._life.number:
                    self._life.soon(0.0, self._post, events.HostLost(stream.host))
                stream.scheduler_life = 0
                stream.life.soon(0.0, stream.post, daemon_events.SchedulerLost("silent for too long"))

    def heal(self) -> None:
        """Daemons that were beyond a cut find the scheduler soon."""
        for stream in self._streams.values():
            if stream.life.alive and not stream.scheduler_life:
                stream.life.soon(self._dice.share() * ATTACH_RETRY_S, self._attached, stream)

    def lost(self, stream: Stream, silence_s: float) -> None:
        """A daemon is gone; the scheduler hears of it in a while, unless it attached again."""
        life = stream.life.number

        def notice() -> None:
            if stream.life.number == life:
                self._post(events.HostLost(stream.host))

        if stream.scheduler_life:
            self._life.soon(silence_s, notice)

    def tell(self, stream: Stream, message: ToScheduler) -> None:
        """Carry a message of a daemon's, one latency long; lost when there is no stream."""
        self.messages[type(message).__name__] += 1
        if not stream.scheduler_life or not self._fabric.passes(stream.zone, HOME):
            return
        event: events.Event
        if isinstance(message, Hello):
            event = events.HostAttached(message)
        elif isinstance(message, InlineContent):
            event = events.InlineArrived(stream.host, message.task)
        else:
            event = events.HostSaid(stream.host, message)
        self._life.soon(self._scenario.control_latency_s, self._post, event)

    # --- the machine ----------------------------------------------------------------------------------

    def _post(self, event: events.Event) -> None:
        machine = self.machine
        assert machine is not None, "a scheduler that is down hears nothing"
        if self.watch is not None:
            self.watch("scheduler", event)
        for command in machine.handle(event, self._clock.now):
            self._execute[type(command)](command)
        if self.validates:
            machine.validate()
        if self._alarm is not None:
            self._alarm.cancel()
        at = machine.wakeup_at()
        self._alarm = self._clock.at(at, self._ring) if at < FOREVER else None

    def _ring(self) -> None:
        self._alarm = None
        self._post(events.TimeReached())

    def _send(self, host: HostId, message: Any) -> None:
        self.messages[type(message).__name__] += 1
        stream = self._streams[host]
        if isinstance(message, Parents):
            self._introduce(host, message)
        if stream.scheduler_life == self._life.number and self._fabric.passes(stream.zone, HOME):
            said = daemon_events.SchedulerSaid(message)
            stream.life.soon(self._scenario.control_latency_s, stream.post, said)

    def _introduce(self, host: HostId, message: Parents) -> None:
        known = self.introduced.setdefault(host, set())
        self._newly = host, {(parent.host, message.task) for parent in message.parents} - known
        known |= self._newly[1]

    def _note(self, note: Note) -> None:
        """A note of a rescue follows the message that told of the parents."""
        if note.name == "rescue":
            host, parents = self._newly
            self.rescuers.setdefault(host, set()).update(parents)
        self._noted(note)

    def _send_inline(self, command: commands.SendInline) -> None:
        for host in command.hosts:
            self._send(host, Inline(command.task, b""))

    # --- the shared store -----------------------------------------------------------------------------

    def _load(self, command: commands.LoadTask) -> None:
        task = command.task
        records = tuple(self._records.get(task, {}).values())
        root = self._roots.get(task, NO_ROOT)
        self._answer(events.TaskLoaded(task, self._epochs.get(task, Epoch(0)), records, root))

    def _save_epoch(self, command: commands.SaveEpoch) -> None:
        self._epochs[command.task] = max(command.epoch, self._epochs.get(command.task, Epoch(0)))
        self._answer(events.EpochSaved(command.task, command.epoch))

    def _save_records(self, command: commands.SaveRecords) -> None:
        known = self._records.setdefault(command.task, {})
        known.update({record.index: record for record in command.records})

    def _answer(self, event: events.Event) -> None:
        self._life.soon(self._scenario.store_latency_s, self._post, event)
