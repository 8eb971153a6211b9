"""All that the scheduler knows, in tables with bounds, and the commands that the event in hand brings forth."""

from scheduler.agenda import Agenda
from scheduler.commands import Command, LoadTask, Send
from scheduler.config import PlacementConfig, SchedulerConfig
from scheduler.host import Host, HostState
from scheduler.inventory import Inventory
from scheduler.peer import Peer, PeerEvent
from scheduler.registry import Registry
from scheduler.task import Task, TaskEvent, TaskState
from swarm.dice import Dice
from swarm.facts import Note
from swarm.ids import HostId, TaskId
from swarm.messages import ToDaemon
from swarm.pieces import PieceMap

HOSTS_MAX = 65_536
"""Hosts of one cluster; six times what one scheduler is built for."""
TASKS_MAX = 65_536
"""Tasks in memory; the idle one that was used least recently goes first."""
TASKS_PER_HOST_MAX = 4096
"""Blobs that one host takes part in at once."""
REGISTRIES_MAX = 1024
"""Registries whose behaviour is remembered."""
OVERFLOW = "*"
"""What the registries are called that come while all others are in use: together they have the connections of one."""
IDLE_S = 300.0
"""How long a task without downloads is remembered: a rolling update touches its layers again within minutes."""
LOAD_TIMEOUT_S = 2.0
"""After this the shared store is asked again."""
FOLLOW_S = 1.0
"""After a start, hosts that work on downloads attach one after the other; no lease while one came so lately..."""
RECOVERY_S_MAX = 15.0
"""... but for so long at most. After an outage of seconds a daemon tries again within 5 s, and many take their time."""

Key = tuple[str, str]
"""What is due: ("task", id), ("host", id), ("registry", name) or ("recovery", "")."""


