"""Who waits for pieces that nobody holds and nobody may fetch is told so: it may turn to the origin itself."""

from scheduler.cluster import Cluster
from scheduler.peer import Peer
from scheduler.task import Task, TaskState
from swarm.messages import NoSource


class Sourceless:
    """Says NoSource, once to each that waits."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def report(self, task: Task, asking: Peer | None = None) -> None:
        """Nobody may fetch what nobody holds: tell those who wait, once each, unless more hosts may yet attach.

        `asking`: only this one, that called for help. The others were told when nobody was left to fetch, or call
        themselves; to look at all of them for each that calls would take a herd's time squared.
        """
        if task.state is not TaskState.ACTIVE or self._cluster.is_recovering():
            return
        if asking is None:
            self.warn_all(task, task.free())
        else:
            self._warn_waiting(task, asking, task.free())

    def warn_all(self, task: Task, missing: int) -> None:
        """Tell those who wait for missing pieces, once each."""
        for peer in list(task.peers.values()):
            self._warn_waiting(task, peer, missing)

    def _warn_waiting(self, task: Task, peer: Peer, missing: int) -> None:
        serves_itself = not peer.stores and peer.may_fetch
        if peer.is_downloading() and not peer.warned and not serves_itself and missing & ~peer.bits:
            self._warn(task, peer)

    def _warn(self, task: Task, peer: Peer) -> None:
        peer.warned = True
        self._cluster.send(peer.host, NoSource(task.id, task.last_fault))
        self._cluster.note("no_source", task, peer.host, fault=task.last_fault.name)

    def warn_if_shunned(self, task: Task, peer: Peer, wanted: int) -> None:
        """Tell a peer that has sorted out every holder of what it wants, and for whom nobody fetches it, to do so.

        Its reports are claims: for all others those pieces count as held, and stay unleased.
        """
        if not peer.refused or wanted & (task.leased | task.free()):
            return
        holders = (other for other in task.peers.values() if other.bits & wanted and other.serves())
        if all(other.host.id in peer.refused for other in holders):
            self._warn(task, peer)
