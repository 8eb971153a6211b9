"""How long another host may be silent before it counts as dead, learned from how long such hosts take to answer.

A fixed time is wrong on one side or the other: on an idle network a host that says nothing for a second is gone, and
where a thousand hosts start at once, or share a processor, every host needs seconds. TCP has the same problem and a
proven answer (RFC 6298): wait for the mean and four times the mean deviation. What was waited for in vain counts as
an answer after twice that time, so that waiting too short mends itself. One estimate serves all hosts that a daemon
talks to: what makes many of them slow at once is a lack of processor, often our own; for one that is slow by
itself there are hedges and other parents.
"""

MEAN_SHARE, DEVIATION_SHARE = 1 / 8, 1 / 4
"""Weight of a new measurement (RFC 6298, section 2)."""
DEVIATIONS = 4
"""Deviations that are added to the mean (RFC 6298, section 2)."""
LIMIT_S_MAX = 15.0
"""Longest wait: as long as a machine that is gone is not missed (peer_stream.py)."""
START_S = 5.0
"""Least wait until something was heard: whoever starts may do so together with all others."""


class Patience:
    """The estimate of one daemon."""

    def __init__(self, start_s: float = START_S) -> None:
        self._start_s = start_s
        self._mean = 0.0
        self._deviation = 0.0
        self._is_known = False

    def limit_s(self, least_s: float) -> float:
        """Return how long to wait now for something that takes no longer than `least_s` where nobody is busy."""
        learned = self._mean + DEVIATIONS * self._deviation if self._is_known else self._start_s
        return max(least_s, min(LIMIT_S_MAX, learned))

    def heard(self, seconds: float) -> None:
        """A host said what was waited for after this time."""
        if not self._is_known:
            self._is_known = True
            self._mean, self._deviation = seconds, seconds / 2
            return
        self._deviation += DEVIATION_SHARE * (abs(seconds - self._mean) - self._deviation)
        self._mean += MEAN_SHARE * (seconds - self._mean)

    def missed(self, waited_s: float) -> None:
        """A host said nothing for so long, and was given up."""
        self.heard(2 * waited_s)
