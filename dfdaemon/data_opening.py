"""Who may open data connections: a child's counter, and a parent's memory of the counters it has seen.

Each OPEN proves its counter with the opening key of the control connection (swarm/handshake.py), and each counter is
good for one connection: whoever repeats what was overheard is refused. Connections overtake each other, so that the
parent takes counters out of order, as IPsec does (RFC 4303, section 3.4.3).
"""

from swarm.frames import OpenFrame
from swarm.handshake import is_proof, prove_open
from swarm.ids import HostId

WINDOW = 64
"""Counters behind the newest that are still taken: eight times the connections that one child may have."""


class Opener:
    """The child's end: opens data connections under one key."""

    def __init__(self, host: HostId, key: bytes) -> None:
        self._host = host
        self._key = key
        self._counter = 0

    def open(self) -> OpenFrame:
        """Return the first frame of one more data connection."""
        self._counter += 1
        return OpenFrame(self._host, self._counter, prove_open(self._key, self._counter))


class Gate:
    """The parent's end: tells which OPENs of one key are good."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._newest = 0
        self._seen = 1
        """Bit n: the counter `newest - n` was used. Counters begin at 1."""

    def admits(self, frame: OpenFrame) -> bool:
        """Tell whether an OPEN is of this key and the first with its counter, which is then used up."""
        if not is_proof(frame.proof, prove_open(self._key, frame.counter)):
            return False
        ahead = frame.counter - self._newest
        if ahead > 0:
            kept = self._seen << ahead if ahead < WINDOW else 0
            self._newest, self._seen = frame.counter, (kept & ((1 << WINDOW) - 1)) | 1
            return True
        bit = 1 << -ahead if -ahead < WINDOW else 0
        fresh = bool(bit) and not self._seen & bit
        self._seen |= bit
        return fresh