class Cluster:
    """The state of one scheduler. Changed by the machine and its parts only, during one `handle` at a time."""

    def __init__(self, config: SchedulerConfig, dice: Dice) -> None:
        self.config = config
        self.dice = dice
        self.now = 0.0
        self.recovered_at: float | None = None
        self._recovered_by = 0.0
        self.hosts: dict[HostId, Host] = {}
        self.tasks: dict[TaskId, Task] = {}
        self.registries: dict[str, Registry] = {}
        self.inventory = Inventory()
        self.agenda: Agenda[Key] = Agenda()
        self.attached = 0
        self.is_full = False
        """No task is idle: none is looked for among so many before one has become so."""
        self._out: list[Command] = []

    # --- one event -----------------------------------------------------------------------------------------

    def begin(self, now: float) -> None:
        """Start on an event; the first one ever starts the recovery window."""
        self.now = now
        if self.recovered_at is None:
            self.recovered_at = now + self.config.lease.recovery_s
            self._recovered_by = max(self.recovered_at, now + RECOVERY_S_MAX)
            self.agenda.wake(("recovery", ""), self.recovered_at)

    def take_commands(self) -> list[Command]:
        """Return what is to be done, in order, and start afresh."""
        out, self._out = self._out, []
        return out

    def stay_recovering(self) -> None:
        """A host of an earlier scheduler came during recovery: others may follow."""
        assert self.recovered_at is not None, "events have begun"
        self.recovered_at = max(self.recovered_at, min(self.now + FOLLOW_S, self._recovered_by))

    def is_recovering(self) -> bool:
        """Tell whether hosts of an earlier scheduler may still be on their way to this one."""
        return self.recovered_at is not None and self.now < self.recovered_at

    def do(self, command: Command) -> None:
        """Ask I/O for something."""
        self._out.append(command)

    def send(self, host: Host, message: ToDaemon) -> None:
        """Tell a host something, if it is there."""
        if host.is_attached():
            self._out.append(Send(host.id, message))

    def note(
        self, name: str, task: Task | None = None, host: Host | None = None, **fields: str | int | float
    ) -> None:
        """Let a fact out."""
        task_id = task.id if task is not None else None
        self._out.append(Note(name, task_id, host.id if host is not None else None, tuple(fields.items())))

    # --- tables --------------------------------------------------------------------------------------------

    def registry(self, name: str) -> Registry:
        """Return what is known of a registry; an unused one goes when there are too many.

        If all are in use, that is what is known of all the others together: it has another name, which leases keep.
        """
        registry = self.registries.get(name)
        if registry is None and len(self.registries) >= REGISTRIES_MAX - 1 and not self._drop_registry():
            name = OVERFLOW
            registry = self.registries.get(name)
        if registry is None:
            lease = self.config.lease
            registry = Registry(name, lease.connections, lease.connections_max, window_at=self.now)
            self.registries[name] = registry
        return registry

    def _drop_registry(self) -> bool:
        for name, registry in self.registries.items():
            if name != OVERFLOW and not registry.is_in_use(self.now):
                del self.registries[name]
                self.agenda.forget(("registry", name))
                return True
        return False

    def stop_waiting(self, task: Task, name: str) -> None:
        """A task wants no connection of a registry any more."""
        for known in (name, OVERFLOW):
            if known in self.registries:
                self.registries[known].hungry.pop(task.id, None)

    def open_task(self, task_id: TaskId, size: int) -> Task | None:
        """Return a task, making and loading it when it is new; None when there is no room for another.

        A new one has the size that its first joiner names. A holder of another size is no part of it: one inventory
        that tells a wrong size must not turn away everybody who wants the blob.
        """
        task = self.tasks.pop(task_id, None)
        if task is not None:
            self.tasks[task_id] = task
            return task
        if len(self.tasks) >= TASKS_MAX and not self._make_room():
            return None
        holders = self.inventory.holders(task_id)
        task = Task(task_id, PieceMap.of(size), self._children_max())
        self.tasks[task_id] = task
        self.load(task)
        for name in holders:
            self.add_holder(task, self.hosts[name])
        return task

    def placement(self, task: Task) -> PlacementConfig:
        """Return how many neighbours the peers of a task get."""
        return self.config.placement.for_pieces(task.pieces.count)

    def _children_max(self) -> int:
        """Return how many children placement gives a host: each newcomer needs `neighbours` of them somewhere."""
        return max(2 * self.config.placement.neighbours, self.config.placement.parents_max)

    def load(self, task: Task) -> None:
        """Ask the shared store what it knows of a task."""
        task.load_at = self.now + LOAD_TIMEOUT_S
        self.agenda.wake(("task", task.id), task.load_at)
        self.do(LoadTask(task.id))

    def _make_room(self) -> bool:
        if self.is_full:
            return False
        self.is_full = not self._drop_task()
        if self.is_full:
            self.note("overload", table="tasks", limit=TASKS_MAX)
        return not self.is_full

    def _drop_task(self) -> bool:
        for task in self.tasks.values():
            if task.state is TaskState.IDLE and not task.leases and not task.downloading:
                self.forget_task(task)
                return True
        return False

    def forget_task(self, task: Task) -> None:
        """Drop a task without leases and downloads; who holds it whole stays in the inventory."""
        assert not task.leases, "a task with leases is not forgotten"
        for peer in list(task.peers.values()):
            peer.happen(PeerEvent.LEAVE)
            peer.place(task.id, None)
            peer.host.tasks.pop(task.id)
        for name in task.registries:
            self.stop_waiting(task, name)
        del self.tasks[task.id]
        self.is_full = False
        self.agenda.forget(("task", task.id))

    def forget_host(self, host: Host) -> None:
        """Drop a host that is gone, unless its leases or its quarantine outlive its stream."""
        if host.state is HostState.LOST and not host.leases:
            self.hosts.pop(host.id, None)

    def add_holder(self, task: Task, host: Host) -> None:
        """Make a host whose inventory has the blob a complete peer of its task, if it is not a peer."""
        fits = host.held.get(task.id) == task.pieces.size
        if not fits or host.id in task.peers or len(host.tasks) >= TASKS_PER_HOST_MAX:
            return
        peer = Peer(host)
        task.peers[host.id] = peer
        host.tasks[task.id] = None
        peer.happen(PeerEvent.COMPLETE)
        task.complete += 1
        task.gained(peer, task.all_bits())
        task.file(peer)

    def satisfied(self, task: Task) -> None:
        """See whether nobody downloads a task any more: it is forgotten after a while, or at once if nobody is left."""
        if task.downloading or task.state is TaskState.LOADING:
            return
        task.happen(TaskEvent.SATISFIED)
        self.is_full = False
        task.idle_at = self.now + IDLE_S
        if not task.peers and not task.leases and not task.inline_held:
            self.forget_task(task)
        else:
            self.agenda.wake(("task", task.id), task.idle_at)
