"""Hosts attach, attach again and get lost. Hello rebuilds all that is known of a host; nothing else is durable.

A host that attaches again keeps its pieces and leases: what it holds now is entered before what it lost goes.
"""

from scheduler import cluster as bounds
from scheduler.cluster import Cluster
from scheduler.granting import Granting
from scheduler.host import Host, HostEvent
from scheduler.lease import Lease, LeaseState
from scheduler.membership import Membership
from scheduler.peer import Peer
from scheduler.task import Task, TaskState
from swarm import availability
from swarm.ids import UNGRANTED, Epoch, TaskId
from swarm.messages import ActiveTask, HeldLease, Hello, LeaseRevoked, Settings

HELD_LEASES_MAX = 16
"""Fetches that a host may have of one blob when it attaches; it makes at most four at once."""
EPOCH_MAX = Epoch(2**63)
"""A fetch with a higher one is invented: epochs count grants, and those that follow it must still fit into 64 bits."""
HOSTS_PER_PACE = 2000
"""So many hosts tell their progress four times a second; the pace halves each time they double."""
PACE_MIN_S, PACE_MAX_S = 0.25, 2.0
STARVING_MAX_S = 1.0
"""A host may call for help as often as it tells its progress, and once a second in the largest clusters: one whose
parents all had too many children in a herd's first second fell behind by as long as its next call had to wait, and
never made it up (simulated, docs/decisions/0074)."""
UNSURE_PACES = 1.2
"""Within this part of the pace, and the time on the way, every host has told of what it took from one that is lost."""
UNSURE_S_MAX = 1.0
"""Not longer: who needs a piece that is truly lost waits for it."""


def pace_s(hosts: int, current_s: float) -> float:
    """Return the progress interval for a number of hosts; it falls only once they are well below the step."""
    pace = PACE_MIN_S
    while pace < PACE_MAX_S and hosts > HOSTS_PER_PACE * pace / PACE_MIN_S * (
        0.8 if pace < current_s else 1.0
    ):
        pace *= 2
    return pace


def settings_at(pace: float) -> Settings:
    """Return how hosts should behave that tell their progress every `pace` seconds."""
    return Settings(pace, min(STARVING_MAX_S, pace), leases_imports=True)


