"""Anything in any order: no exception, all invariants after every event, no piece leased while somebody holds it."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scheduler.cluster import OVERFLOW
from scheduler.commands import Command, LoadTask, SaveEpoch, SaveRoot, Send
from scheduler.config import LeaseConfig, PlacementConfig, SchedulerConfig
from scheduler.events import (
    DaemonMessage,
    DigestAllowed,
    DigestDenied,
    EpochSaved,
    Event,
    HostAttached,
    HostLost,
    HostSaid,
    InlineArrived,
    InlineForgotten,
    PurgeWanted,
    TaskLoaded,
    TimeReached,
)
from scheduler.machine import SchedulerMachine
from swarm.availability import span
from swarm.dice import Dice
from swarm.ids import Epoch, HostId, TaskId
from swarm.layers import Layer
from swarm.messages import (
    ActiveTask,
    Address,
    Completed,
    HeldBlob,
    HeldLease,
    Hello,
    HostInfo,
    Join,
    Lease,
    LeaseFailed,
    LeaseProgress,
    Leave,
    Load,
    OriginFault,
    PieceRecord,
    PieceRejected,
    Priority,
    Progress,
    Role,
    Starving,
    TaskProgress,
)
from swarm.repositories import (
    AskRepository,
    Purge,
    RepositoryReport,
    TagPushed,
    TagReport,
    TagUnresolved,
)
from swarm.roots import NO_ROOT, BlobProved

HOSTS = [HostId(f"h{number}") for number in range(6)]
SIZES = {
    TaskId("sha256:" + "a" * 64): 8 << 20,
    TaskId("sha256:" + "b" * 64): 3 << 20,
    TaskId("sha256:" + "c" * 64): 1000,
}
TASKS = list(SIZES)
REGISTRIES = ["one.example", "two.example"]
FORGED = (b"y" * 16, b"z" * 16, bytes(16), bytes([1] * 16))
"""What pieces hash to that nobody fetched, and two that a lease's owner may have told."""

Throw = tuple[int, int]
CONFIG = SchedulerConfig(
    lease=LeaseConfig(bytes_min=1 << 20, parts=8, connections=2, connections_max=4),
    placement=PlacementConfig(neighbours=3, remote_neighbours=1, parents_max=4),
)


def layer_of(task: TaskId, registry: str) -> Layer | None:
    """Where a blob stands in the image of a registry, if it has one; two list the same, the other way round."""
    place = TASKS.index(task)
    if registry == REGISTRIES[0]:
        return Layer("image", place)
    return Layer("the other way round", len(TASKS) - place) if registry == REGISTRIES[1] else None


