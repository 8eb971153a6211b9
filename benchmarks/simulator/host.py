"""One simulated host: the production machine of the daemon, with I/O that takes virtual time and moves no bytes."""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.simulator.clock import Alarm, Clock
from benchmarks.simulator.control import Control, Stream
from benchmarks.simulator.disk import Disk
from benchmarks.simulator.fabric import Fabric
from benchmarks.simulator.life import Life
from benchmarks.simulator.network import Link
from benchmarks.simulator.origin import Origin, OriginSide
from benchmarks.simulator.peering import Peering
from benchmarks.simulator.scenario import Scenario
from dfdaemon import commands, events
from dfdaemon.config import DaemonConfig, PeerConfig, SchedulerLinkConfig
from dfdaemon.machine import DaemonMachine
from swarm import availability
from swarm.dice import Dice
from swarm.facts import Note
from swarm.ids import HostId, ReaderId, TaskId
from swarm.layers import Layer
from swarm.messages import Address, HostInfo, InlineContent

READER = ReaderId(1)
REGISTRY = "registry.test"
IMAGE = "image"
"""All blobs of a pull are layers of one, in order."""
FOREVER = float("inf")


def info_of(number: int, scenario: Scenario) -> HostInfo:
    """Return how a host describes itself."""
    rate = int(scenario.link_of(number)) if scenario.rates_known else 0
    return HostInfo(
        HostId(f"host-{number:05d}"),
        (Address(f"10.0.{number >> 8}.{number & 255}", 4002),),
        f"zone-{number % scenario.zones}",
        upload_bytes_per_s=rate,
        download_bytes_per_s=rate,
    )


def config_of(info: HostInfo, scenario: Scenario) -> DaemonConfig:
    """Return the settings of a host's daemon."""
    return DaemonConfig(
        upload_bytes_per_s=info.upload_bytes_per_s,
        download_bytes_per_s=info.download_bytes_per_s,
        verify=scenario.verify,
        peer=PeerConfig(piece_digest="blake3"),
        scheduler=SchedulerLinkConfig(addresses=("scheduler:9000",)),
    )


