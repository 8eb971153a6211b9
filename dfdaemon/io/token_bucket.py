"""A limit on bytes per second, shared by all transfers of a daemon in one direction."""

from threading import Lock

BURST_S = 0.010
"""Idle time that may be caught up: it bounds a burst, and hides the granularity of timers, 1 ms."""
STEP_S = 0.010
"""How much of the whole rate one transfer takes at once: more would not be smooth, less costs system calls."""
STEP_BYTES_MIN, STEP_BYTES_MAX = 16 << 10, 1 << 20
"""Below, a step costs more than its bytes; above, nothing is gained."""


class TokenBucket:
    """In any t seconds at most `bytes_per_s * (t + BURST_S)` bytes pass, and one step for each transfer.

    May be used by several threads. Times are seconds of any clock that never goes back.
    """

    def __init__(self, bytes_per_s: int) -> None:
        assert bytes_per_s > 0, "no limit is no bucket"
        self._bytes_per_s = bytes_per_s
        self._free_at = 0.0
        self._lock = Lock()
        self.step_bytes = max(STEP_BYTES_MIN, min(STEP_BYTES_MAX, int(bytes_per_s * STEP_S)))
        """The most to move at once."""

    @classmethod
    def of(cls, bytes_per_s: int) -> "TokenBucket | None":
        """Return a bucket, or None where 0 says that there is no limit."""
        return cls(bytes_per_s) if bytes_per_s else None

    def wait_s(self, now: float) -> float:
        """Return how long to wait before anything may be moved; 0 or less: not at all."""
        return self._free_at - now

    def reserve(self, count: int, now: float) -> float:
        """Let so many bytes pass as soon as all are through for which this was called before; return in how many
        seconds. So each transfer wakes once for each of its steps, and they take turns.

        A negative number gives back what will not be moved after all.
        """
        with self._lock:
            begin = max(self._free_at, now - BURST_S)
            self._free_at = begin + count / self._bytes_per_s
        return max(0.0, begin - now)

    def take(self, count: int, now: float) -> None:
        """So many bytes were moved."""
        with self._lock:
            self._free_at = max(self._free_at, now - BURST_S) + count / self._bytes_per_s
