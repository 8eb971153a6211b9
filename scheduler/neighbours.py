"""Makes peers neighbours and tells them: placement at a join, rescue of a starving host, children
for a lease owner, sources for an importer."""

from scheduler import placement
from scheduler.cluster import Cluster
from scheduler.peer import Peer
from scheduler.task import Task
from swarm.messages import Parent, Parents


class Neighbours:
    """The edges of all tasks. `Peer.parents` and `Peer.children` mirror each other, and change here only."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._searches = 0.0
        self._searched_at = 0.0

    def place(self, task: Task, peer: Peer, count: int) -> None:
        """Give a peer up to `count` more parents, and make it a parent of those that can use it."""
        config, dice = self._cluster.placement(task), self._cluster.dice
        count = min(count, config.parents_max - placement.near_parents(peer))
        if count <= 0:
            return
        chosen = self._familiar(task, peer, count)
        if len(chosen) < count:
            self._link_all(task, peer, chosen)
            more = placement.choose_parents(task, peer, count - len(chosen), config, dice)
            chosen.extend(more)
        self._link_all(task, peer, chosen)
        self._introduce(peer, chosen, task)
        mutual = 0
        for parent in chosen:
            if placement.is_mutual(parent, peer, mutual, config):
                mutual += 1
                self._link(task, parent, peer)
                self._introduce(parent, [peer], task)

    def _familiar(self, task: Task, peer: Peer, count: int) -> list[Peer]:
        """Return parents of the same host in the task it joined before: layers of an image share connections."""
        if task.complete > task.downloading:
            return []
        for other_id in reversed(peer.host.tasks):
            elsewhere = self._cluster.tasks[other_id].peers[peer.host.id]
            if other_id != task.id and elsewhere.parents:
                return placement.choose_familiar(task, peer, elsewhere, count)
        return []

    def rescue(self, task: Task, peer: Peer, wanted: int) -> bool:
        """Give a peer parents that hold what it wants; return whether there are any.

        One that has all the parents it may have gives up, in our books, those that hold nothing it wants.
        """
        limit, dice = self._limit(task), self._cluster.dice
        children_max = placement.rescue_children_max(self._cluster.placement(task))
        found = placement.choose_rescuers(task, peer, wanted, children_max, placement.RESCUE_LOOK, dice)
        if not found and self._may_search():
            found = placement.choose_rescuers(task, peer, wanted, children_max, placement.RESCUE_SEARCH, dice)
        for parent in list(peer.parents):
            if len(peer.parents) + len(found) <= limit:
                break
            if not parent.bits & wanted:
                self._unlink(task, peer, parent)
        found = found[: max(0, limit - len(peer.parents))]
        if found:
            self._link_all(task, peer, found)
            self._introduce(peer, found, task)
            self._cluster.note("rescue", task, peer.host, parents=len(found))
        return bool(found)

    def _may_search(self) -> bool:
        """Tell whether the scheduler has time to look at many holders; a second's worth may be used at once."""
        spent = self._searches - (self._cluster.now - self._searched_at) * placement.SEARCHES_PER_S
        self._searches, self._searched_at = max(0.0, spent), self._cluster.now
        if self._searches >= placement.SEARCHES_PER_S:
            return False
        self._searches += 1
        return True

    def give_children(self, task: Task, owner: Peer) -> None:
        """See that what a lease owner will hold can spread."""
        for child in placement.choose_children(
            task, owner, self._cluster.placement(task), self._cluster.dice
        ):
            self._link(task, child, owner)
            self._introduce(child, [owner], task)

    def give_sources(self, task: Task, importer: Peer, bits: int) -> None:
        """See that a peer knows hosts of other zones that hold, or fetch, these pieces that it is to import.

        One that has all the parents it may have gives up, in our books, those of other zones that hold none of them.
        """
        found = placement.choose_sources(task, importer, bits, self._cluster.dice)
        limit = self._limit(task)
        for parent in list(importer.parents):
            if len(importer.parents) + len(found) <= limit:
                break
            if parent.host.info.zone != importer.host.info.zone and not parent.bits & importer.importing:
                self._unlink(task, importer, parent)
        found = found[: max(0, limit - len(importer.parents))]
        self._link_all(task, importer, found)
        self._introduce(importer, found, task)

    def part(self, task: Task, peer: Peer) -> None:
        """Remove the edges to a peer's parents: it needs them no more."""
        for parent in list(peer.parents):
            self._unlink(task, peer, parent)

    def orphan(self, task: Task, peer: Peer) -> None:
        """Remove the edges to a peer's children; those that are left with few parents get others at once."""
        children = list(peer.children)
        for child in children:
            self._unlink(task, child, peer)
        enough = self._cluster.placement(task).neighbours // 2
        for child in children:
            if child.is_downloading() and len(child.parents) < enough:
                self.place(task, child, enough - len(child.parents))

    def separate(self, task: Task, child: Peer, parent: Peer) -> None:
        """Keep a pair apart: the child rejected the parent's piece."""
        child.refuse(parent.host.id)
        if parent in child.parents:
            self._unlink(task, child, parent)

    def _limit(self, task: Task) -> int:
        """Return how many parents a peer may have in all."""
        near = self._cluster.placement(task).parents_max
        return near if len(task.zones) < 2 else near + placement.SOURCES_ROOM

    def _link_all(self, task: Task, child: Peer, parents: list[Peer]) -> None:
        for parent in parents:
            self._link(task, child, parent)

    def _link(self, task: Task, child: Peer, parent: Peer) -> None:
        child.parents[parent] = None
        parent.children[child] = None
        if len(parent.children) == task.children_max:
            task.file(parent)

    def _unlink(self, task: Task, child: Peer, parent: Peer) -> None:
        del child.parents[parent]
        del parent.children[child]
        if len(parent.children) == task.children_max - 1:
            task.file(parent)

    def _introduce(self, child: Peer, parents: list[Peer], task: Task) -> None:
        if parents:
            told: tuple[Parent, ...] = tuple([parent.host.as_parent(parent.bits) for parent in parents])
            self._cluster.send(child.host, Parents(task.id, told))
