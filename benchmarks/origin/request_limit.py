"""How many requests a registry takes from one address, as Docker Hub counts: so many in a window, then 429."""

from collections import deque


class RequestLimit:
    """At most `count` requests within any `window_s` seconds; 0 means no limit."""

    def __init__(self, count: int, window_s: float = 60.0) -> None:
        self.count = count
        self._window_s = window_s
        self._taken: deque[float] = deque()

    def wait_s(self, now: float) -> float:
        """Take a request if there is room, and return 0; otherwise return after how long there will be some."""
        while self._taken and self._taken[0] <= now - self._window_s:
            self._taken.popleft()
        if self.count and len(self._taken) >= self.count:
            return self._taken[0] + self._window_s - now
        self._taken.append(now)
        return 0.0
