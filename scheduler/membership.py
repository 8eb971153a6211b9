"""Peers come and go: Join and its answer, Completed, Leave, and what the loss of a host means for its tasks."""

from collections.abc import Sequence

from scheduler.cluster import TASKS_PER_HOST_MAX, Cluster
from scheduler.commands import SendInline
from scheduler.granting import Granting
from scheduler.host import Host
from scheduler.importing import Importing
from scheduler.lease import Lease, LeaseState
from scheduler.neighbours import Neighbours
from scheduler.peer import Peer, PeerEvent, PeerState
from scheduler.proving import Proving
from scheduler.task import Task, TaskEvent, TaskState
from swarm import availability
from swarm.layers import FIRST_PLACE
from swarm.messages import ActiveTask, Join
from swarm.pieces import BLOB_BYTES_MAX


class Membership:
    """Who takes part in which task."""

    def __init__(
        self,
        cluster: Cluster,
        neighbours: Neighbours,
        granting: Granting,
        importing: Importing,
        proving: Proving,
    ) -> None:
        self._cluster = cluster
        self._neighbours = neighbours
        self._granting = granting
        self._importing = importing
        self._proving = proving

    # --- joining -------------------------------------------------------------------------------------------

    def join(self, host: Host, join: Join | ActiveTask) -> None:
        """A host wants a blob: make it a peer, and answer it at once if the task is loaded."""
        entered = self.enter(host, join)
        if entered is not None:
            task, peer = entered
            peer.priority = join.priority if isinstance(join, Join) else peer.priority
            task.priority = min(task.priority, peer.priority)
            self.answer(task, peer, self._cluster.placement(task).neighbours)

    def enter(self, host: Host, join: Join | ActiveTask) -> tuple[Task, Peer] | None:
        """Make a host a peer of a task, in state JOINED; None when a bound is reached or the size cannot be."""
        if not 0 <= join.size <= BLOB_BYTES_MAX:
            return None
        has_room = join.task in host.tasks or len(host.tasks) < TASKS_PER_HOST_MAX
        task = self._cluster.open_task(join.task, join.size) if has_room else None
        if task is None:
            host.remember_shed(join)
            return None
        host.shed.pop(join.task, None)
        peer = self._peer(task, host)
        peer.registry, peer.warned = join.registry, False
        peer.stores, peer.shares_check = join.stores, join.shares_check
        peer.may_fetch = join.may_fetch and self._add_registry(task, join.registry)
        peer.place(task.id, join.layer)
        task.is_layer |= peer.layer is not None and peer.layer.place > FIRST_PLACE
        fits = join.size == task.pieces.size
        task.changed(peer, join.bits & task.all_bits() if fits else availability.NONE)
        if not peer.stores:
            self._neighbours.orphan(task, peer)
        return task, peer

    def _add_registry(self, task: Task, name: str) -> bool:
        """Have a task fetch from a registry too; False when it does so from as many others as it may.

        Who would fetch through that one gets no lease, so it must not count as one who may fetch.
        """
        if task.add_registry(name):
            return True
        for unused in task.drop_unused_registries():
            self._cluster.stop_waiting(task, unused)
        return task.add_registry(name)

    def answer(self, task: Task, peer: Peer, count: int) -> None:
        """Welcome a peer, unless its task is still being loaded: then TaskLoaded does."""
        task.happen(TaskEvent.WANTED)
        if task.state is not TaskState.LOADING:
            self.welcome(task, peer, count)

    def _peer(self, task: Task, host: Host) -> Peer:
        """Return the host's peer, in state JOINED."""
        peer = task.peers.get(host.id)
        if peer is None:
            peer = task.peers[host.id] = Peer(host)
            host.tasks[task.id] = None
            task.downloading += 1
            return peer
        if peer.state is PeerState.COMPLETE:
            task.complete -= 1
            task.downloading += 1
            self._cluster.inventory.remove(host, task.id)
        self._importing.end(task, peer)
        peer.happen(PeerEvent.JOIN)
        return peer

    def welcome(self, task: Task, peer: Peer, count: int) -> None:
        """Answer a joined peer: the blob's size and piece digests, parents, and leases where pieces are free."""
        cluster = self._cluster
        peer.happen(PeerEvent.WELCOME)
        task.file(peer)
        self._proving.inform(task, peer)
        cluster.note("join", task, peer.host, size=task.pieces.size, held=peer.bits.bit_count())
        if task.inline_held:
            cluster.do(SendInline((peer.host.id,), task.id))
            return
        if task.held & ~peer.bits or not task.is_tiny():
            self._neighbours.place(task, peer, count - len(peer.parents))
            if not peer.parents:
                self._neighbours.rescue(task, peer, task.all_bits() & ~peer.bits)
        self._granting.serve(task)
        if not peer.stores:
            self._granting.serve_privately(task, peer, task.all_bits() & ~peer.bits)

    def loaded(self, task: Task) -> None:
        """The shared store answered: everyone who waits is welcome."""
        task.happen(TaskEvent.LOADED)
        if task.reported and self._cluster.is_recovering():
            self.recover(task)
        for peer in list(task.peers.values()):
            if peer.state is PeerState.JOINED:
                self.welcome(task, peer, self._cluster.placement(task).neighbours)
        self._cluster.satisfied(task)

    def recover(self, task: Task) -> None:
        """Grant nothing for a task that an earlier scheduler may have leased, until all hosts had time to attach."""
        task.happen(TaskEvent.REPORTED)
        self._cluster.note("task_recovering", task)

    def recovered(self, tasks: Sequence[Task]) -> None:
        """All hosts had their time to attach: what is still missing may be leased."""
        for task in tasks:
            task.happen(TaskEvent.RECOVERED)
        for task in tasks:
            self._granting.serve(task)

    # --- leaving -------------------------------------------------------------------------------------------

    def complete(self, task: Task, peer: Peer) -> None:
        """A peer has it all: it needs no parents, and serves on, if it stores."""
        if peer.state is PeerState.COMPLETE:
            return
        if not peer.stores:
            self.remove(task, peer)
            return
        if peer.bits != task.all_bits():
            task.gained(peer, task.all_bits())
        self._granting.held_more(task, peer)
        ended = list(peer.leases)
        for lease in ended:
            self._granting.release(task, lease)
        peer.happen(PeerEvent.COMPLETE)
        task.downloading -= 1
        task.complete += 1
        self._neighbours.part(task, peer)
        task.file(peer)
        self._cluster.inventory.add(peer.host, task.id, task.pieces.size)
        self._cluster.note("complete", task, peer.host)
        self._granting.resume(task, ended)
        self._cluster.satisfied(task)

    def remove(self, task: Task, peer: Peer, keep_leases: bool = False, unsure_s: float = 0.0) -> None:
        """A peer is gone, its pieces with it. A lost host's leases live on: it fetches while it attaches again.

        For `unsure_s` what only it held is not leased again: others may have taken it, and not told yet.
        """
        ended = self._end_leases(task, peer, keep_leases)
        if peer.state is PeerState.COMPLETE:
            task.complete -= 1
        else:
            task.downloading -= 1
        peer.happen(PeerEvent.LEAVE)
        peer.place(task.id, None)
        task.unfile(peer)
        del task.peers[peer.host.id]
        del peer.host.tasks[task.id]
        self._proving.left(task, peer)
        freed = task.withdrawn(peer)
        if freed and unsure_s and task.downloading:
            task.doubt(freed, self._cluster.now + unsure_s)
            self._cluster.agenda.wake(("task", task.id), task.unsure_until)
        self._neighbours.part(task, peer)
        self._neighbours.orphan(task, peer)
        self._importing.sources_changed(task, peer.bits)
        if freed or ended:
            self._granting.resume(task, ended)
        if task.free() and not task.has_fetchers():
            self._granting.sourceless.report(task)
        self._cluster.satisfied(task)

    def _end_leases(self, task: Task, peer: Peer, keep: bool) -> list[Lease]:
        ended = []
        for lease in list(peer.leases):
            alive = lease.state in (LeaseState.GRANTED, LeaseState.STARTED) and not lease.private
            if keep and alive:
                self._granting.leave_behind(task, lease)
            else:
                self._granting.release(task, lease)
                ended.append(lease)
        peer.leases.clear()
        return ended