class SimulatedHost:
    """Executes the commands of one DaemonMachine in virtual time."""

    def __init__(
        self,
        number: int,
        scenario: Scenario,
        clock: Clock,
        origin: Origin,
        control: Control,
        fabric: Fabric,
        noted: Callable[[Note], None],
    ) -> None:
        self.info = info = info_of(number, scenario)
        self._number = number
        self.failures: list[str] = []
        self.finished: dict[TaskId, float] = {}
        """When each blob was first on disk, right, and read to its end; without room on disk, read to its end."""
        self.arrived_at = -1.0
        self.machine: DaemonMachine
        self.validates = False
        self.watch: Callable[[str, object], None] | None = None
        self.on_finished: Callable[[SimulatedHost], None] = lambda host: None
        self.life = Life(clock)
        zone = number % scenario.zones
        self.stream = Stream(info.host, zone, self.life)
        self.disk = Disk(self.life, scenario, number in scenario.full_disks)
        self.links = Link(scenario.link_of(number)), Link(scenario.link_of(number))
        self.peering = Peering(info.host, zone, self.life, self.disk, self.links, fabric)
        self.peering.rescuers = control.rescuers.setdefault(info.host, set())
        self.origin = OriginSide(origin, self.links[1], self.life, self.disk.blob)
        self.disk.completed = self._note_finished
        self._config = config_of(info, scenario)
        self._clock = clock
        self._control = control
        self._events: deque[events.Event] = deque()
        self._draining = False
        self._alarm: Alarm | None = None
        self._wake_at = FOREVER
        self._read_until: dict[TaskId, int] = {}
        self._to_pull: deque[tuple[TaskId, int, Layer]] = deque()
        self._execute: dict[type, Callable[[Any], object]] = {
            commands.TellScheduler: lambda c: control.tell(self.stream, c.message),
            commands.ReleaseReaders: self._release,
            commands.FailReaders: self._fail,
            Note: noted,
            **self.disk.table(),
            **self.peering.table(),
            **self.origin.table(),
        }

    # --- lives ------------------------------------------------------------------------------------

    def start(self, seed: int) -> None:
        """Begin a life, with what is on the disk."""
        self.life.begin()
        self._events.clear()
        self._read_until.clear()
        self.machine = DaemonMachine(self.info, self._config, Dice(seed))
        self.machine.restore(self.disk.whole())
        if self.arrived_at < 0:
            self.arrived_at = self._clock.now
        self.stream.post = self.post
        self.disk.begin(self.post)
        self.peering.begin(self.post)
        self.origin.begin(self.post, self._share_inline)
        self._control.attach(self.stream)

    def die(self, silence_s: float) -> None:
        """End this life; the others notice after `silence_s`."""
        self.life.end()
        self._set_alarm(FOREVER)
        self.origin.die()
        self.peering.die(silence_s)
        self._control.lost(self.stream, silence_s)

    def wipe(self) -> None:
        """Become a new machine of the same name."""
        self.disk.wipe()
        self.finished.clear()
        self.failures.clear()
        self.arrived_at = -1.0

    def pull(self, blobs: Sequence[tuple[TaskId, int]], at_once: int) -> None:
        """Let a local client pull blobs in order, `at_once` at a time; 0: all. With which it begins is not certain."""
        layers = deque((*blob, Layer(IMAGE, place)) for place, blob in enumerate(blobs, start=1))
        begun = [layers.popleft() for _ in range(min(at_once or len(blobs), len(blobs)))]
        first = self._number % max(1, len(begun))
        self._to_pull = deque((*begun[first:], *begun[:first], *layers))
        for _ in range(at_once or len(blobs)):
            self._pull_next()

    def _pull_next(self) -> None:
        if self._to_pull:
            self.want(*self._to_pull.popleft())

    def want(self, task: TaskId, size: int, layer: Layer | None = None) -> None:
        """Let a local client ask for a blob and read it as it comes."""
        self._read_until[task] = 0
        self.post(events.BlobWanted(task, size, REGISTRY, True, layer=layer))
        self.post(events.ReaderOpened(task, READER, 0, size))

    # --- the loop ---------------------------------------------------------------------------------

    def post(self, event: events.Event) -> None:
        """Give the machine an event; one that a command raises at once waits until the commands before it are done."""
        if not self.life.alive:
            return
        self._events.append(event)
        if self._draining:
            return
        self._draining = True
        machine, clock, execute = self.machine, self._clock, self._execute
        while self._events:
            event = self._events.popleft()
            if self.watch is not None:
                self.watch(self.info.host, event)
            for command in machine.handle(event, clock.now):
                execute[type(command)](command)
            if self.validates:
                machine.validate()
        self._draining = False
        self._set_alarm(machine.wakeup_at())

    def _set_alarm(self, at: float) -> None:
        """Wake the machine at a time; an alarm that is set for an earlier one stays, and is put off when it rings."""
        self._wake_at = at
        if self._alarm is not None:
            if self._alarm.at <= at:
                return
            self._alarm.cancel()
        self._alarm = self._clock.at(at, self._ring) if at < FOREVER else None

    def _ring(self) -> None:
        self._alarm = None
        if self._wake_at <= self._clock.now:
            self.post(events.TimeReached())
        else:
            self._set_alarm(self._wake_at)

    def _share_inline(self, task: TaskId) -> None:
        self._control.tell(self.stream, InlineContent(task, b""))

    # --- the client -------------------------------------------------------------------------------

    def _release(self, command: commands.ReleaseReaders) -> None:
        """Read the prefix as it grows, as a client does that is faster than the network."""
        task = command.task
        blob = self.disk.blob(task)
        done = self._read_until.get(task, blob.pieces.count)
        prefix = done + availability.first_missing(command.bits >> done)
        if prefix <= done or task not in self._read_until:
            return
        self._read_until[task] = prefix
        self.post(events.ReaderAdvanced(task, READER, blob.pieces.end(prefix - 1)))
        if prefix == blob.pieces.count:
            self.post(events.ReaderClosed(task, READER))
            self._note_finished(task)

    def _note_finished(self, task: TaskId) -> None:
        """A client has read everything, or the disk has everything: note when both are true."""
        read = self._read_until.get(task) == self.disk.blob(task).pieces.count
        if read and self.disk.is_lasting(task) and task not in self.finished:
            self.finished[task] = self._clock.now
            self.on_finished(self)
            self._pull_next()

    def _fail(self, command: commands.FailReaders) -> None:
        self.failures.append(command.reason)
        self._read_until.pop(command.task, None)
