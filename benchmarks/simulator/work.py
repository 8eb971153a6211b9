"""A host's one core, or its disk: does one thing after the other, each in its time."""

from benchmarks.simulator.clock import Clock


class Worker:
    """Something that is busy with what it was given, in order."""

    __slots__ = ("_clock", "_free_at")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._free_at = 0.0

    def delay(self, seconds: float) -> float:
        """Take on something that needs so many seconds; return how long it is until it is done."""
        now = self._clock.now
        self._free_at = max(now, self._free_at) + seconds
        return self._free_at - now
