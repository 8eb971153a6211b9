"""Who fetches of a task next, and the order of layers: what is unpacked first leaves the origin first.

A host that pulls an image fetches of its earliest layer that has free pieces. Of a later one it takes

- no lease, while the earlier one may have another, or waits for the origin's answer to its last;
- a brief one where that takes long, in the first moments, and where the later one got nothing for PAUSE_S: then there
  is a connection more than usual for it, for those of earlier layers may all be busy for minutes.

Each host is asked about its own layers only: what it says of them moves nobody else.
"""

from collections.abc import Iterator

from scheduler import leases
from scheduler.cluster import Cluster
from scheduler.peer import Peer
from scheduler.task import Task, TaskState
from swarm.layers import FIRST_PLACE, PAUSE_S

ANSWER_S = 1.0
"""An earlier layer that got nothing for so long holds no other up: its origin, or its host, is slow."""


class Order:
    """Chooses owners of leases, and tells which layers wait for others."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def open_registries(self, task: Task) -> frozenset[str]:
        """Return the registries through which this task may start another lease now."""
        cluster = self._cluster
        return frozenset(
            name for name in task.registries if leases.is_open(task, cluster.registry(name), cluster.now)
        )

    def next_owner(self, task: Task, registries: frozenset[str], first: Peer | None = None) -> Peer | None:
        """Return who fetches next, `first` if it can; None when nobody can, or all have earlier layers to fetch."""
        cluster = self._cluster
        if (
            first is not None
            and first.may_fetch_for_all()
            and leases.may_lease(task, first, registries, cluster.now)
            and not self.waits(task, first)
        ):
            return first
        able = leases.able_owners(task, registries, cluster.now, cluster.dice)
        ready = [peer for peer in able if not self.waits(task, peer)]
        if len(ready) < len(able):
            self.look_again(task)
        return leases.best_owner(task, ready, cluster.now) if ready else None

    def look_again(self, task: Task) -> None:
        """Others go before a task: if it may be a later layer, see to it that it is looked at again soon."""
        now = self._cluster.now
        if task.is_layer and task.may_wait(now):
            self._cluster.agenda.wake(("task", task.id), min(now + ANSWER_S, task.fed_at + PAUSE_S))

    def is_brief(self, task: Task, peer: Peer) -> bool:
        """Tell whether a lease should be over soon: a host's connections are for earlier layers, of which some is free.

        Perhaps it has only not asked for these yet.
        """
        begins = task.leased_at is None
        if begins and peer.layer is not None and peer.layer.place > FIRST_PLACE:
            return True
        return any(self._can_be_leased(other) for other, _ in self._earlier(task, peer))

    def waits(self, task: Task, peer: Peer) -> bool:
        """Tell whether a host leaves a layer alone, because an earlier one may have another lease now, or soon."""
        if not task.may_wait(self._cluster.now):
            return False
        return any(self._is_next(other, mine) for other, mine in self._earlier(task, peer))

    def _can_be_leased(self, task: Task) -> bool:
        return task.state is TaskState.ACTIVE and self._cluster.now >= task.hold_until

    def _is_next(self, task: Task, peer: Peer) -> bool:
        now = self._cluster.now
        if not self._can_be_leased(task) or leases.is_young(task, now) or now >= task.fed_at + ANSWER_S:
            return False
        return leases.is_open(task, self._cluster.registry(peer.registry), now)

    def _earlier(self, task: Task, peer: Peer) -> Iterator[tuple[Task, Peer]]:
        layer = peer.layer
        if layer is None or task.is_tiny():
            return
        for name, place in peer.host.layers[layer.image].items():
            other = self._cluster.tasks[name]
            mine = other.peers[peer.host.id]
            if place < layer.place and mine.may_fetch_for_all() and other.free():
                yield other, mine
