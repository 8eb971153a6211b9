"""Grants leases and follows them to their end: each piece leaves the origin once, as long as a holder of it lives."""

from scheduler import leases
from scheduler.cluster import Cluster
from scheduler.commands import SaveEpoch, SendInline
from scheduler.host import Host
from scheduler.importing import Importing
from scheduler.lease import Lease, LeaseEvent, LeaseState
from scheduler.neighbours import Neighbours
from scheduler.order import Order
from scheduler.peer import Peer
from scheduler.registry import Ranges, Registry
from scheduler.sourceless import Sourceless
from scheduler.task import Task, TaskState
from swarm import availability
from swarm.ids import Epoch, HostId
from swarm.messages import LeaseRevoked, OriginFault

ATTACH_AGAIN_S = 1.5
"""How long a host whose stream broke keeps its leases: a daemon that lives attaches again within a second."""
SERVED_AT_ONCE_MAX = 64
"""Waiting tasks that one freed connection is offered to; there is rarely more than one connection to give."""


class Granting:
    """All leases of all tasks."""

    def __init__(self, cluster: Cluster, neighbours: Neighbours, importing: Importing) -> None:
        self._cluster = cluster
        self._neighbours = neighbours
        self._importing = importing
        self._order = Order(cluster)
        self.sourceless = Sourceless(cluster)

    # --- granting ------------------------------------------------------------------------------------------

    def serve(self, task: Task, preferred: int = 0, owner: Peer | None = None) -> None:
        """Grant leases on a task's free pieces as far as connections go: first `preferred` pieces, first to `owner`."""
        cluster = self._cluster
        if task.state is not TaskState.ACTIVE:
            return
        self._importing.serve(task, preferred, owner)
        if cluster.now < task.hold_until:
            cluster.agenda.wake(("task", task.id), task.hold_until)
            return
        granted = False
        while free := task.free():
            registries = self._order.open_registries(task)
            if not registries:
                self._order.look_again(task)
                break
            chosen = self._order.next_owner(task, registries, owner)
            if chosen is None:
                if leases.is_young(task, cluster.now):
                    cluster.agenda.wake(("task", task.id), cluster.now + leases.HERD_S)
                break
            self._grant(task, chosen, free, preferred)
            granted = True
        was_hungry = self._settle_hunger(task, owner)
        if not free and (granted or was_hungry):
            self._let_others(task)

    def _let_others(self, task: Task) -> None:
        """Nothing of a task is free any more: its hosts may fetch of later layers now."""
        for name in task.registries:
            registry = self._cluster.registry(name)
            if registry.hungry and registry.has_room(self._cluster.now):
                self._cluster.agenda.wake(("registry", registry.name), self._cluster.now)

    def _settle_hunger(self, task: Task, asking: Peer | None) -> bool:
        """Queue a task at its registries while it has free pieces; if nobody can ever fetch them, say so.

        Returns whether it was queued, and is not any more.
        """
        free, was_hungry = task.free(), False
        for name in task.registries:
            registry = self._cluster.registry(name)
            if free:
                registry.wait(task.id)
            elif task.id in registry.hungry:
                del registry.hungry[task.id]
                was_hungry = True
        if free and not task.has_fetchers():
            self.sourceless.report(task, asking)
        return was_hungry

    def feed(self, registry: Registry) -> None:
        """Offer a registry's free connections to the tasks that wait, the most urgent first; tiny ones need none."""
        now, tasks = self._cluster.now, [self._cluster.tasks[task] for task in registry.hungry]
        tasks.sort(key=lambda task: task.priority)
        tiny = [task for task in tasks if task.is_tiny()][:SERVED_AT_ONCE_MAX]
        others = [task for task in tasks if not task.is_tiny()][:SERVED_AT_ONCE_MAX]
        for task in tiny + others:
            if not task.is_tiny() and not registry.has_room(now, leases.connections_more(task, now)):
                self._order.look_again(task)
                continue
            del registry.hungry[task.id]
            self.serve(task)

    def _grant(self, task: Task, owner: Peer, free: int, preferred: int) -> None:
        cluster = self._cluster
        is_brief = self._order.is_brief(task, owner)
        config = cluster.config.lease
        crumbs = not task.is_layer  # an image has many layers, and each lease is a request
        start, end = leases.next_range(free, preferred, task.pieces, config, is_brief, leaves_crumbs=crumbs)
        ignored = cluster.registry(owner.registry).honours(cluster.now) is Ranges.IGNORED
        if ignored:
            start, end = availability.first_missing(~free), task.pieces.count
        self._start(task, owner, start, end, no_range=ignored, inline=task.is_tiny())

    def serve_privately(self, task: Task, peer: Peer, wanted: int) -> None:
        """Lease to a host that stores nothing what it needs next, if nobody holds it or fetches it for all."""
        cluster, first = self._cluster, wanted & -wanted
        if not first & task.free() or peer.stores or task.state is not TaskState.ACTIVE:
            return
        if task.has_fetchers() and cluster.now < task.fed_at + leases.PRIVATE_AFTER_S:
            return
        registry = cluster.registry(peer.registry)
        able = leases.may_lease(task, peer, frozenset((peer.registry,)), cluster.now)
        if not able or not registry.has_room(cluster.now) or cluster.now < task.hold_until:
            return
        mine = peer.bits
        for lease in peer.leases:
            mine |= availability.span(lease.start, lease.end)
        free = task.free() & ~mine
        before = (lease for lease in peer.leases if lease.start < first.bit_length())
        if not first & free or any(not lease.nearly_done() for lease in before):
            return
        start, end = leases.next_range(free, first, task.pieces, cluster.config.lease)
        ignored = registry.honours(cluster.now) is Ranges.IGNORED
        self._start(task, peer, start, task.pieces.count if ignored else end, private=True, no_range=ignored)

    def _start(
        self,
        task: Task,
        owner: Peer,
        start: int,
        end: int,
        private: bool = False,
        no_range: bool = False,
        inline: bool = False,
    ) -> None:
        cluster = self._cluster
        task.epoch = Epoch(task.epoch + 1)
        size = task.pieces.span_bytes(start, end)
        deadline = cluster.now + task.patience * cluster.config.lease.timeout_s
        lease = Lease(
            task.id,
            owner.host.id,
            cluster.registry(owner.registry).name,
            task.epoch,
            start,
            end,
            size,
            deadline,
            private,
            inline,
            no_range,
        )
        task.leased_at = cluster.now if task.leased_at is None else task.leased_at
        if not private:
            task.fed_at = cluster.now
        self.register(task, owner, lease)
        cluster.do(SaveEpoch(task.id, lease.epoch))

    def register(self, task: Task, owner: Peer, lease: Lease) -> None:
        """Enter a lease into all tables."""
        task.add_lease(lease)
        owner.leases.append(lease)
        owner.host.leases.append(lease)
        self._cluster.registry(lease.registry).leases[lease] = None
        self._cluster.agenda.wake(("task", task.id), lease.deadline)

    def saved(self, task: Task, epoch: Epoch) -> None:
        """The grant is durable: send the lease, or take it back if its owner went away or is done meanwhile."""
        lease = next(
            (lease for lease in task.leases if lease.epoch == epoch and lease.state is LeaseState.SAVING),
            None,
        )
        if lease is None:
            return
        owner = task.peers.get(lease.host)
        if owner is None or not owner.is_downloading() or not owner.host.is_trusted():
            self.release(task, lease)
            self.serve(task)
            return
        lease.happen(LeaseEvent.SAVED)
        self.renew(task, lease)
        self._cluster.send(owner.host, lease.message(self._cluster.config.lease.timeout_s))
        self._cluster.note("lease_granted", task, owner.host, epoch=epoch, start=lease.start, end=lease.end)
        if not (lease.private or lease.inline):
            self._neighbours.give_children(task, owner)
            self._importing.sources_changed(task, lease.bits())
            self._importing.serve(task)

    # --- following -----------------------------------------------------------------------------------------

    def renew(self, task: Task, lease: Lease) -> None:
        """Give a lease its full time again."""
        lease.deadline = self._cluster.now + task.patience * self._cluster.config.lease.timeout_s
        self._cluster.agenda.wake(("task", task.id), lease.deadline)

    def progressed(self, task: Task, lease: Lease, next_piece: int, received: int) -> None:
        """The owner tells how far it is: renew, measure, and grant what is due."""
        if lease.state is LeaseState.SAVING:
            return
        registry = self._cluster.registry(lease.registry)
        was_busy, was_unanswered = lease.is_busy(), lease.is_unanswered()
        lease.happen(LeaseEvent.ADVANCED)
        if received > lease.received and not lease.private:
            task.fed_at = self._cluster.now
        stands = received <= lease.received and next_piece <= lease.next_piece
        lease.is_paused = lease.private and stands and not was_unanswered
        grew = registry.measure(max(0, received - lease.received), self._cluster.now)
        learned = self._learn(task, lease, registry)
        lease.measure(received, self._cluster.now)
        if lease.next_piece < min(next_piece, lease.end):
            lease.next_piece = min(next_piece, lease.end)
            self._fruitful(task, lease)
        self.renew(task, lease)
        if lease.next_piece == lease.end:
            self._fetched(task, lease)
        self._importing.serve(task)
        if grew or learned or was_busy != lease.is_busy():
            self.feed(registry)
        elif was_unanswered:
            self.serve(task)
        if lease.private and lease.nearly_done():
            self._go_on_privately(task, lease)
        self._relieve(task, lease, registry)

    def _relieve(self, task: Task, lease: Lease, registry: Registry) -> None:
        """Give most of what a slow owner has left to a faster one, when a connection would idle otherwise."""
        end = leases.relieved_end(lease, task.pieces, registry)
        if end == lease.end or task.free() or task.state is not TaskState.ACTIVE:
            return
        slow, registries = task.peers.get(lease.host), self._order.open_registries(task)
        if slow is None or not registries:
            return
        other = self._order.next_owner(task, registries)
        if other is None or other is slow:
            return
        lease.end = end
        task.recount_leased()
        self._cluster.send(slow.host, lease.message(self._cluster.config.lease.timeout_s))
        self._cluster.note("lease_relieved", task, slow.host, epoch=lease.epoch, end=end)
        self.serve(task, owner=other)

    def _learn(self, task: Task, lease: Lease, registry: Registry) -> bool:
        """The origin answers part of a blob: it honours Range."""
        asked_for_range = lease.bytes < task.pieces.size and not lease.no_range
        if not asked_for_range or registry.ranges is Ranges.HONOURED:
            return False
        registry.learned_ranges(True, self._cluster.now)
        return True

    def _fruitful(self, task: Task, lease: Lease) -> None:
        task.failures = 0
        task.hold_until = 0.0
        task.patience = max(1, task.patience // 2)
        host = self._cluster.hosts.get(lease.host)
        if host is not None:
            host.fetch_succeeded()

    def _fetched(self, task: Task, lease: Lease) -> None:
        """All of the range arrived. A private one is over; another covers its pieces until Progress shows them."""
        lease.happen(LeaseEvent.ENDED)
        owner = task.peers.get(lease.host)
        if lease.private or owner is None or not availability.span(lease.start, lease.end) & ~owner.bits:
            self.release(task, lease)

    def _go_on_privately(self, task: Task, lease: Lease) -> None:
        owner = task.peers.get(lease.host)
        if owner is not None:
            self.serve_privately(task, owner, availability.span(lease.end, task.pieces.count) & ~owner.bits)

    def held_more(self, task: Task, owner: Peer) -> None:
        """An owner holds more pieces: its leases live, and those that are wholly held are over."""
        for lease in list(owner.leases):
            if lease.state is LeaseState.SAVING or lease.private:
                continue
            missing = availability.span(lease.start, lease.end) & ~owner.bits
            if missing and (
                lease.state is LeaseState.SETTLING or availability.has(missing, lease.next_piece)
            ):
                continue
            registry = self._cluster.registry(lease.registry)
            was_busy, was_unanswered = lease.is_busy(), lease.is_unanswered()
            learned = self._learn(task, lease, registry)
            lease.happen(LeaseEvent.ADVANCED)
            self._fruitful(task, lease)
            if missing:
                lease.next_piece = (missing & -missing).bit_length() - 1
                self.renew(task, lease)
            else:
                self.release(task, lease)
            if learned or not missing or was_busy != lease.is_busy():
                self.feed(registry)
            elif was_unanswered:
                self.serve(task)

    def leave_behind(self, task: Task, lease: Lease) -> None:
        """Its owner's stream broke: what it finished is out of reach, what it fetches waits for it a moment."""
        lease.start = lease.next_piece
        lease.deadline = min(lease.deadline, self._cluster.now + ATTACH_AGAIN_S)
        self._cluster.agenda.wake(("task", task.id), lease.deadline)
        task.recount_leased()

    # --- endings -------------------------------------------------------------------------------------------

    def release(self, task: Task, lease: Lease) -> None:
        """Take a lease out of all tables; what of it nobody holds is free."""
        task.leases.remove(lease)
        task.recount_leased()
        owner = task.peers.get(lease.host)
        if owner is not None and lease in owner.leases:
            owner.leases.remove(lease)
        host = self._cluster.hosts.get(lease.host)
        if host is not None and lease in host.leases:
            host.leases.remove(lease)
            self._cluster.forget_host(host)
        self._cluster.registry(lease.registry).leases.pop(lease, None)

    def cut(self, task: Task, lease: Lease, next_piece: int) -> None:
        """End a lease early: its suffix is free, what its owner finished stays covered until Progress shows it."""
        owner = task.peers.get(lease.host)
        done = max(lease.start, min(next_piece, lease.end))
        if lease.private or owner is None or not availability.span(lease.start, done) & ~owner.bits:
            self.release(task, lease)
            return
        lease.end = lease.next_piece = done
        lease.happen(LeaseEvent.ENDED)
        task.recount_leased()
        self.renew(task, lease)

    def revoke(self, task: Task, lease: Lease) -> None:
        """Take a lease from its owner."""
        host = self._cluster.hosts.get(lease.host)
        if host is not None and lease.state is not LeaseState.SAVING:
            self._cluster.send(host, LeaseRevoked(task.id, lease.epoch))
        self.release(task, lease)

    def expire(self, task: Task) -> None:
        """Take back the leases of a task whose time is over, and lease what is missing again."""
        expired = [lease for lease in task.leases if lease.deadline <= self._cluster.now]
        for lease in expired:
            host = self._cluster.hosts.get(lease.host)
            if lease.state is not LeaseState.SETTLING:
                self._cluster.note(
                    "lease_expired", task, host, epoch=lease.epoch, start=lease.next_piece, end=lease.end
                )
                if host is not None and lease.host in task.peers:
                    # A host that the origin keeps waiting says so in time: one that says nothing is busy, or hangs.
                    host.fetch_failed(self._cluster.now)
                    task.patience = min(leases.PATIENCE_MAX, 2 * task.patience)
            self.revoke(task, lease)
        for task_lease in task.leases:
            self._cluster.agenda.wake(("task", task.id), task_lease.deadline)
        if expired:
            self.resume(task, expired)

    def resume(self, task: Task, ended: list[Lease]) -> None:
        """After leases ended, serve their task and whoever waits for their connections."""
        self.serve(task)
        for name in dict.fromkeys(lease.registry for lease in ended):
            self.feed(self._cluster.registry(name))

    def fruitless(self, task: Task, host: Host | None, fault: OriginFault) -> None:
        """Count a fetch that failed, and slow down when many do: a sick origin is not hammered by a cluster."""
        now = self._cluster.now
        if host is not None:
            host.fetch_failed(now)
        if task.failures == 0:
            task.failing_since = now
        task.failures += 1
        task.fed_at = -float("inf")  # a layer that fails waits for no other: somebody else is to try
        task.last_fault = fault
        task.hold_until = now + leases.hold_s(task.failures)
        if task.failures >= leases.FRUITLESS_MAX and now - task.failing_since >= leases.FRUITLESS_S:
            task.failures = 0
            self.sourceless.warn_all(task, task.free() | task.leased)

    # --- tiny blobs ----------------------------------------------------------------------------------------

    def inline_arrived(self, task: Task, owner: HostId) -> None:
        """The service holds a tiny blob: its leases are over, and everyone who waits gets it."""
        task.inline_held = True
        ended = list(task.leases)
        for lease in ended:
            self.release(task, lease)
        waiting = [peer.host.id for peer in task.peers.values() if peer.is_downloading() and not peer.bits]
        receivers = tuple(name for name in waiting if name != owner)
        if receivers:
            self._cluster.do(SendInline(receivers, task.id))
        self.resume(task, ended)