class World:
    """Makes an event out of two numbers, and believes nothing that the machine says."""

    def __init__(self, seed: int, registries: list[str] = REGISTRIES) -> None:
        self.machine = SchedulerMachine(CONFIG, Dice(seed))
        self.registries = registries
        self.now = 0.0
        self.waiting: list[Event] = []
        self.leases: list[tuple[HostId, Lease]] = []
        self.roots: dict[TaskId, bytes] = {}
        self.claims = 0
        """Most that waited for an answer at a time."""

    def step(self, kind: int, seed: int) -> None:
        """Hand in one event of a kind, its details thrown from a seed."""
        dice = Dice(seed)
        makers = (
            self.store,
            self.store,
            self.lease,
            self.lease,
            self.join,
            self.say,
            self.say,
            self.stream,
            self.time,
        )
        for command in self._handle(makers[kind % len(makers)](dice)):
            self.note(command)

    def _handle(self, event: Event) -> list[Command]:
        commands = self.machine.handle(event, self.now)
        self.machine.validate()
        self.machine.wakeup_at()
        self.claims = max(self.claims, len(self.machine._trust.claims))
        return commands

    def note(self, command: Command) -> None:
        """Remember what must be answered, and check each lease against what is held."""
        if isinstance(command, LoadTask):
            root = self.roots.get(command.task, NO_ROOT)
            self.waiting.append(TaskLoaded(command.task, Epoch(0), root=root))
        elif isinstance(command, SaveRoot):
            self.roots[command.task] = command.root
        elif isinstance(command, SaveEpoch):
            self.waiting.append(EpochSaved(command.task, command.epoch))
            self.check_grant(command)
        elif isinstance(command, Send) and isinstance(command.message, Lease):
            self.leases.append((command.host, command.message))

    def check_grant(self, saved: SaveEpoch) -> None:
        """A fresh lease covers nothing that somebody holds."""
        task = self.machine.cluster.tasks.get(saved.task)
        if task is None:
            return
        for lease in task.leases:
            if lease.epoch == saved.epoch and not lease.no_range:
                assert not span(lease.start, lease.end) & task.held

    # --- events --------------------------------------------------------------------------------------------------

    def store(self, dice: Dice) -> Event:
        """The store answers, in any order, or twice, or about something unknown."""
        if not self.waiting:
            return EpochSaved(dice.choose(TASKS), Epoch(dice.below(4)))
        answer = dice.choose(self.waiting)
        if dice.below(8):
            self.waiting.remove(answer)
        return answer

    def lease(self, dice: Dice) -> Event:
        """A lease owner tells something of a lease, which may be long over, or not its own."""
        if not self.leases:
            return TimeReached()
        host, lease = dice.choose(self.leases[-6:])
        host = host if dice.below(10) else dice.choose(HOSTS)
        at = lease.start + dice.below(lease.end - lease.start + 2)
        kind = dice.below(10)
        if kind < 5:
            return HostSaid(host, LeaseProgress(lease.task, lease.epoch, at, dice.below(4 << 20)))
        if kind < 8:
            return HostSaid(
                host, Progress((TaskProgress(lease.task, span(lease.start, at), self.records(lease, dice)),))
            )
        fault = OriginFault(dice.below(len(OriginFault)))
        failed = LeaseFailed(lease.task, lease.epoch, at, fault, float(dice.below(3)), dice.below(9 << 20))
        return HostSaid(host, failed)

    def records(self, lease: Lease, dice: Dice) -> tuple[PieceRecord, ...]:
        """Some piece digests, the odd one out of range or wrong."""
        return tuple(
            PieceRecord(lease.start + n, bytes([dice.below(9) // 8] * 16), lease.epoch) for n in range(3)
        )

    def join(self, dice: Dice) -> Event:
        """A host joins, some without the right or the room, some with a wrong size."""
        task = dice.choose(TASKS)
        size = SIZES[task] if dice.below(10) else dice.below(5 << 20)
        registry, bits = dice.choose(self.registries), dice.throw() % (1 << 16) if dice.below(3) == 0 else 0
        priority, shares = Priority(dice.below(3)), dice.below(4) > 0
        may_fetch, stores = dice.below(4) > 0, dice.below(4) > 0
        join = Join(task, size, registry, may_fetch, stores, priority, bits, shares, layer_of(task, registry))
        return HostSaid(dice.choose(HOSTS), join)

    def say(self, dice: Dice) -> Event:
        """A host says anything else."""
        task, other = dice.choose(TASKS), dice.choose(HOSTS)
        bits = dice.throw() % (1 << 17) & dice.throw()
        messages: tuple[DaemonMessage, ...] = (
            Progress((TaskProgress(task, bits),)),
            Progress((TaskProgress(task, (1 << 16) - 1),)),
            Starving(task, bits),
            Starving(task, (1 << 16) - 1),
            PieceRejected(task, dice.below(18), other, b"x" * 16, b"y" * 16),
            PieceRejected(task, dice.below(6), other, b"x" * 16, b"y" * 16),
            *(PieceRejected(task, dice.below(4), other, b"x" * 16, dice.choose(FORGED), fits=True),) * 8,
            Load(dice.below(1000), dice.below(1000), dice.below(5)),
            Completed(task),
            PieceRejected(task, 0, HOSTS[0], b"x" * 16, b"y" * 16),
            Leave(TaskId("") if dice.below(4) == 0 else task),
            TagReport(REGISTRIES[0], "image", f"v{dice.below(3)}", task, "type", 10),
            RepositoryReport(REGISTRIES[0], "image", bool(dice.below(2)), (task,)),
            AskRepository(1, REGISTRIES[0], "image", f"v{dice.below(3)}", task, fresh=bool(dice.below(2))),
            AskRepository(1, REGISTRIES[0], "image", "", task, fresh=bool(dice.below(2))),
            TagUnresolved(REGISTRIES[0], "image", f"v{dice.below(3)}"),
            TagPushed(REGISTRIES[0], "image", f"v{dice.below(3)}"),
            *(BlobProved(task, b"right" if dice.below(20) else b"wrong"),) * 6,
        )
        return HostSaid(dice.choose(HOSTS), dice.choose(messages))

    def stream(self, dice: Dice) -> Event:
        """A stream opens or ends, or the service tells of a tiny blob."""
        host, task = dice.choose(HOSTS), dice.choose(TASKS)
        kind = dice.below(10)
        if kind < 1:
            return HostLost(host)
        if kind == 2:
            return InlineArrived(host, TASKS[2])
        if kind == 3:
            return InlineForgotten(dice.choose(TASKS))
        if kind == 4 and dice.below(4) == 0:
            return dice.choose((DigestDenied(task, ""), DigestAllowed(task), PurgeWanted(Purge(task))))
        info = HostInfo(host, (Address("10.0.0.1", 1),), f"z{dice.below(3)}", role=Role(dice.below(8) // 7))
        active = tuple(self.active(name, dice) for name in dice.sample(TASKS, dice.below(3)))
        held = (HeldBlob(task, SIZES[task] + dice.below(8) // 7),) if dice.below(3) == 0 else ()
        return HostAttached(Hello(info, active + active[: dice.below(2)], held))

    def active(self, task: TaskId, dice: Dice) -> ActiveTask:
        """A download that a host brings along, with fetches that may overlap others'."""
        held = []
        for _ in range(dice.below(3)):
            start = dice.below(15)
            end = start + 1 + dice.below(6)
            held.append(HeldLease(start, end, start + dice.below(end - start), Epoch(dice.below(6))))
        mine = [lease for _, lease in self.leases if lease.task == task]
        if mine and dice.below(2):
            held.append(HeldLease(mine[-1].start, mine[-1].end, mine[-1].start, mine[-1].epoch))
        bits = dice.throw() % (1 << 16) if dice.below(2) else 0
        registry, may_fetch, stores = dice.choose(self.registries), dice.below(4) > 0, dice.below(4) > 0
        return ActiveTask(
            task,
            SIZES[task],
            registry,
            bits,
            may_fetch,
            stores,
            tuple(held),
            dice.below(4) > 0,
            layer_of(task, registry),
        )

    def time(self, dice: Dice) -> Event:
        """Time passes: a moment, to the next deadline, or a long while."""
        kind = dice.below(30)
        if kind < 16:
            self.now += 0.3 * dice.share()
        elif kind < 29:
            self.now = max(self.now, min(self.machine.wakeup_at(), self.now + 5.0))
        else:
            self.now += 700 * dice.share()
        return TimeReached()


THROWS = st.lists(st.tuples(st.integers(0, 8), st.integers(0, 2**32)), min_size=1, max_size=120)


@settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 1000), throws=THROWS)
def test_any_order_of_events_keeps_all_invariants(seed: int, throws: list[Throw]) -> None:
    world = World(seed)
    for host in HOSTS:
        world._handle(HostAttached(Hello(HostInfo(host, (Address("10.0.0.1", 1),)))))
    for kind, detail in throws:
        world.step(kind, detail)


def test_full_tables_keep_all_invariants(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scheduler.cluster.TASKS_MAX", 2)
    monkeypatch.setattr("scheduler.cluster.REGISTRIES_MAX", 3)
    monkeypatch.setattr("scheduler.task.REGISTRIES_PER_TASK_MAX", 2)
    shed = overflown = 0
    for seed in range(6):
        world, dice = World(seed, [f"r{number}.example" for number in range(6)]), Dice(seed + 100)
        for _ in range(1000):
            world.step(dice.below(9), dice.throw())
            cluster = world.machine.cluster
            shed += any(host.shed for host in cluster.hosts.values())
            overflown += OVERFLOW in cluster.registries
    assert shed, "there was room for all tasks"
    assert overflown, "there was room for all registries"


def test_long_runs_keep_all_invariants() -> None:
    proved: set[bytes] = set()
    claims = 0
    for seed in range(6):
        world, dice = World(seed), Dice(seed + 100)
        for _ in range(1500):
            world.step(dice.below(9), dice.throw())
        assert len(world.leases) > 10, f"seed {seed} came to nothing"
        proved |= set(world.roots.values())
        claims = max(claims, world.claims)
    assert b"right" in proved, "nothing was ever proven"
    assert claims > 1, "no claim ever waited for an answer"
