"""How fast requests may follow each other where a registry counts them: so many a second, saved up for a second."""

WAIT_S_MAX = 10.0
"""Who would wait longer is refused instead: containerd would give up on the headers a little later."""


class Pace:
    """Hands out moments, one request each (a generic cell rate, as ATM networks count)."""

    def __init__(self, per_s: float) -> None:
        self._gap_s = 1.0 / per_s
        self._free_at = float("-inf")

    def wait_s(self, now: float) -> float:
        """Take a turn: return the seconds until it; more than WAIT_S_MAX means that no turn was taken."""
        saved = max(0.0, 1.0 - self._gap_s)
        at = max(self._free_at, now - saved)
        wait = max(0.0, at - now)
        if wait <= WAIT_S_MAX:
            self._free_at = at + self._gap_s
        return wait
