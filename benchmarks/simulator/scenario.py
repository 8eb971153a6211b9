"""What is simulated, as data: blobs, hosts, links, arrivals and faults. Sizes in bytes, rates in bytes per
second, times in seconds."""

from dataclasses import dataclass, replace
from enum import Enum

MIB = 1 << 20


class FaultKind(Enum):
    """What goes wrong."""

    HOST_DIES = "host-dies"
    """Its process ends: its connections break at once."""
    HOST_VANISHES = "host-vanishes"
    """Its machine is cut off: nobody hears anything, until silence has lasted too long."""
    HOST_RETURNS = "host-returns"
    """With what was on its disk."""
    SCHEDULER_DIES = "scheduler-dies"
    SCHEDULER_RETURNS = "scheduler-returns"
    """Knowing nothing."""
    HOST_LIES = "host-lies"
    """From now on every piece that it sends is corrupt."""
    HOST_FORGES = "host-forges"
    """From now on every piece that it sends is another, with a digest that fits."""


class Target(Enum):
    """Which host a fault strikes, where that is decided when it strikes."""

    OWNER = "owner"
    """Whoever fetches from the origin."""
    PARENT = "parent"
    """Whoever sends to most others."""
    DEAD = "dead"
    """Whoever died first and is not back."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault at one time. `host`: a host's number, or how to choose one; None for the scheduler's faults."""

    at: float
    kind: FaultKind
    host: int | Target | None = None


@dataclass(frozen=True, slots=True)
class OriginModel:
    """The registry: its total rate, the most of one connection, and the time to the first byte of an
    answer."""

    bytes_per_s: float = 125e6
    connection_bytes_per_s: float = 125e6
    latency_s: float = 0.02
    honours_range: bool = True


@dataclass(frozen=True, slots=True)
class Scenario:
    """One run. Host i arrives at i x spread_s / hosts and wants every blob at once."""

    hosts: int
    blobs: tuple[int, ...] = (256 * MIB,)
    link_bytes_per_s: float = 125e6
    rates_known: bool = False
    """Whether the daemons' configuration tells the rates of their links."""
    latency_s: float = 0.0002
    control_latency_s: float = 0.0005
    store_latency_s: float = 0.0005
    silence_s: float = 15.0
    """How long a connection may be silent before its other end counts as gone."""
    hash_bytes_per_s: float = 1.4e9
    spread_s: float = 0.5
    late: int = 0
    """How many of the hosts, the last ones, arrive only at `late_at`."""
    late_at: float = 60.0
    zones: int = 1
    full_disks: tuple[int, ...] = ()
    """Hosts without room on disk: they stream through a ring in memory."""
    origin: OriginModel = OriginModel()
    faults: tuple[Fault, ...] = ()
    time_limit_s: float = 600.0

    @property
    def limit_s(self) -> float:
        """The fluid bound: no schedule moves all bytes to all hosts in less time (Mundinger et al. 2008)."""
        size = sum(self.blobs)
        together = self.origin.bytes_per_s + self.hosts * self.link_bytes_per_s
        return max(size / self.origin.bytes_per_s, size / self.link_bytes_per_s, self.hosts * size / together)

    def arrival_s(self, number: int) -> float:
        """Return when a host arrives."""
        return self.late_at if number >= self.hosts - self.late else number * self.spread_s / self.hosts


def _herd(herd: Scenario) -> Scenario:
    return herd


def _deaths(herd: Scenario) -> Scenario:
    """Kill owners, and hosts that others depend on, one after the other; some come back."""
    step = herd.limit_s / 8
    faults = (
        Fault(1 * step, FaultKind.HOST_DIES, Target.OWNER),
        Fault(2 * step, FaultKind.HOST_DIES, Target.PARENT),
        Fault(3 * step, FaultKind.HOST_VANISHES, Target.PARENT),
        Fault(4 * step, FaultKind.HOST_DIES, Target.OWNER),
        Fault(5 * step, FaultKind.HOST_RETURNS, Target.DEAD),
    )
    return replace(herd, faults=faults)


def _scheduler_restart(herd: Scenario) -> Scenario:
    down = herd.limit_s / 3
    faults = (Fault(down, FaultKind.SCHEDULER_DIES), Fault(down + 2.0, FaultKind.SCHEDULER_RETURNS))
    return replace(herd, faults=faults)


def _liar(herd: Scenario) -> Scenario:
    return replace(herd, faults=(Fault(herd.limit_s / 4, FaultKind.HOST_LIES, Target.PARENT),))


SCENARIOS = {"herd": _herd, "deaths": _deaths, "scheduler-restart": _scheduler_restart, "liar": _liar}
"""What can be asked for by name: what to do to a herd without faults."""
