"""One limit on bytes per second, shared by everything that takes from it."""

import asyncio

BURST_S = (
    0.010  # idle time that may be caught up: it bounds a burst, and hides the timer's granularity of 1 ms
)
STEP_S = 0.002  # how much of the whole rate one taker gets at a time
STEP_BYTES_MIN = 16 << 10
STEP_BYTES_MAX = 1 << 20


class Pacer:
    """A token bucket: takers are served in the order in which they come, and wait for their time.

    In any interval of t seconds at most `bytes_per_s * (t + BURST_S)` bytes pass, and one step a taker.
    `bytes_per_s` may be changed at any time; None is no limit.
    """

    def __init__(self, bytes_per_s: float | None = None) -> None:
        self.bytes_per_s = bytes_per_s
        self._free_at = 0.0

    @property
    def step_bytes(self) -> int:
        """The largest amount to take at once if the flow shall be smooth."""
        if self.bytes_per_s is None:
            return STEP_BYTES_MAX
        return max(STEP_BYTES_MIN, min(STEP_BYTES_MAX, int(self.bytes_per_s * STEP_S)))

    async def take(self, count: int) -> None:
        """Wait until `count` bytes may pass."""
        if self.bytes_per_s is None:
            return
        now = asyncio.get_running_loop().time()
        self._free_at = max(self._free_at, now - BURST_S) + count / self.bytes_per_s
        if self._free_at > now:
            await asyncio.sleep(self._free_at - now)
