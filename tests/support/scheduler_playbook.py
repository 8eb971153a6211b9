"""Plays daemons against a SchedulerMachine: one line a message, and what the scheduler says in answer."""

from collections.abc import Iterator
from typing import TypeVar

from scheduler.commands import Command, LoadTask, SaveEpoch, SaveRoot, Send, SendInline
from scheduler.config import LeaseConfig, PlacementConfig, SchedulerConfig
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
from scheduler.machine import SchedulerMachine
from swarm.availability import full
from swarm.dice import Dice
from swarm.facts import Note
from swarm.ids import Epoch, HostId, TaskId
from swarm.layers import Layer
from swarm.messages import (
    ActiveTask,
    Address,
    Completed,
    HeldBlob,
    Hello,
    HostInfo,
    Join,
    Lease,
    LeaseFailed,
    LeaseProgress,
    OriginFault,
    Parents,
    Progress,
    Role,
    Starving,
    TaskProgress,
)
from swarm.pieces import PIECE_BYTES_MIN, PieceMap
from swarm.roots import NO_ROOT

M = TypeVar("M")

BLOB = TaskId("sha256:" + "b" * 64)
LAYER = 128 * PIECE_BYTES_MIN
REGISTRY = "registry.example.com"


class Playbook:
    """A machine, its answers since the last look, and a shared store that answers at once unless told to wait.

    `validate` runs after every event; turn `strict` off where its cost would hide what is measured.
    """

    def __init__(self, config: SchedulerConfig | None = None, seed: int = 1, strict: bool = True) -> None:
        self.machine = SchedulerMachine(config or self.config(), Dice(seed))
        self.now = 100.0
        self.strict = strict
        self.store_answers = True
        self.epochs: dict[TaskId, Epoch] = {}
        self.roots: dict[TaskId, bytes] = {}
        self.waiting: list[Event] = []
        self.said: list[Command] = []
        self.last: list[Command] = []

    @staticmethod
    def config(connections: int = 4, **placement: int) -> SchedulerConfig:
        """Small leases (8 pieces of LAYER), so that a test sees several."""
        lease = LeaseConfig(bytes_min=8 * PIECE_BYTES_MIN, parts=16, connections=connections)
        return SchedulerConfig(lease=lease, placement=PlacementConfig(**placement))

    # --- time and events -----------------------------------------------------------------------------------

    def event(self, event: Event) -> list[Command]:
        """Hand in one event, and what the store answers to it; return the commands."""
        self.last = self._handle(event)
        while self.store_answers and self.waiting:
            self.last += self._handle(self.waiting.pop(0))
        return self.last

    def _handle(self, event: Event) -> list[Command]:
        commands = self.machine.handle(event, self.now)
        if self.strict:
            self.machine.validate()
        for command in commands:
            if isinstance(command, LoadTask):
                epoch, root = self.epochs.get(command.task, Epoch(0)), self.roots.get(command.task, NO_ROOT)
                self.waiting.append(TaskLoaded(command.task, epoch, root=root))
            elif isinstance(command, SaveRoot):
                self.roots[command.task] = command.root
            elif isinstance(command, SaveEpoch):
                self.epochs[command.task] = max(self.epochs.get(command.task, Epoch(0)), command.epoch)
                self.waiting.append(EpochSaved(command.task, command.epoch))
        self.said += commands
        return commands

    def wait(self, seconds: float) -> list[Command]:
        """Let time pass, waking the machine whenever it asked for it."""
        end, commands = self.now + seconds, []
        while (at := self.machine.wakeup_at()) <= end:
            self.now = max(self.now, at)
            commands += self.event(TimeReached())
        self.now = end
        self.last = commands
        return commands

    # --- daemons -------------------------------------------------------------------------------------------

    def attach(
        self,
        *names: str,
        zone: str = "",
        role: Role = Role.NORMAL,
        active: tuple[ActiveTask, ...] = (),
        held: tuple[HeldBlob, ...] = (),
    ) -> list[Command]:
        """Hosts attach."""
        commands = []
        for name in names:
            info = HostInfo(HostId(name), (Address(name, 4002),), zone=zone, role=role)
            commands += self.event(HostAttached(Hello(info, active, held)))
        self.last = commands
        return commands

    def says(self, name: str, message: DaemonMessage) -> list[Command]:
        """A host says something."""
        return self.event(HostSaid(HostId(name), message))

    def lose(self, name: str) -> list[Command]:
        """A host's stream ends."""
        return self.event(HostLost(HostId(name)))

    def join(
        self,
        *names: str,
        task: TaskId = BLOB,
        size: int = LAYER,
        may_fetch: bool = True,
        stores: bool = True,
        bits: int = 0,
        registry: str = REGISTRY,
        shares_check: bool = False,
        layer: Layer | None = None,
    ) -> list[Command]:
        """Hosts want a blob; those that are new attach first."""
        commands = []
        for name in names:
            host = self.machine.cluster.hosts.get(HostId(name))
            if host is None or not host.is_attached():
                self.attach(name)
            more = {"bits": bits, "shares_check": shares_check, "layer": layer}
            join = Join(task, size, registry, may_fetch, stores, **more)
            commands += self.says(name, join)
        self.last = commands
        return commands

    def holds(self, name: str, bits: int, task: TaskId = BLOB) -> list[Command]:
        """A host tells what it holds."""
        return self.says(name, Progress((TaskProgress(task, bits),)))

    def completes(self, *names: str, task: TaskId = BLOB) -> list[Command]:
        """Hosts have a whole blob, and checked it."""
        commands = []
        for name in names:
            pieces = self.machine.cluster.tasks[task].pieces.count
            commands += self.holds(name, full(pieces), task)
            commands += self.says(name, Completed(task))
        self.last = commands
        return commands

    def starves(self, name: str, wanted: int, task: TaskId = BLOB) -> list[Command]:
        """A host has nothing to ask for."""
        return self.says(name, Starving(task, wanted))

    def fetches(self, name: str, lease: Lease, next_piece: int, size: int = LAYER) -> list[Command]:
        """A lease owner tells how far it is."""
        pieces = PieceMap.of(size)
        received = pieces.span_bytes(lease.start, next_piece)
        return self.says(name, LeaseProgress(lease.task, lease.epoch, next_piece, received))

    def fails(
        self, name: str, lease: Lease, fault: OriginFault, next_piece: int = -1, **more: float
    ) -> list[Command]:
        """A lease owner gives up, by default before it got a piece."""
        at = lease.start if next_piece < 0 else next_piece
        retry_after_s, size = more.get("retry_after_s", 0.0), int(more.get("size", -1))
        return self.says(name, LeaseFailed(lease.task, lease.epoch, at, fault, retry_after_s, size))

    def brings_inline(self, name: str, task: TaskId = BLOB) -> list[Command]:
        """A tiny blob arrives."""
        return self.event(InlineArrived(HostId(name), task))

    def forgets_inline(self, task: TaskId = BLOB) -> list[Command]:
        """The service drops a tiny blob."""
        return self.event(InlineForgotten(task))

    # --- answers -------------------------------------------------------------------------------------------

    def told(self, name: str, kind: type[M], commands: list[Command] | None = None) -> list[M]:
        """Return the messages of a kind that a host got in answer to the last event."""
        sends = self.last if commands is None else commands
        return [
            command.message
            for command in sends
            if isinstance(command, Send) and command.host == name and isinstance(command.message, kind)
        ]

    def leases(self, commands: list[Command] | None = None) -> dict[str, list[Lease]]:
        """Return the leases of the last answer, by owner."""
        found: dict[str, list[Lease]] = {}
        for command in self.last if commands is None else commands:
            if isinstance(command, Send) and isinstance(command.message, Lease):
                found.setdefault(command.host, []).append(command.message)
        return found

    def only_lease(self) -> tuple[str, Lease]:
        """Return the one lease of the last answer, with its owner."""
        found = [(owner, lease) for owner, given in self.leases().items() for lease in given]
        assert len(found) == 1, f"expected one lease, got {found}"
        return found[0]

    def only_lease_ever(self) -> tuple[str, Lease]:
        """Return the one lease of all answers so far, with its owner."""
        self.last = self.said
        return self.only_lease()

    def parents(self, name: str, commands: list[Command] | None = None) -> list[str]:
        """Return the parents that a host got in the last answer."""
        return [parent.host for message in self.told(name, Parents, commands) for parent in message.parents]

    def notes(self, name: str) -> list[Note]:
        """Return all facts of a name so far."""
        return [command for command in self.said if isinstance(command, Note) and command.name == name]

    def inlined(self) -> Iterator[str]:
        """Yield the hosts that got the tiny blob in the last answer."""
        for command in self.last:
            if isinstance(command, SendInline):
                yield from command.hosts
