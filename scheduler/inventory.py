"""Which hosts hold which blobs whole, beyond the tasks of the moment: told by Hello, Completed and Leave."""

from scheduler.host import Host
from swarm.ids import HostId, TaskId

HELD_PER_HOST_MAX = 4096
"""Blobs that are remembered of one host: a node's disk rarely holds more; older ones are found again by nobody."""


class Inventory:
    """Blobs by host (Host.held) and hosts by blob, kept equal. Only attached hosts are in it."""

    def __init__(self) -> None:
        self._holders: dict[TaskId, dict[HostId, int]] = {}

    def add(self, host: Host, task: TaskId, size: int) -> None:
        """Record that a host holds a blob of this size."""
        if len(host.held) >= HELD_PER_HOST_MAX and task not in host.held:
            self.remove(host, next(iter(host.held)))
        host.held[task] = size
        self._holders.setdefault(task, {})[host.id] = size

    def remove(self, host: Host, task: TaskId) -> None:
        """Record that a host no longer holds a blob, if it did."""
        if host.held.pop(task, None) is None:
            return
        holders = self._holders[task]
        del holders[host.id]
        if not holders:
            del self._holders[task]

    def clear(self, host: Host) -> None:
        """Forget all that a host held."""
        for task in list(host.held):
            self.remove(host, task)

    def holders(self, task: TaskId) -> dict[HostId, int]:
        """Return the hosts that hold a blob, and its size as each of them tells it."""
        return self._holders.get(task, {})

    def validate(self, hosts: dict[HostId, Host]) -> None:
        """Assert that both directions agree."""
        pairs = {(task, host) for task, holders in self._holders.items() for host in holders}
        assert pairs == {(task, host.id) for host in hosts.values() for task in host.held}, (
            "inventory differs"
        )
        assert all(len(host.held) <= HELD_PER_HOST_MAX for host in hosts.values()), "a host holds too much"