class Attachment:
    """The life of streams."""

    def __init__(self, cluster: Cluster, membership: Membership, granting: Granting) -> None:
        self._cluster = cluster
        self._membership = membership
        self._granting = granting
        self._pace_s = PACE_MIN_S

    def attached(self, hello: Hello) -> None:
        """A host says who it is, what it holds and what it is downloading; of one named twice, the last counts."""
        host = self._admit(hello)
        if host is None:
            return
        self._cluster.send(host, settings_at(self._pace_s))
        self._cluster.note("host_attached", None, host, active=len(hello.active), held=len(hello.held))
        self._set_pace()
        before = list(host.tasks)
        host.shed.clear()
        active = list({download.task: download for download in hello.active}.values())
        active = active[: bounds.TASKS_PER_HOST_MAX]
        rejoined = [entered for download in active if (entered := self._rejoin(host, download)) is not None]
        self._take_inventory(host, hello)
        self._forget_past(host, before, {download.task for download in active})
        for task, peer in rejoined:
            self._membership.answer(task, peer, self._cluster.placement(task).neighbours // 2)
            self._granting.serve(task)

    def _admit(self, hello: Hello) -> Host | None:
        """Return the host in its new state; None when there are too many."""
        cluster, info = self._cluster, hello.info
        host = cluster.hosts.get(info.host)
        if host is None:
            if len(cluster.hosts) >= bounds.HOSTS_MAX:
                cluster.note("overload", table="hosts", limit=bounds.HOSTS_MAX)
                return None
            host = cluster.hosts[info.host] = Host(info)
        cluster.attached += not host.is_attached()
        tasks = [cluster.tasks[task] for task in host.tasks]
        for task in tasks:
            task.unfile(task.peers[host.id])
        host.info = info
        host.upload = host.upload or info.upload_bytes_per_s
        host.happen(HostEvent.ATTACH)
        for task in tasks:
            task.file(task.peers[host.id])
        return host

    def _set_pace(self) -> None:
        pace = pace_s(self._cluster.attached, self._pace_s)
        if pace != self._pace_s:
            self._pace_s = pace
            for host in self._cluster.hosts.values():
                self._cluster.send(host, settings_at(self._pace_s))

    def _take_inventory(self, host: Host, hello: Hello) -> None:
        """Replace what the host held whole, and let tasks of the moment know."""
        cluster = self._cluster
        cluster.inventory.clear(host)
        active = {download.task for download in hello.active}
        for blob in hello.held:
            if blob.task in active:
                continue
            cluster.inventory.add(host, blob.task, blob.size)
            task = cluster.tasks.get(blob.task)
            if task is None:
                continue
            peer = task.peers.get(host.id)
            if peer is None:
                cluster.add_holder(task, host)
            elif blob.size == task.pieces.size:
                self._membership.complete(task, peer)

    def _forget_past(self, host: Host, before: list[TaskId], active: set[TaskId]) -> None:
        """Remove the host from tasks that it no longer takes part in, and end leases that it no longer works on.

        One that holds a blob of another size than the task's takes no part in it either.
        """
        for task_id in before:
            task = self._cluster.tasks.get(task_id)
            peer = task.peers.get(host.id) if task is not None else None
            if task is None or peer is None or task_id in active:
                continue
            if host.held.get(task_id) != task.pieces.size:
                self._membership.remove(task, peer)
        for lease in list(host.leases):
            if lease.task not in active:
                self._end(self._cluster.tasks[lease.task], lease)

    def _end(self, task: Task, lease: Lease) -> None:
        self._granting.release(task, lease)
        self._granting.resume(task, [lease])
        self._cluster.satisfied(task)

    def _rejoin(self, host: Host, active: ActiveTask) -> tuple[Task, Peer] | None:
        """Rebuild one download: its pieces and its leases. Nothing is granted before all of Hello is taken in."""
        entered = self._membership.enter(host, active)
        if entered is None:
            return None
        task, peer = entered
        recovering = self._cluster.is_recovering()
        if recovering:
            task.reported = True
            self._cluster.stay_recovering()
            if task.state is not TaskState.LOADING:
                self._membership.recover(task)
        kept = [lease for lease in task.leases if lease.host == host.id and lease.state is LeaseState.SAVING]
        if active.size == task.pieces.size:
            adopted = [self._adopt(task, peer, held, recovering) for held in active.leases[:HELD_LEASES_MAX]]
            kept += [lease for lease in adopted if lease is not None]
        for lease in list(task.leases):
            if lease.host == host.id and lease not in kept:
                self._granting.release(task, lease)
        return entered

    def _adopt(self, task: Task, peer: Peer, held: HeldLease, recovering: bool) -> Lease | None:
        """Enter a fetch that a host works on, unless another does.

        During recovery the host knows better than our table: grants of ours are fresh, its fetch is not. Later the
        table is right. Either way no later grant has its epoch: a host that still ends the fetch under it would take a
        new lease for that.
        """
        if not 0 <= held.start <= held.next_piece < held.end <= task.pieces.count or held.epoch > EPOCH_MAX:
            return None
        task.epoch = max(task.epoch, held.epoch)
        known = self._known(task, peer, held)
        if known is not None:
            known.next_piece = max(known.next_piece, min(held.next_piece, known.end))
            if known not in peer.leases:
                peer.leases.append(known)
            self._granting.renew(task, known)
            return known
        rivals = self._rivals(task, peer, held)
        if any(not recovering or rival.adopted for rival in rivals):
            if held.epoch != UNGRANTED:
                self._cluster.send(peer.host, LeaseRevoked(task.id, held.epoch))
            return None
        for rival in rivals:
            self._granting.revoke(task, rival)
        return self._enter(task, peer, held)

    def _known(self, task: Task, peer: Peer, held: HeldLease) -> Lease | None:
        for lease in task.leases:
            if lease.host == peer.host.id and lease.epoch == held.epoch and lease.end == held.end:
                return lease
        return None

    def _rivals(self, task: Task, peer: Peer, held: HeldLease) -> list[Lease]:
        """Return other leases on pieces that this fetch is still to bring."""
        if not peer.stores:
            return []
        mine = availability.span(held.next_piece, held.end)
        return [lease for lease in task.leases if lease.bits() & mine]

    def _enter(self, task: Task, peer: Peer, held: HeldLease) -> Lease:
        """Make the lease anew. One that runs to the end may be of an origin that ignores Range: it teaches nothing."""
        size = task.pieces.span_bytes(held.next_piece, held.end)
        deadline = self._cluster.now + self._cluster.config.lease.timeout_s
        lease = Lease(
            task.id,
            peer.host.id,
            self._cluster.registry(peer.registry).name,
            held.epoch,
            held.next_piece,
            held.end,
            size,
            deadline,
            private=not peer.stores,
            no_range=held.end == task.pieces.count,
            state=LeaseState.STARTED,
            adopted=True,
        )
        self._granting.register(task, peer, lease)
        return lease

    def lost(self, host: Host) -> None:
        """A stream ended: the host's pieces are out of reach at once, its fetches may live on."""
        self._detach(host, keep_leases=True)
        self._cluster.note("host_lost", None, host)

    def left(self, host: Host) -> None:
        """A host stops altogether, and says so."""
        self._detach(host, keep_leases=False)
        self._cluster.note("host_left", None, host)

    def _detach(self, host: Host, keep_leases: bool) -> None:
        cluster = self._cluster
        cluster.attached -= host.is_attached()
        host.happen(HostEvent.LOSE)
        cluster.inventory.clear(host)
        host.shed.clear()
        unsure_s = min(UNSURE_S_MAX, self._pace_s * UNSURE_PACES)
        for task_id in list(host.tasks):
            task = cluster.tasks[task_id]
            self._membership.remove(task, task.peers[host.id], keep_leases, unsure_s)
        cluster.forget_host(host)
        self._set_pace()
