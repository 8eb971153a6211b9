"""What is simulated, as data: blobs, hosts, links, arrivals and faults. Sizes in bytes, rates in bytes per
second, times in seconds."""

from dataclasses import dataclass
from enum import Enum

MIB = 1 << 20


class FaultKind(Enum):
    """What goes wrong."""

    HOST_DIES = "host-dies"
    HOST_RETURNS = "host-returns"
    """With what was on its disk."""
    SCHEDULER_DIES = "scheduler-dies"
    SCHEDULER_RETURNS = "scheduler-returns"
    """Knowing nothing."""
    HOST_LIES = "host-lies"
    """From now on every piece that it sends is corrupt."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault at one time. `host` is a host's number; it does not matter for the scheduler's faults."""

    at: float
    kind: FaultKind
    host: int = -1


@dataclass(frozen=True, slots=True)
class OriginModel:
    """The registry: its total rate, the most of one connection, and the time to the first byte of an
    answer."""

    bytes_per_s: float = 125e6
    connection_bytes_per_s: float = 125e6
    latency_s: float = 0.02


@dataclass(frozen=True, slots=True)
class Scenario:
    """One run. Host i arrives at i x spread_s / hosts and wants every blob at once."""

    hosts: int
    blobs: tuple[int, ...] = (256 * MIB,)
    link_bytes_per_s: float = 125e6
    latency_s: float = 0.0002
    control_latency_s: float = 0.0005
    store_latency_s: float = 0.0005
    hash_bytes_per_s: float = 1.4e9
    spread_s: float = 0.5
    zones: int = 1
    origin: OriginModel = OriginModel()
    faults: tuple[Fault, ...] = ()
    time_limit_s: float = 600.0

    @property
    def limit_s(self) -> float:
        """The fluid bound: no schedule moves all bytes to all hosts in less time (Mundinger et al. 2008)."""
        size = sum(self.blobs)
        together = self.origin.bytes_per_s + self.hosts * self.link_bytes_per_s
        return max(size / self.origin.bytes_per_s, size / self.link_bytes_per_s, self.hosts * size / together)
