"""What is simulated, as data: blobs, hosts, links, arrivals and faults. Sizes in bytes, rates in bytes per
second, times in seconds."""

import math
from dataclasses import dataclass
from enum import Enum

from benchmarks.report import Links, fluid_limit_s
from swarm.pieces import PieceMap

MIB = 1 << 20
UNLIMITED = float("inf")


class FaultKind(Enum):
    """What goes wrong."""

    HOST_DIES = "host-dies"
    """Its process ends: its connections break at once."""
    HOST_VANISHES = "host-vanishes"
    """Its machine is cut off: nobody hears anything, until silence has lasted too long."""
    HOST_RETURNS = "host-returns"
    """With what was on its disk."""
    HOST_RETURNS_EMPTY = "host-returns-empty"
    """As a new machine of the same name: it pulls everything, and its time runs from now."""
    SCHEDULER_DIES = "scheduler-dies"
    SCHEDULER_RETURNS = "scheduler-returns"
    """Knowing nothing."""
    HOST_LIES = "host-lies"
    """From now on every piece that it sends is corrupt."""
    HOST_FORGES = "host-forges"
    """From now on every piece that it sends is another, with a digest that fits."""
    ZONE_CUT = "zone-cut"
    """Nothing passes between a zone (`host` is its number) and all others, the scheduler's among them."""
    ZONE_HEALS = "zone-heals"
    ORIGIN_SLOWS = "origin-slows"
    """It gives `amount` times its rate from now on."""
    ORIGIN_FAILS = "origin-fails"
    """Its connections break, and it answers 503 until it returns."""
    ORIGIN_RETURNS = "origin-returns"


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
    """One fault at one time. `host`: a host's number, or how to choose one; None for the scheduler's and the
    origin's faults."""

    at: float
    kind: FaultKind
    host: int | Target | None = None
    amount: float = 1.0


@dataclass(frozen=True, slots=True)
class OriginModel:
    """The registry: its total rate, the most of one connection, and the time to the first byte of an
    answer.

    `requests_max` in any `window_s`, 0: no budget; those beyond it are answered 429 with `retry_after_s`.
    """

    bytes_per_s: float = 125e6
    connection_bytes_per_s: float = 125e6
    latency_s: float = 0.02
    honours_range: bool = True
    requests_max: int = 0
    window_s: float = 10.0
    retry_after_s: float = 2.0


@dataclass(frozen=True, slots=True)
class Scenario:
    """One run. Hosts arrive one after the other, evenly within `spread_s`, in waves if there are several."""

    hosts: int
    blobs: tuple[int, ...] = (256 * MIB,)
    link_bytes_per_s: float = 125e6
    rates_known: bool = False
    """Whether the daemons' configuration tells the rates of their links."""
    slow_every: int = 0
    """Every so manieth host has a link of `slow_factor` times the rate; 0: none."""
    slow_factor: float = 0.25
    latency_s: float = 0.0002
    """One way, between hosts of a zone; `zone_latency_s`: between hosts of two zones."""
    zone_latency_s: float = 0.001
    zone_latencies_s: tuple[tuple[float, ...], ...] = ()
    """For each pair of zones, instead of those two; empty: they hold."""
    zone_bytes_per_s: float = UNLIMITED
    """What a zone can send to all others together, and receive from them."""
    zones: int = 1
    control_latency_s: float = 0.0005
    store_latency_s: float = 0.0005
    silence_s: float = 15.0
    """How long a connection may be silent before its other end counts as gone."""
    connect_timeout_s: float = 3.0
    """How long it takes to learn that a host cannot be reached through a cut."""
    hash_bytes_per_s: float = 1.4e9
    verify: str = "every-node"
    """Who computes the digests of blobs, as a daemon's setting of that name."""
    disk_bytes_per_s: float = UNLIMITED
    """Pieces are recorded once they are written, one after the other."""
    disk_bytes: float = UNLIMITED
    """Blobs beyond this stream through a ring in memory."""
    full_disks: tuple[int, ...] = ()
    """Hosts without room on disk at all."""
    cpu_s_per_piece: float = 0.0
    """What sending or receiving a piece takes of a host's one core, before it begins or after it came."""
    initial_window_bytes: int = 0
    """What TCP sends before the first acknowledgement on a connection that was idle; 0: it does not ramp up."""
    at_once: int = 0
    """Blobs that one host pulls at a time, in order, as containerd does; 0: all."""
    spread_s: float = 0.5
    waves: int = 1
    wave_s: float = 0.0
    """How long after each wave of hosts the next one arrives."""
    late: int = 0
    """How many of the hosts, the last ones, arrive only at `late_at`."""
    late_at: float = 60.0
    measured: str = ""
    """The group of hosts that the figures are of; empty: all."""
    link_alone: bool = False
    """Figures are compared with what a host's own link allows, whatever the origin and the others can give."""
    origin: OriginModel = OriginModel()
    faults: tuple[Fault, ...] = ()
    time_limit_s: float = 600.0

    @property
    def size(self) -> int:
        """The bytes that every host wants."""
        return sum(self.blobs)

    @property
    def limit_s(self) -> float:
        """The bound of the hosts whose links are not slow."""
        return self.limit_of(self.link_bytes_per_s)

    def limit_of(self, link_bytes_per_s: float) -> float:
        """Return the fluid bound of hosts with such links: what no schedule can beat (report.fluid_limit_s)."""
        if self.link_alone:
            return self.size / link_bytes_per_s
        shares = sum(self.link_of(number) for number in range(self.hosts)) / self.hosts
        return fluid_limit_s(self.size, self.hosts, Links(self.origin.bytes_per_s, shares, link_bytes_per_s))

    @property
    def rounds_limit_s(self) -> float:
        """The bound that minds that a piece is passed on only when it is whole: log2(hosts / origin) rounds more.

        The origin in units of links, at least one (Mundinger, Weber and Weiss 2008; a faster origin saves rounds).
        """
        link = self.link_bytes_per_s
        piece = max(PieceMap.of(size).piece_bytes for size in self.blobs)
        rounds = max(0.0, math.log2(self.hosts / max(1.0, self.origin.bytes_per_s / link)))
        return max(self.limit_s, (self.size + rounds * min(piece, self.size)) / link)

    def link_of(self, number: int) -> float:
        """Return the rate of a host's link, each way."""
        slow = self.slow_every and number % self.slow_every == self.slow_every - 1
        return self.link_bytes_per_s * (self.slow_factor if slow else 1.0)

    def group_of(self, number: int) -> str:
        """Return which of the scenario's groups a host belongs to."""
        if self.late:
            return "late" if number >= self.hosts - self.late else "herd"
        if self.slow_every:
            return "slow" if self.link_of(number) < self.link_bytes_per_s else "fast"
        return f"wave-{self._wave(number) + 1}" if self.waves > 1 else "all"

    def _wave(self, number: int) -> int:
        return number * self.waves // self.hosts

    def arrival_s(self, number: int) -> float:
        """Return when a host arrives."""
        first = self.hosts - self.late
        if number >= first:
            return self.late_at + (number - first) * self.spread_s / self.late
        wave = self._wave(number)
        start = -(-wave * self.hosts // self.waves)
        return wave * self.wave_s + (number - start) * self.spread_s * self.waves / self.hosts

    def latency_between(self, zone: int, other: int) -> float:
        """Return the seconds that a frame takes from one zone to another."""
        if self.zone_latencies_s:
            return self.zone_latencies_s[zone][other]
        return self.latency_s if zone == other else self.zone_latency_s
