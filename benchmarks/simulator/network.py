"""Links that transfers share. A transfer's rate is the smallest of its fair shares: of the sender's uplink, the
receiver's downlink, and the most that one connection may have. Only the transfers on a link that changed are
looked at again.

Left out: TCP's ramp, loss, and the redistribution of what a slower neighbour leaves over (max-min).
"""

from collections.abc import Callable

from benchmarks.simulator.clock import Alarm, Clock

UNLIMITED = float("inf")


class Link:
    """One direction of one host's connection to the network, in bytes per second."""

    __slots__ = ("bytes_per_s", "flows", "moved_bytes")

    def __init__(self, bytes_per_s: float) -> None:
        self.bytes_per_s = bytes_per_s
        self.flows: dict[Flow, None] = {}  # in order: the same seed gives the same transcript
        self.moved_bytes = 0.0
        """Bytes of transfers that have left, or changed their rate."""

    def share(self) -> float:
        """Return what each transfer gets."""
        return self.bytes_per_s / max(1, len(self.flows))


class Flow:
    """One transfer of a number of bytes, at least one, over an uplink and a downlink."""

    __slots__ = (
        "_alarm",
        "_clock",
        "_ended",
        "_rate",
        "_rate_max",
        "_since",
        "down",
        "left_bytes",
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
    ) -> None:
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
        up.flows[self] = None
        down.flows[self] = None
        _share_again(up, down)

    @property
    def sent_bytes(self) -> int:
        """Return the bytes that went over the wire by now."""
        running = self._rate * (self._clock.now - self._since) if self in self.up.flows else 0.0
        return self.total_bytes - int(max(0.0, self.left_bytes - running))

    def cancel(self) -> int:
        """End the transfer early; return the bytes that went over the wire."""
        if self in self.up.flows:
            self._settle()
            self._leave()
        return self.total_bytes - int(self.left_bytes)

    def adjust(self) -> None:
        """Take the rate that the links allow now."""
        rate = min(self.up.share(), self.down.share(), self._rate_max)
        if rate == self._rate:
            return
        self._settle()
        self._rate = rate
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = self._clock.after(self.left_bytes / rate, self._finish)

    def _settle(self) -> None:
        """Count what was sent at the rate so far."""
        self._move(min(self.left_bytes, self._rate * (self._clock.now - self._since)))
        self._since = self._clock.now

    def _move(self, sent: float) -> None:
        self.left_bytes -= sent
        self.up.moved_bytes += sent
        self.down.moved_bytes += sent

    def _finish(self) -> None:
        self._move(self.left_bytes)
        self._alarm = None
        self._leave()
        self._ended()

    def _leave(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        del self.up.flows[self], self.down.flows[self]
        _share_again(self.up, self.down)


def _share_again(up: Link, down: Link) -> None:
    for flow in up.flows:
        flow.adjust()
    for flow in down.flows:
        if flow.up is not up:
            flow.adjust()
