"""Which hosts are slow: measured below half the median, they are leaves. As equals a few slow the whole swarm."""

from scheduler.host import Host
from swarm.ids import HostId
from swarm.messages import Load

MEDIAN_S = 1.0
"""How often the median is taken: it costs a sort of all hosts."""
HOSTS_MIN = 4
"""Measured hosts without which there is no median to speak of."""
SLOW_SHARE = 0.5


class Speed:
    """The median of the measured uplinks, and each host's place beside it."""

    def __init__(self) -> None:
        self._median = 0.0
        self._next_at = 0.0

    def measured(self, host: Host, load: Load, hosts: dict[HostId, Host], now: float) -> None:
        """Take in a host's measured rates; one that sent nothing says nothing about its uplink."""
        if load.upload_bytes_per_s <= 0:
            return
        host.upload = load.upload_bytes_per_s
        if now >= self._next_at:
            self._next_at = now + MEDIAN_S
            known = sorted(other.upload for other in hosts.values() if other.upload and other.is_attached())
            self._median = known[len(known) // 2] if len(known) >= HOSTS_MIN else 0.0
            for other in hosts.values():
                self._judge(other)
        self._judge(host)

    def _judge(self, host: Host) -> None:
        host.is_slow = 0 < host.upload < SLOW_SHARE * self._median
