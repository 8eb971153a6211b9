"""What lies between hosts: latencies, the links of zones, cuts between zones, and a count of what passes."""

from dataclasses import dataclass

from benchmarks.simulator.clock import Clock
from benchmarks.simulator.network import Link
from benchmarks.simulator.scenario import UNLIMITED, Scenario

WHOLE = -1


@dataclass(slots=True)
class Traffic:
    """Bytes of pieces that went over the wire from host to host, and those of them from zone to zone."""

    peer_bytes: int = 0
    cross_zone_bytes: int = 0


class Fabric:
    """Knows of each pair of zones how far apart they are, and whether anything passes."""

    def __init__(self, clock: Clock, scenario: Scenario) -> None:
        zones = range(scenario.zones)
        self.clock = clock
        self.traffic = Traffic()
        self.connect_timeout_s = scenario.connect_timeout_s
        self.cpu_s_per_piece = scenario.cpu_s_per_piece
        self.initial_window_bytes = scenario.initial_window_bytes
        self.latencies = [[scenario.latency_between(one, other) for other in zones] for one in zones]
        """Seconds one way, by the numbers of two zones."""
        self._zone_links = [(Link(scenario.zone_bytes_per_s), Link(scenario.zone_bytes_per_s)) for _ in zones]
        self._limited = scenario.zone_bytes_per_s < UNLIMITED
        self._cut = WHOLE

    def between(self, zone: int, other: int) -> tuple[Link, ...]:
        """Return the links that a transfer from one zone to another takes besides those of the hosts."""
        if zone == other or not self._limited:
            return ()
        return (self._zone_links[zone][0], self._zone_links[other][1])

    def passes(self, zone: int, other: int) -> bool:
        """Tell whether anything passes from one zone to another now."""
        return self._cut == WHOLE or (zone == self._cut) == (other == self._cut)

    def cut(self, zone: int) -> None:
        """Let nothing pass between a zone and all others."""
        self._cut = zone

    def heal(self) -> None:
        """Let everything pass again."""
        self._cut = WHOLE

    def count(self, zone: int, other: int, sent: int) -> None:
        """Count what a transfer moved."""
        self.traffic.peer_bytes += sent
        if zone != other:
            self.traffic.cross_zone_bytes += sent
