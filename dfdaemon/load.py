"""How fast this host gives and takes, measured while it is busy: the scheduler makes slow hosts leaves.

An uplink is measured only while several uploads share it: one alone may be held back by its child's side.
"""

from swarm.messages import Load

CROWD = 3
"""Uploads at once from which on the uplink is taken to be the limit."""
MEASURE_S = 1.0
"""Crowded time that makes a measurement: many pieces on a fast link."""


class LoadMeter:
    """Counts the bytes of crowded times."""

    def __init__(self) -> None:
        self._crowded_since: float | None = None
        self._seconds = 0.0
        self._sent_bytes = 0
        self._received_before = 0

    def look(self, uploads: int, sent_bytes: int, received_bytes: int, now: float) -> Load | None:
        """Uploads began or ended: `uploads` run now, `sent_bytes` were sent by the one that ended.

        `received_bytes` counts all that was ever received. Returns a measurement when there is enough for one.
        """
        if self._crowded_since is not None:
            self._seconds += now - self._crowded_since
            self._sent_bytes += sent_bytes
        elif uploads >= CROWD and not self._seconds:
            self._received_before = received_bytes
        self._crowded_since = now if uploads >= CROWD else None
        if self._seconds < MEASURE_S:
            return None
        received = received_bytes - self._received_before
        load = Load(int(self._sent_bytes / self._seconds), int(received / self._seconds), uploads)
        self._seconds, self._sent_bytes, self._received_before = 0.0, 0, received_bytes
        return load
