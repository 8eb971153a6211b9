"""What follows when a fetch from the origin fails: who is to blame decides who fetches next, and when."""

from scheduler.cluster import Cluster
from scheduler.granting import Granting
from scheduler.host import Host
from scheduler.lease import Lease
from scheduler.leases import BLAMED, FORBIDDEN
from scheduler.peer import Peer
from scheduler.task import Task
from swarm.messages import LeaseFailed, OriginFault, TaskInfo
from swarm.pieces import BLOB_BYTES_MAX

SIZE_CHANGES_MAX = 3
"""How often a task's size may be corrected: an origin that never tells the same is given up."""


class Faults:
    """Answers LeaseFailed."""

    def __init__(self, cluster: Cluster, granting: Granting) -> None:
        self._cluster = cluster
        self._granting = granting

    def failed(self, host: Host, task: Task, lease: Lease, message: LeaseFailed) -> None:
        """End the lease, blame whoever is to blame, and lease the missing suffix again."""
        fault = self._plausible(task, lease, message)
        self._cluster.note(
            "lease_failed", task, host, epoch=lease.epoch, fault=fault.name, next_piece=message.next_piece
        )
        self._granting.cut(task, lease, message.next_piece)
        peer = task.peers.get(host.id)
        if fault in BLAMED:
            self._blame(host, task, lease, fault)
        elif fault is OriginFault.THROTTLED:
            self._throttled(host, lease, message.retry_after_s)
        elif fault is OriginFault.NO_RANGE:
            self._cluster.registry(lease.registry).learned_ranges(False, self._cluster.now)
        elif fault is OriginFault.SIZE_MISMATCH:
            self._size_claimed(host, task, message.size)
        elif peer is not None:
            self._forbid(task, peer, fault)
        self._granting.resume(task, [lease])

    def _plausible(self, task: Task, lease: Lease, message: LeaseFailed) -> OriginFault:
        """Take claims that cannot be for what they amount to, so that none of them makes an endless circle."""
        fault = message.fault
        if fault is OriginFault.NO_RANGE and lease.no_range:
            return OriginFault.CUT
        if fault is not OriginFault.SIZE_MISMATCH:
            return fault
        if not 0 <= message.size <= BLOB_BYTES_MAX or message.size == task.pieces.size:
            return OriginFault.CUT
        if task.complete or task.size_changes >= SIZE_CHANGES_MAX:
            return OriginFault.WRONG_CONTENT
        return fault

    def _blame(self, host: Host, task: Task, lease: Lease, fault: OriginFault) -> None:
        if fault is OriginFault.TIMEOUT:
            self._cluster.registry(lease.registry).slow_down(self._cluster.now)
        self._granting.fruitless(task, host, fault)

    def _throttled(self, host: Host, lease: Lease, retry_after_s: float) -> None:
        """All wait as the registry asked; then others than this host are asked first."""
        registry = self._cluster.registry(lease.registry)
        host.pass_over(self._cluster.now + registry.throttle(host.id, retry_after_s, self._cluster.now))
        self._cluster.agenda.wake(("registry", registry.name), registry.blocked_until)

    def _forbid(self, task: Task, peer: Peer, fault: OriginFault) -> None:
        """This host may not fetch this blob any more: the origin denied it, or its client and credential are gone."""
        peer.may_fetch = False
        task.file(peer)
        if fault in FORBIDDEN:
            task.last_fault = fault

    def _size_claimed(self, host: Host, task: Task, size: int) -> None:
        """A host says that the origin has another size: one host alone may not make everybody start over.

        It fetches this blob no more, and whoever fetches next sees for itself. Nobody is left to ask if no other may
        fetch: then its word counts.
        """
        peer = task.peers.get(host.id)
        others = any(_may_confirm(other) for other in task.peers.values() if other is not peer)
        if task.claim_size(host.id, size) or not others:
            self._resize(task, size)
            return
        if peer is not None:
            self._forbid(task, peer, OriginFault.SIZE_MISMATCH)

    def _resize(self, task: Task, size: int) -> None:
        """The origin says how large the blob is: everybody starts over with that, and who said so fetches again."""
        for lease in list(task.leases):
            self._granting.revoke(task, lease)
        task.size_changes += 1
        for name, claimed in task.size_claims.items():
            claimant = task.peers.get(name)
            if claimant is not None and claimed == size:
                claimant.may_fetch = task.add_registry(claimant.registry)
        task.resize(size)
        for peer in task.peers.values():
            self._cluster.send(peer.host, TaskInfo(task.id, size))
        self._cluster.note("task_resized", task, size=size)


def _may_confirm(peer: Peer) -> bool:
    """Tell whether a peer will see at the origin what another says of it."""
    return peer.may_fetch and peer.is_downloading() and peer.host.is_trusted()
