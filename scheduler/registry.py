"""One origin registry: how many connections it gets, whether it honours Range, and when it asked us to wait.

Connections follow additive increase, multiplicative decrease: one more when the last second brought more bytes
than the one before with all connections in use; half of them when the registry throttles or goes silent.
"""

from dataclasses import dataclass, field
from enum import Enum

from scheduler.lease import Lease
from swarm.ids import HostId, TaskId

WINDOW_S = 1.0
"""Time over which rates are compared: long against a round trip, short against a layer."""
FADING = 0.5
"""The best rate counts for so much less with each window: an origin, or a whole cluster, may have become slower."""
GROWTH = 1.03
"""A rate that grew by less is noise."""
NO_RANGE_S = 600.0
"""How long "ignores Range" is believed: a pull-through cache honours it once it holds the blob."""
RETRY_AFTER_DEFAULT_S = 1.0
RETRY_AFTER_MAX_S = 300.0
"""A registry that asks for more is asked again after this, by one host."""
ALONE_S_MAX = 30.0
"""How long one host's word for that counts: many registries count the requests of an address or an account, and another
host may be welcome. A second one that hears the same makes it count in full."""
HUNGRY_MAX = 4096
"""Tasks that wait for a connection of one registry; a task beyond it is served when something happens to it."""


class Ranges(Enum):
    """Whether a registry honours Range."""

    UNKNOWN = "unknown"
    HONOURED = "honoured"
    IGNORED = "ignored"


@dataclass(slots=True, eq=False)
class Registry:
    """The budget of one registry, for the whole cluster."""

    name: str
    connections: int
    connections_max: int
    leases: dict[Lease, None] = field(default_factory=dict)
    hungry: dict[TaskId, None] = field(default_factory=dict)
    ranges: Ranges = Ranges.UNKNOWN
    ranges_until: float = 0.0
    blocked_until: float = 0.0
    throttled: HostId | None = None
    """Who heard last that it wants us to wait, and until when."""
    throttled_until: float = 0.0
    window_at: float = 0.0
    window_bytes: int = 0
    last_rate: float = 0.0
    best_rate: float = 0.0
    slowed_at: float = -WINDOW_S

    def busy(self) -> int:
        """Return how many connections are taken."""
        return sum(1 for lease in self.leases if lease.is_busy())

    def is_blocked(self, now: float) -> bool:
        """Tell whether it asked us to wait."""
        return now < self.blocked_until

    def is_in_use(self, now: float) -> bool:
        """Tell whether it has leases, tasks that wait for it, or a pause that it asked for."""
        return bool(self.leases or self.hungry) or self.is_blocked(now)

    def has_room(self, now: float, extra: int = 0) -> bool:
        """Tell whether another lease may start, with `extra` connections more than usual, up to the most."""
        return not self.is_blocked(now) and self.busy() < min(self.connections + extra, self.connections_max)

    def honours(self, now: float) -> Ranges:
        """Return what is known about Range now."""
        if self.ranges is Ranges.IGNORED and now >= self.ranges_until:
            self.ranges = Ranges.UNKNOWN
        return self.ranges

    def learned_ranges(self, honoured: bool, now: float) -> None:
        """Take in how it answered a request with a Range."""
        self.ranges = Ranges.HONOURED if honoured else Ranges.IGNORED
        self.ranges_until = now + NO_RANGE_S

    def measure(self, received: int, now: float) -> bool:
        """Count bytes that arrived; return whether the connections became more."""
        self.window_bytes += received
        elapsed = now - self.window_at
        if elapsed < WINDOW_S:
            return False
        rate = self.window_bytes / elapsed if elapsed < 3 * WINDOW_S else 0.0
        grows = rate > self.last_rate * GROWTH and self.connections < self.connections_max and self._is_full()
        if grows:
            self.connections += 1
        self.window_at, self.window_bytes, self.last_rate = now, 0, rate
        self.best_rate = max(rate, FADING * self.best_rate)
        return grows

    def _is_full(self) -> bool:
        """Tell whether tasks wait for connections, and none is free."""
        return bool(self.hungry) and self.busy() >= self.connections

    def slow_down(self, now: float) -> None:
        """Halve the connections, at most once a window: the leases of one moment fail together."""
        if now - self.slowed_at >= WINDOW_S:
            self.slowed_at = now
            self.connections = max(1, self.connections // 2)
            self.last_rate = 0.0

    def throttle(self, host: HostId, retry_after_s: float, now: float) -> float:
        """Grant nothing for as long as it asked a host, and less afterwards; return how long that host waits."""
        wait = min(retry_after_s if retry_after_s > 0 else RETRY_AFTER_DEFAULT_S, RETRY_AFTER_MAX_S)
        agreed = self.throttled not in (None, host) and now < self.throttled_until
        self.throttled, self.throttled_until = host, max(self.throttled_until, now + wait)
        self.blocked_until = max(self.blocked_until, now + (wait if agreed else min(wait, ALONE_S_MAX)))
        self.slow_down(now)
        return wait

    def wait(self, task: TaskId) -> None:
        """Queue a task that needs a connection."""
        if len(self.hungry) < HUNGRY_MAX:
            self.hungry[task] = None
