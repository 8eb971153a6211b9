"""Daemons that do what they are told, in any order: all get the blob, and the origin sends each byte once."""

from collections import Counter
from dataclasses import dataclass, field

import pytest

from scheduler.commands import Command, LoadTask, SaveEpoch, Send, SendInline
from scheduler.config import LeaseConfig, PlacementConfig, SchedulerConfig
from scheduler.events import (
    EpochSaved,
    Event,
    HostAttached,
    HostLost,
    HostSaid,
    InlineArrived,
    TaskLoaded,
    TimeReached,
)
from scheduler.machine import SchedulerMachine
from swarm.availability import full, indexes
from swarm.dice import Dice
from swarm.ids import Epoch, HostId, TaskId
from swarm.messages import (
    ActiveTask,
    Address,
    Completed,
    HeldBlob,
    HeldLease,
    Hello,
    HostInfo,
    Imports,
    Join,
    Lease,
    LeaseProgress,
    LeaseRevoked,
    Parents,
    Progress,
    Starving,
    TaskProgress,
    ToDaemon,
)
from swarm.pieces import PIECE_BYTES_MIN, PieceMap

BLOB = TaskId("sha256:" + "d" * 64)
REGISTRY = "registry.example"
STARVING_S = 1.0
STEP_S = 0.002
STEPS_MAX = 60_000
CONFIG = SchedulerConfig(
    lease=LeaseConfig(bytes_min=8 * PIECE_BYTES_MIN, parts=8, connections=3, timeout_s=2.0),
    placement=PlacementConfig(neighbours=3, remote_neighbours=1, parents_max=5),
)


@dataclass
class Work:
    """One lease on a daemon: the next piece to fetch."""

    lease: Lease
    at: int


@dataclass
class Daemon:
    """As little of a daemon as the scheduler can tell from a real one. `obeys`: it knows what Imports means."""

    name: HostId
    zone: str
    obeys: bool = True
    imports: int = 0
    bits: int = 0
    told_bits: int = 0
    parents: set[HostId] = field(default_factory=set)
    work: list[Work] = field(default_factory=list)
    joined: bool = False
    attached: bool = True
    complete: bool = False
    starved_at: float = -STARVING_S

    def heed(self, lease: Lease) -> None:
        """It may fetch this, or less than it was told before."""
        known = next((work for work in self.work if work.lease.epoch == lease.epoch), None)
        if known is None:
            self.work.append(Work(lease, lease.start))
        elif known.at >= lease.end:
            self.work.remove(known)
        else:
            known.lease = lease

    def hello(self, pieces: PieceMap) -> Hello:
        """What it says when it attaches."""
        held = tuple(HeldLease(w.lease.start, w.lease.end, w.at, w.lease.epoch) for w in self.work)
        downloads = self.joined and not self.complete
        active = (ActiveTask(BLOB, pieces.size, REGISTRY, self.bits, True, True, held),) if downloads else ()
        blobs = (HeldBlob(BLOB, pieces.size),) if self.complete else ()
        return Hello(HostInfo(self.name, (Address("10.0.0.1", 1),), self.zone), active, blobs)


