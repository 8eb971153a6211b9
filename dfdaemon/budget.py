"""How much a daemon asks of parents at once, for all downloads together.

Where the downlink's rate is known, another piece is asked for only while less than 97 % of it is spoken for: by the
parents that send to us, each at the rate it had before, and by our fetches from the origin, as measured. A fetch never
stops peer downloads altogether. Where the rate is not known, there is a fixed number of slots; slow parents take parts
of one.
"""

from math import exp

from dfdaemon.config import DaemonConfig

FULL_SHARE = 0.97
"""Share of the downlink at which no more is asked for."""
NEW_TRANSFERS = 3
"""A parent of unknown rate is taken to fill this part of our downlink: few, fast transfers are best."""
REQUESTS_MAX = 32
"""Requests at once at most, however slow the parents: probes must not become a storm."""
SLOW_SHARE = 0.5
"""A parent that sends at less than this part of the typical rate takes a part of a slot: our link has room for more."""
METER_S = 0.3
"""Time over which the origin's rate is measured: several pieces, yet soon after a fetch ended it is forgotten."""


class Meter:
    """A rate in bytes per second, averaged with weights that fade over METER_S."""

    __slots__ = ("_at", "_rate")

    def __init__(self) -> None:
        self._rate = 0.0
        self._at = 0.0

    def add(self, count: int, now: float) -> None:
        """Bytes arrived."""
        self._rate = self.rate(now) + count / METER_S
        self._at = now

    def rate(self, now: float) -> float:
        """Return the rate now."""
        return self._rate * exp((self._at - now) / METER_S) if self._rate else 0.0


class RequestBudget:
    """Counts the requests in flight, and tells whether there is room for another."""

    def __init__(self, config: DaemonConfig) -> None:
        self.in_flight = 0
        self.origin = Meter()
        self.received_bytes = 0
        """All that ever arrived, from parents and origins."""
        self._slots = config.peer.download_slots
        self._limit = config.download_bytes_per_s * FULL_SHARE
        self._spoken_for = 0.0

    def has_room(self, now: float) -> bool:
        """Tell whether another piece may be asked for."""
        if not self._limit:
            return self._spoken_for < self._slots and self.in_flight < REQUESTS_MAX
        if self.in_flight == 0:
            return True
        return self.in_flight < REQUESTS_MAX and self._spoken_for + self.origin.rate(now) < self._limit

    def take(self, known_bytes_per_s: float, typical_bytes_per_s: float) -> float:
        """A piece was asked for of a parent, of all known ones; returns the share to give back.

        In bytes per second; in slots where the downlink's rate is not known.
        """
        if self._limit:
            share = known_bytes_per_s or self._limit / NEW_TRANSFERS
        else:
            is_slow = 0 < known_bytes_per_s < SLOW_SHARE * typical_bytes_per_s
            share = known_bytes_per_s / typical_bytes_per_s if is_slow else 1.0
        self.in_flight += 1
        self._spoken_for += share
        return share

    def give_back(self, share: float) -> None:
        """A request ended."""
        self.in_flight -= 1
        self._spoken_for = self._spoken_for - share if self.in_flight else 0.0

    def validate(self, in_flight: int) -> None:
        """Assert that the requests counted are those in flight."""
        assert self.in_flight == in_flight, (
            f"{self.in_flight} requests are counted, {in_flight} are in flight"
        )
        assert self._spoken_for >= -1.0, "less than nothing is spoken for"
