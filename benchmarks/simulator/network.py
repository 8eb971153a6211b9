"""Links that transfers share as TCP would: what one transfer cannot use, the others of its link get (max-min fairness).

Each link has a level: the rate of those of its transfers that nothing else holds back. A transfer's rate is the lower
level of its two links, or the most of its connection. When a transfer comes or goes, levels are found anew from its
links outwards, until they change by less than TOLERANCE; so a link may for a while carry that much too much.

Left out: loss. TCP's ramp is a wait before a transfer begins (`ramp_s`).
"""

import math
from collections.abc import Callable

from benchmarks.simulator.clock import Alarm, Clock

UNLIMITED = float("inf")
TOLERANCE = 0.02
"""A level that would change by a smaller part stays: exact levels would touch the whole cluster each time."""
STEPS_MAX = 64
"""Links looked at for one change. A change dies out within a dozen; this only bounds the work."""


class Link:
    """One direction of one host's connection to the network, in bytes per second."""

    __slots__ = ("bytes_per_s", "flows", "level", "moved_bytes")

    def __init__(self, bytes_per_s: float) -> None:
        self.bytes_per_s = bytes_per_s
        self.level = bytes_per_s
        self.flows: dict[Flow, None] = {}  # in order: the same seed gives the same transcript
        self.moved_bytes = 0.0
        """Bytes of transfers that have left, or changed their rate."""

    def change(self, bytes_per_s: float) -> None:
        """Carry more or less from now on."""
        self.bytes_per_s = bytes_per_s
        _share_again(self)

    def fair_level(self) -> float:
        """Return the rate of a transfer that only this link holds back, as far as the other ends let all go."""
        left, count = self.bytes_per_s, len(self.flows)
        cap = 0.0
        for cap in sorted([flow.cap_beyond(self) for flow in self.flows]):
            if cap * count >= left:
                return left / count
            left -= cap
            count -= 1
        return left + cap


class Flow:
    """One transfer of a number of bytes, at least one, over an uplink, links between, and a downlink."""

    __slots__ = (
        "_alarm",
        "_clock",
        "_ended",
        "_rate",
        "_rate_max",
        "_since",
        "down",
        "left_bytes",
        "links",
        "total_bytes",
        "up",
    )

    def __init__(
        self,
        clock: Clock,
        up: Link,
        down: Link,
        total_bytes: int,
        ended: Callable[[], None],
        rate_max: float = UNLIMITED,
        between: tuple[Link, ...] = (),
    ) -> None:
        self.links = (up, *between, down)
        self.up = up
        self.down = down
        self.total_bytes = total_bytes
        self.left_bytes = float(total_bytes)
        self._clock = clock
        self._ended = ended
        self._rate = 0.0
        self._rate_max = rate_max
        self._since = clock.now
        self._alarm: Alarm | None = None
        for link in self.links:
            link.flows[self] = None
        _share_again(*self.links)
        self.adjust()

    @property
    def rate(self) -> float:
        """Return the bytes per second that it moves now."""
        return self._rate

    @property
    def sent_bytes(self) -> int:
        """Return the bytes that went over the wire by now."""
        running = self._rate * (self._clock.now - self._since) if self in self.up.flows else 0.0
        return self.total_bytes - int(max(0.0, self.left_bytes - running))

    def cap_beyond(self, link: Link) -> float:
        """Return the rate that everything but one of its links allows."""
        rate = self._rate_max
        for other in self.links:
            if other is not link and other.level < rate:
                rate = other.level
        return rate

    def cancel(self) -> int:
        """End the transfer early; return the bytes that went over the wire."""
        if self in self.up.flows:
            self._settle()
            self._leave()
        return self.total_bytes - int(self.left_bytes)

    def adjust(self) -> None:
        """Take the rate that the links allow now."""
        rate = self._rate_max
        for link in self.links:
            if link.level < rate:
                rate = link.level
        if rate == self._rate:
            return
        self._settle()
        self._rate = rate
        ends = self._clock.now + self.left_bytes / rate
        if self._alarm is None or ends < self._alarm.at:
            if self._alarm is not None:
                self._alarm.cancel()
            self._alarm = self._clock.at(ends, self._ring)

    def _settle(self) -> None:
        """Count what was sent at the rate so far."""
        now = self._clock.now
        self._move(min(self.left_bytes, self._rate * (now - self._since)))
        self._since = now

    def _move(self, sent: float) -> None:
        self.left_bytes -= sent
        for link in self.links:
            link.moved_bytes += sent

    def _ring(self) -> None:
        """The end has come, or was put off meanwhile."""
        ends = self._since + self.left_bytes / self._rate
        if ends > self._clock.now:
            self._alarm = self._clock.at(ends, self._ring)
            return
        self._move(self.left_bytes)
        self._alarm = None
        self._leave()
        self._ended()

    def _leave(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        for link in self.links:
            del link.flows[self]
        _share_again(*self.links)


def _share_again(*links: Link) -> None:
    """Find the levels of these links, and of those that this moves; then let all their transfers take their rates."""
    waiting = dict.fromkeys(links)
    changed: dict[Link, None] = {}
    for _ in range(STEPS_MAX):
        if not waiting:
            break
        link = next(iter(waiting))
        del waiting[link]
        level, before = link.fair_level(), link.level
        if abs(level - before) <= TOLERANCE * before:
            continue
        link.level = level
        changed[link] = None
        lower = min(level, before)
        for flow in link.flows:
            for other in flow.links:
                if other is not link and lower < other.level:  # else it is held back there, before and after
                    waiting[other] = None
    for link in changed:
        for flow in link.flows:
            flow.adjust()


def ramp_s(initial_window_bytes: int, rtt_s: float, bytes_per_s: float, count: int) -> float:
    """Return how long a new connection lags behind one at full rate: a round trip for each doubling of its window.

    The window must grow to what the rate fills in a round trip, or to all that is sent (RFC 6928, slow start).
    """
    needed = min(bytes_per_s * rtt_s, float(count))
    if initial_window_bytes <= 0 or needed <= initial_window_bytes:
        return 0.0
    return rtt_s * math.log2(needed / initial_window_bytes)