class Swarm:
    """A scheduler, its store and its daemons. Who acts next is thrown."""

    def __init__(self, seed: int, hosts: int, size: int, zones: int, obeying: int = 1) -> None:
        """`obeying`: every so manieth host is of a version that knows what Imports means; 0: none is."""
        self.dice = Dice(seed)
        self.now = 10.0
        self.pieces = PieceMap.of(size)
        self.machine = SchedulerMachine(CONFIG, Dice(seed + 1))
        self.epoch = Epoch(0)
        self.origin: Counter[int] = Counter()
        self.owners: set[HostId] = set()
        self.waiting: list[Event] = []
        names = [HostId(f"h{number}") for number in range(hosts)]
        self.crossed: Counter[tuple[str, int]] = Counter()
        """How often each piece was brought into each zone from another."""
        self.daemons = {
            name: Daemon(name, f"z{number % zones}", obeying > 0 and number // zones % obeying == 0)
            for number, name in enumerate(names)
        }
        for daemon in self.daemons.values():
            self.hand(HostAttached(daemon.hello(self.pieces)))

    def hand(self, event: Event) -> None:
        """Hand in an event and do what comes back."""
        commands = self.machine.handle(event, self.now)
        self.machine.validate()
        for command in commands:
            self.do(command)

    def do(self, command: Command) -> None:
        """Carry out one command; the store answers later."""
        if isinstance(command, LoadTask):
            self.waiting.append(TaskLoaded(BLOB, self.epoch))
        elif isinstance(command, SaveEpoch):
            self.epoch = max(self.epoch, command.epoch)
            self.waiting.append(EpochSaved(BLOB, command.epoch))
        elif isinstance(command, Send) and command.host in self.daemons:
            self.tell(self.daemons[command.host], command.message)
        elif isinstance(command, SendInline):
            for name in command.hosts:
                if name in self.daemons:
                    self.daemons[name].bits = 1

    def tell(self, daemon: Daemon, message: ToDaemon) -> None:
        """A daemon hears something."""
        if isinstance(message, Parents):
            daemon.parents.update(parent.host for parent in message.parents)
        elif isinstance(message, Imports):
            daemon.imports = message.bits
        elif isinstance(message, Lease):
            daemon.heed(message)
            self.owners.add(daemon.name)
        elif isinstance(message, LeaseRevoked):
            daemon.work = [work for work in daemon.work if work.lease.epoch != message.epoch]

    def say(self, daemon: Daemon, *messages: object) -> None:
        """A daemon says something, if it has a stream."""
        for message in messages:
            if daemon.attached:
                self.hand(HostSaid(daemon.name, message))  # type: ignore[arg-type]

    # --- what daemons do -----------------------------------------------------------------------------------------

    def act(self) -> None:
        """A moment passes and somebody acts."""
        self.now += STEP_S
        if self.machine.wakeup_at() <= self.now:
            self.hand(TimeReached())
        if self.waiting and self.dice.below(3) == 0:
            self.hand(self.waiting.pop(0))
        daemon = self.dice.choose(list(self.daemons.values()))
        if not daemon.joined:
            self.join(daemon)
        elif daemon.work and self.dice.below(3):
            self.fetch(daemon)
        elif not daemon.complete:
            self.take(daemon)

    def join(self, daemon: Daemon) -> None:
        """A daemon wants the blob."""
        if daemon.attached:
            daemon.joined = True
            self.say(daemon, Join(BLOB, self.pieces.size, REGISTRY, may_fetch=True))

    def fetch(self, daemon: Daemon) -> None:
        """A daemon fetches the next piece of its first lease; it tells so, or forgets to until the end."""
        work = daemon.work[0]
        self.origin[work.at] += 1
        daemon.bits |= 1 << work.at
        work.at += 1
        if work.lease.inline:
            daemon.work.clear()
            self.hand(InlineArrived(daemon.name, BLOB))
            return
        received = self.pieces.span_bytes(work.lease.start, work.at)
        if work.at == work.lease.end:
            daemon.work.remove(work)
        if self.dice.below(2):
            self.progress(daemon)
        if work.at == work.lease.end or self.dice.below(2):
            self.say(daemon, LeaseProgress(BLOB, work.lease.epoch, work.at, received))

    def take(self, daemon: Daemon) -> None:
        """A daemon takes a piece that a parent holds, or cries for help."""
        missing = full(self.pieces.count) & ~daemon.bits
        for work in daemon.work:
            missing &= ~(full(work.lease.end) & ~full(work.at))
        offered = [
            (parent, bits) for parent in self.parents(daemon) if (bits := self.offer(daemon, parent, missing))
        ]
        if offered:
            parent, bits = self.dice.choose(offered)
            index = self.dice.choose(list(indexes(bits))[:16])
            daemon.bits |= 1 << index
            self.crossed[daemon.zone, index] += parent.zone != daemon.zone
        elif missing and self.now >= daemon.starved_at + STARVING_S and not daemon.work:
            daemon.starved_at = self.now
            self.say(daemon, Starving(BLOB, missing))
        if self.dice.below(4) == 0 or not missing:
            self.progress(daemon)
        if daemon.attached and daemon.bits == full(self.pieces.count) and not daemon.work:
            daemon.complete = True
            self.say(daemon, Completed(BLOB))

    def parents(self, daemon: Daemon) -> list[Daemon]:
        """Return the parents that live."""
        return [self.daemons[name] for name in sorted(daemon.parents) if name in self.daemons]

    def offer(self, daemon: Daemon, parent: Daemon, missing: int) -> int:
        """Return what a parent has to give: what is not to be imported, only in its own zone."""
        far = daemon.obeys and parent.zone != daemon.zone
        return parent.bits & missing & (daemon.imports if far else missing)

    def progress(self, daemon: Daemon) -> None:
        """A daemon tells what it holds."""
        if daemon.told_bits != daemon.bits and daemon.attached:
            daemon.told_bits = daemon.bits
            self.say(daemon, Progress((TaskProgress(BLOB, daemon.bits),)))

    # --- faults --------------------------------------------------------------------------------------------------

    def kill(self, daemon: Daemon) -> None:
        """A host dies with all that it holds."""
        del self.daemons[daemon.name]
        if daemon.attached:
            self.hand(HostLost(daemon.name))

    def detach(self, daemon: Daemon) -> None:
        """A stream breaks; the daemon goes on."""
        daemon.attached = False
        self.hand(HostLost(daemon.name))

    def attach(self, daemon: Daemon) -> None:
        """A daemon attaches again."""
        daemon.attached = True
        daemon.told_bits = daemon.bits
        self.hand(HostAttached(daemon.hello(self.pieces)))

    def restart_scheduler(self) -> None:
        """The scheduler starts anew, knowing nothing; the store is as empty."""
        self.machine = SchedulerMachine(CONFIG, Dice(self.dice.throw()))
        self.waiting.clear()
        self.epoch = Epoch(0)
        for daemon in self.daemons.values():
            daemon.attached = False

    def finish(self) -> None:
        """Run until every daemon is complete."""
        for _ in range(STEPS_MAX):
            if all(daemon.complete for daemon in self.daemons.values()):
                return
            self.act()
        stuck = [daemon for daemon in self.daemons.values() if not daemon.complete]
        raise AssertionError(f"stuck: {stuck[:3]} {self.machine.cluster.tasks[BLOB].leases}")

    def origin_count(self) -> list[int]:
        """Return how often each piece left the origin."""
        return [self.origin[index] for index in range(self.pieces.count)]


SHAPES = [
    (1, 64 * PIECE_BYTES_MIN, 1),
    (2, 64 * PIECE_BYTES_MIN, 1),
    (12, 64 * PIECE_BYTES_MIN, 3),
    (40, 128 * PIECE_BYTES_MIN, 1),
    (20, 6 * PIECE_BYTES_MIN, 2),
    (9, 5000, 1),
]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("hosts", "size", "zones"), SHAPES)
def test_every_host_completes_and_each_piece_leaves_the_origin_once(
    seed: int, hosts: int, size: int, zones: int
) -> None:
    swarm = Swarm(seed, hosts, size, zones)
    swarm.finish()
    assert swarm.origin_count() == [1] * swarm.pieces.count
    leases = -(-size // (8 * PIECE_BYTES_MIN))
    assert len(swarm.owners) >= min(hosts, leases, 2), "one host fetched it all"


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    ("hosts", "size", "zones"),
    [(12, 64 * PIECE_BYTES_MIN, 3), (20, 6 * PIECE_BYTES_MIN, 2), (5, 64 * PIECE_BYTES_MIN, 4)],
)
def test_each_piece_comes_into_a_zone_once(seed: int, hosts: int, size: int, zones: int) -> None:
    swarm = Swarm(seed, hosts, size, zones)
    swarm.finish()
    assert max(swarm.crossed.values()) == 1
    assert sum(swarm.crossed.values()) == (zones - 1) * swarm.pieces.count


