"""Lets a few hosts compute a blob's own digest, and spares the others that: `verify = "first-nodes"` of daemons."""

from scheduler.cluster import Cluster
from scheduler.commands import SaveRoot
from scheduler.host import Host
from scheduler.peer import Peer
from scheduler.task import Task
from swarm.messages import TaskInfo
from swarm.roots import NO_ROOT, BlobProved, Proven


class Proving:
    """Makes verifiers, counts what they tell, and lets the others know."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def inform(self, task: Task, peer: Peer) -> None:
        """Tell a peer that joined what is known of the blob, and whether it must compute the digest."""
        spared = self._spares(task, peer)
        self._cluster.send(peer.host, TaskInfo(task.id, task.pieces.size, task.records(), spared))
        if spared and task.verification.root:
            self._cluster.send(peer.host, Proven(task.id, task.verification.root))

    def _spares(self, task: Task, peer: Peer) -> bool:
        known = task.verification
        if not _takes_part(peer) or known.is_disputed:
            return False
        return bool(known.root) or not self._designate(task, peer)

    def _designate(self, task: Task, peer: Peer) -> bool:
        return task.verification.designate(peer.host.id, peer.host.info.zone, self._cluster.now)

    def proved(self, host: Host, task: Task, message: BlobProved) -> None:
        """A host found the blob's own digest right."""
        if host.is_trusted() and task.verification.vote(host.id, message.root):
            self._announce(task, host)

    def left(self, task: Task, peer: Peer) -> None:
        """A peer is gone: if it had still to tell, another does it."""
        before = task.verification.root
        if task.verification.leave(peer.host.id):
            if task.verification.root != before:
                self._announce(task, peer.host)
            self._replace(task, peer.host.info.zone)

    def discredit(self, task: Task, host: Host) -> None:
        """A host was found to lie: what it told of the blob counts no more, and another tells instead."""
        if host.id not in task.verification.verifiers:
            return
        if task.verification.discredit(host.id):
            self._announce(task, host)
        self._replace(task, host.info.zone)

    def _replace(self, task: Task, zone: str) -> None:
        """Let another host compute the digest, one of this zone if there is one."""
        known = task.verification
        if known.root or known.is_disputed:
            return
        able = [peer for peer in self._waiting(task) if peer.host.id not in known.verifiers]
        chosen = next((peer for peer in able if peer.host.info.zone == zone), able[0] if able else None)
        if chosen is not None and self._designate(task, chosen):
            self._cluster.send(chosen.host, Proven(task.id, NO_ROOT))

    def _announce(self, task: Task, host: Host) -> None:
        """What is proven changed: all who wait hear of it, and the shared store."""
        known = task.verification
        if known.is_disputed:
            self._cluster.note("root_conflict", task, host, told=len(known.verifiers))
        elif known.root:
            self._cluster.note("blob_proven", task, host, verifiers=len(known.verifiers))
        self._cluster.do(SaveRoot(task.id, known.root))
        for peer in self._waiting(task):
            self._cluster.send(peer.host, Proven(task.id, known.root))

    def _waiting(self, task: Task) -> list[Peer]:
        return [peer for peer in task.peers.values() if peer.is_downloading() and _takes_part(peer)]


def _takes_part(peer: Peer) -> bool:
    """Whether a peer's word is worth something, and it can wait for the others'."""
    return peer.shares_check and peer.stores and peer.host.is_trusted()
