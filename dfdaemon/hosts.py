"""What a daemon knows of the hosts that it takes pieces from, for all blobs together: pace, room, and trouble."""

from collections import OrderedDict

from dfdaemon import picker
from swarm.ids import HostId

HOSTS_MAX = 1024
"""Hosts remembered; the longest unused go first. A daemon has some tens of neighbours."""
NEW_SHARE = 0.3
"""Weight of a new measurement in a mean: the last few count."""
BUSY_S = 1.0
"""How long a busy host is left alone when it never says that it has room: its word may be lost."""
BACKOFF_S = 0.5
"""Pause after a first failure; doubles with each in a row."""
BACKOFF_MAX_S = 30.0
"""Longest pause: a host that came back is found again within half a minute."""
PATIENCE_MAX = 64
"""How much deadlines may stretch, by doubling, on links slower than anything we assumed."""
UNKNOWN_BYTES_PER_S = 5e6
"""Pace assumed of the first host ever asked, for deadlines: 40 Mbit/s; slower links stretch their patience."""


def blend(mean: float, new: float) -> float:
    """Return a mean that takes in a new measurement; 0 is no mean yet."""
    return mean + NEW_SHARE * (new - mean) if mean else new


class Host:
    """One host that we take pieces from."""

    __slots__ = (
        "barred_until",
        "busy_until",
        "bytes_per_s",
        "name",
        "open_requests",
        "pace",
        "round_trip_s",
        "strikes",
    )

    def __init__(self, name: HostId) -> None:
        self.name = name
        self.pace = 0.0
        """Seconds per byte from request to arrival, mean; 0: not known."""
        self.bytes_per_s = 0.0
        """Rate of its transfers to us, mean; 0: not known."""
        self.round_trip_s = 0.0
        self.open_requests = 0
        self.busy_until = 0.0
        self.barred_until = 0.0
        self.strikes = 0

    def has_room(self, length: int, now: float) -> bool:
        """Tell whether it may be asked for a piece of `length` bytes now."""
        if self.busy_until > now or self.barred_until > now:
            return False
        return not self.open_requests or self.open_requests < picker.depth(
            self.round_trip_s, self.pace * length
        )

    def free_at(self) -> float:
        """Return when it may be asked again, as far as time alone decides."""
        return max(self.busy_until, self.barred_until)

    def refused(self, seconds: float, now: float) -> None:
        """It answered BUSY after `seconds`, which is a round trip."""
        self.busy_until = now + BUSY_S
        self.round_trip_s = min(self.round_trip_s or seconds, seconds)

    def strike(self, jitter: float, now: float) -> None:
        """It failed us: leave it alone for a while."""
        pause = min(BACKOFF_MAX_S, BACKOFF_S * 2 ** min(self.strikes, 10))
        self.barred_until = max(self.barred_until, now + pause * (0.75 + jitter / 2))
        self.strikes += 1


class HostBook:
    """All such hosts, and what is typical of them."""

    def __init__(self) -> None:
        self._hosts: OrderedDict[HostId, Host] = OrderedDict()
        self.typical_pace = 0.0
        """Seconds per byte, mean over all hosts; 0: not known."""
        self.typical_bytes_per_s = 0.0
        """Rate of a transfer to us, mean over all hosts; 0: not known."""
        self.patience = 1.0
        """By how much deadlines are stretched now: doubles when one is missed, halves when a piece arrives."""

    def get(self, name: HostId) -> Host:
        """Return what is known of a host."""
        host = self._hosts.get(name)
        if host is None:
            host = self._hosts[name] = Host(name)
            if len(self._hosts) > HOSTS_MAX:
                self._forget_one()
        return host

    def _forget_one(self) -> None:
        """Drop the oldest that nothing is asked of; a download that still knows it keeps the object."""
        for name, host in self._hosts.items():
            if not host.open_requests:
                del self._hosts[name]
                return

    def delivered(self, host: Host, length: int, waited_s: float, transfer_s: float) -> None:
        """A piece of `length` bytes came `waited_s` after it was asked for, within `transfer_s`."""
        pace = waited_s / length
        rate = length / max(transfer_s, 1e-6)
        host.pace = blend(host.pace, pace)
        host.bytes_per_s = blend(host.bytes_per_s, rate)
        self.typical_pace = blend(self.typical_pace, pace)
        self.typical_bytes_per_s = blend(self.typical_bytes_per_s, rate)
        self.patience = max(1.0, self.patience / 2)
        host.strikes = 0

    def overdue(self) -> None:
        """A deadline was missed: perhaps all of them were too short."""
        self.patience = min(PATIENCE_MAX, self.patience * 2)

    def expected_s(self, host: Host, length: int) -> float:
        """Return how long a piece of `length` bytes should take."""
        return (host.pace or self.typical_pace or 1 / UNKNOWN_BYTES_PER_S) * length