@pytest.mark.parametrize("seed", range(4))
def test_a_zone_that_comes_late_imports_the_blob_once_and_shares_the_work(seed: int) -> None:
    swarm = Swarm(seed, 6, 128 * PIECE_BYTES_MIN, 1)
    swarm.finish()
    late = [Daemon(HostId(f"late{number}"), "z9") for number in range(6)]
    for daemon in late:
        swarm.daemons[daemon.name] = daemon
        swarm.hand(HostAttached(daemon.hello(swarm.pieces)))
    for daemon in late:
        swarm.join(daemon)
    assert all(daemon.imports for daemon in late), "somebody has nothing to do"
    swarm.finish()
    assert swarm.crossed == Counter({("z9", index): 1 for index in range(swarm.pieces.count)})
    assert swarm.origin_count() == [1] * swarm.pieces.count


@pytest.mark.parametrize("obeying", [0, 2])
def test_hosts_that_do_not_know_imports_complete_too(obeying: int) -> None:
    swarm = Swarm(7, 12, 64 * PIECE_BYTES_MIN, 3, obeying)
    swarm.finish()
    assert swarm.origin_count() == [1] * swarm.pieces.count


@pytest.mark.parametrize("seed", range(8))
def test_streams_that_break_and_come_back_cost_no_byte(seed: int) -> None:
    swarm, dice = Swarm(seed, 10, 64 * PIECE_BYTES_MIN, 2), Dice(seed)
    for _ in range(12):
        for _ in range(100):
            swarm.act()
        daemon = dice.choose(list(swarm.daemons.values()))
        swarm.detach(daemon)
        for _ in range(dice.below(40)):
            swarm.act()
        swarm.attach(daemon)
    swarm.finish()
    fetched_while_away = sum(count - 1 for count in swarm.origin_count())
    assert fetched_while_away <= 12 * 3, "a piece is fetched again only if its one holder was away"
    assert min(swarm.origin_count()) == 1


@pytest.mark.parametrize("seed", range(8))
def test_a_restarted_scheduler_costs_no_byte(seed: int) -> None:
    swarm, dice = Swarm(seed, 10, 64 * PIECE_BYTES_MIN, 2), Dice(seed)
    while not all(daemon.joined for daemon in swarm.daemons.values()):
        swarm.act()
    for _ in range(dice.below(1200)):
        swarm.act()
    swarm.restart_scheduler()
    for daemon in dice.sample(list(swarm.daemons.values()), 10):
        for _ in range(dice.below(60)):
            swarm.act()
        swarm.attach(daemon)
    swarm.finish()
    assert swarm.origin_count() == [1] * swarm.pieces.count


@pytest.mark.parametrize("seed", range(10))
def test_hosts_that_die_take_only_what_they_alone_held(seed: int) -> None:
    swarm, dice = Swarm(seed, 16, 64 * PIECE_BYTES_MIN, 2), Dice(seed)
    for _ in range(6):
        for _ in range(dice.below(400)):
            swarm.act()
        swarm.kill(dice.choose(list(swarm.daemons.values())))
    swarm.finish()
    assert min(swarm.origin_count()) >= 1
    assert sum(swarm.origin_count()) <= 2 * swarm.pieces.count
