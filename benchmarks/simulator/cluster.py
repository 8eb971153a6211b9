"""A whole cluster in virtual time: one scheduler, many hosts, one origin, and the faults of a scenario."""

from dataclasses import dataclass

from scheduler.machine import SchedulerMachine

from benchmarks.simulator.clock import Alarm, Clock
from benchmarks.simulator.host import SimulatedHost
from benchmarks.simulator.network import Link
from benchmarks.simulator.origin import hash_text
from benchmarks.simulator.scenario import Fault, FaultKind, Scenario
from dfdaemon import events as daemon_events
from dfdaemon.config import DaemonConfig
from scheduler import commands, events
from scheduler.config import SchedulerConfig
from swarm.dice import Dice
from swarm.facts import Note
from swarm.ids import Epoch, HostId, TaskId
from swarm.messages import Address, Hello, HostInfo, PieceRecord, ToScheduler

ATTACH_RETRY_S = 0.5
"""How soon a host tries again to reach a scheduler that is down."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one host fared. `seconds` from its arrival to its last complete blob; -1 when it did not finish."""

    host: HostId
    seconds: float
    uploaded_bytes: float
    failures: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a run showed."""

    outcomes: tuple[Outcome, ...]
    origin_bytes_ratio: float
    origin_requests: int
    messages: dict[str, int]
    notes: dict[str, int]
    seconds: float

    @property
    def unfinished(self) -> tuple[Outcome, ...]:
        """The hosts that should have finished, and did not."""
        return tuple(outcome for outcome in self.outcomes if outcome.seconds < 0)


class Cluster:
    """Runs one scenario from one seed. The same seed gives the same run."""

    def __init__(self, scenario: Scenario, seed: int, validate: bool = False) -> None:
        self.scenario = scenario
        self.validate = validate
        self.clock = Clock()
        self.daemon_config = DaemonConfig()
        self.scheduler_config = SchedulerConfig()
        self.origin_up = Link(scenario.origin.bytes_per_s)
        self.origin_bytes = 0
        self.origin_requests = 0
        self.messages: dict[str, int] = {}
        self.notes: dict[str, int] = {}
        self._dice = Dice(seed)
        self._scheduler: SchedulerMachine | None = None
        self._scheduler_life = 0
        self._alarm: Alarm | None = None
        self._epochs: dict[TaskId, Epoch] = {}
        self._records: dict[TaskId, dict[int, PieceRecord]] = {}
        self.blobs = [
            (TaskId(f"sha256:{hash_text(f'blob {number}'):064x}"), size)
            for number, size in enumerate(scenario.blobs)
        ]
        self.hosts = [SimulatedHost(self, number, self._info(number)) for number in range(scenario.hosts)]
        self.hosts_by_id = {host.info.host: host for host in self.hosts}
        self._given_up: set[HostId] = set()

    def _info(self, number: int) -> HostInfo:
        name = HostId(f"host-{number:05d}")
        return HostInfo(
            name,
            (Address(f"10.0.{number >> 8}.{number & 255}", 4002),),
            f"zone-{number % self.scenario.zones}",
        )

    # --- a run ------------------------------------------------------------------------------------

    def run(self) -> Verdict:
        """Let everything happen; stop when all hosts that live have all blobs, or at the time limit."""
        self._start_scheduler()
        for number, host in enumerate(self.hosts):
            self.clock.at(
                number * self.scenario.spread_s / len(self.hosts), lambda host=host: self._arrive(host)
            )  # type: ignore[misc]
        for fault in self.scenario.faults:
            self.clock.at(fault.at, lambda fault=fault: self._strike(fault))  # type: ignore[misc]
        self.clock.run(self.scenario.time_limit_s, self._done)
        return self._verdict()

    def _done(self) -> bool:
        busy = (host for host in self.hosts if host.info.host not in self._given_up)
        return all(len(host.finished) == len(self.blobs) for host in busy)

    def _arrive(self, host: SimulatedHost) -> None:
        host.start(self._dice.throw())
        for task, size in self.blobs:
            host.want(task, size)

    def _verdict(self) -> Verdict:
        outcomes = tuple(
            Outcome(
                host.info.host,
                max(host.finished.values()) - host.arrived_at
                if len(host.finished) == len(self.blobs)
                else -1.0,
                host.up.sent_bytes,
                tuple(host.failures),
            )
            for host in self.hosts
            if host.info.host not in self._given_up
        )
        ratio = self.origin_bytes / sum(self.scenario.blobs)
        return Verdict(outcomes, ratio, self.origin_requests, self.messages, self.notes, self.clock.now)

    def noted(self, _: SimulatedHost | None, note: Note) -> None:
        """Count a fact."""
        self.notes[note.name] = self.notes.get(note.name, 0) + 1

    # --- faults -----------------------------------------------------------------------------------

    def _strike(self, fault: Fault) -> None:
        match fault.kind:
            case FaultKind.SCHEDULER_DIES:
                self._stop_scheduler()
            case FaultKind.SCHEDULER_RETURNS:
                self._start_scheduler()
            case FaultKind.HOST_DIES:
                self._kill(self.hosts[fault.host])
            case FaultKind.HOST_RETURNS:
                self._given_up.discard(self.hosts[fault.host].info.host)
                self._arrive(self.hosts[fault.host])
            case FaultKind.HOST_LIES:
                self.hosts[fault.host].lies = True

    def _kill(self, host: SimulatedHost) -> None:
        if not host.alive:
            return
        host.die()
        self._given_up.add(host.info.host)
        self._post(events.HostLost(host.info.host))

    def lease_owner(self) -> SimulatedHost | None:
        """Return a host that fetches from the origin right now."""
        return next((host for host in self.hosts if host.alive and host.fetching), None)

    # --- the scheduler ----------------------------------------------------------------------------

    def _start_scheduler(self) -> None:
        self._scheduler_life += 1
        self._scheduler = SchedulerMachine(self.scheduler_config, Dice(self._dice.throw()))
        for host in self.hosts:
            if host.alive:
                jitter = self._dice.share() * ATTACH_RETRY_S
                host.soon(jitter, self._attached, host)

    def _stop_scheduler(self) -> None:
        self._scheduler = None
        self._scheduler_life += 1
        if self._alarm is not None:
            self._alarm.cancel()
        for host in self.hosts:
            if host.alive:
                host.soon(
                    self.scenario.control_latency_s,
                    host.post,
                    daemon_events.SchedulerLost("connection closed"),
                )

    def attach(self, host: SimulatedHost) -> None:
        """A daemon starts: it opens its stream, or learns that there is no scheduler."""
        if self._scheduler is None:
            host.post(daemon_events.SchedulerLost("connection refused"))
        else:
            host.soon(self.scenario.control_latency_s, self._attached, host)

    def _attached(self, host: SimulatedHost) -> None:
        if self._scheduler is not None:
            host.post(daemon_events.SchedulerAttached())

    def tell_scheduler(self, host: SimulatedHost, message: ToScheduler) -> None:
        """Carry a message of a daemon's, one latency long; lost when the scheduler is."""
        name = type(message).__name__
        self.messages[name] = self.messages.get(name, 0) + 1
        life = self._scheduler_life
        event: events.Event
        if isinstance(message, Hello):
            event = events.HostAttached(message)
        else:
            event = events.HostSaid(host.info.host, message)  # type: ignore[arg-type]

        def arrive() -> None:
            if self._scheduler_life == life and host.alive:
                self._post(event)

        self.clock.after(self.scenario.control_latency_s, arrive)

    def _post(self, event: events.Event) -> None:
        machine = self._scheduler
        if machine is None:
            return
        for command in machine.handle(event, self.clock.now):
            self._carry_out(command)
        if self.validate:
            machine.validate()
        if self._alarm is not None:
            self._alarm.cancel()
        at = machine.wakeup_at()
        self._alarm = (
            self.clock.at(at, lambda: self._post(events.TimeReached())) if at != float("inf") else None
        )

    def _carry_out(self, command: commands.Command) -> None:
        match command:
            case commands.Send(host, message):
                name = type(message).__name__
                self.messages[name] = self.messages.get(name, 0) + 1
                target = self.hosts_by_id[host]
                if target.alive:
                    target.soon(self.scenario.control_latency_s, target.hear, message)
            case commands.LoadTask(task):
                records = tuple(self._records.get(task, {}).values())
                self._later(events.TaskLoaded(task, self._epochs.get(task, Epoch(0)), records))
            case commands.SaveEpoch(task, epoch):
                self._epochs[task] = max(epoch, self._epochs.get(task, Epoch(0)))
                self._later(events.EpochSaved(task, epoch))
            case commands.SaveRecords(task, records):
                self._records.setdefault(task, {}).update({record.index: record for record in records})
            case Note():
                self.noted(None, command)
            case commands.SendInline():
                raise AssertionError("simulated blobs are too large to travel inline")

    def _later(self, event: events.Event) -> None:
        """Answer from the shared store, one latency later, unless the scheduler that asked is gone."""
        life = self._scheduler_life

        def answer() -> None:
            if self._scheduler_life == life:
                self._post(event)

        self.clock.after(self.scenario.store_latency_s, answer)
