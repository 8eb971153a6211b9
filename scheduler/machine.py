"""The scheduler as a machine: events in, commands out. The same code runs in production and in simulation.

A blob's way: `Membership.join` answers with parents (neighbours.py, placement.py) and leases (granting.py, leases.py);
Progress and LeaseProgress keep the tables true; Starving, LeaseFailed, HostLost and time mend what breaks.
"""

from collections.abc import Callable
from typing import Any

from scheduler.attachment import Attachment
from scheduler.cluster import Cluster
from scheduler.commands import Command, SaveRecords, SendInline
from scheduler.config import SchedulerConfig
from scheduler.denials import Denials
from scheduler.events import (
    DigestAllowed,
    DigestDenied,
    EpochSaved,
    Event,
    HostAttached,
    HostLost,
    HostSaid,
    InlineArrived,
    InlineForgotten,
    PurgeWanted,
    TaskLoaded,
    TimeReached,
)
from scheduler.faults import Faults
from scheduler.granting import Granting
from scheduler.host import Host
from scheduler.importing import Importing
from scheduler.lease import Lease, LeaseState
from scheduler.membership import Membership
from scheduler.neighbours import Neighbours
from scheduler.peer import Peer
from scheduler.proving import Proving
from scheduler.questions import AGENDA as QUESTIONS
from scheduler.questions import Questions
from scheduler.repositories import Repositories
from scheduler.speed import Speed
from scheduler.task import Task, TaskState
from scheduler.trust import AGENDA as CLAIMS
from scheduler.trust import Trust
from scheduler.validation import validate
from swarm.dice import Dice
from swarm.ids import UNGRANTED, Epoch, HostId, TaskId
from swarm.messages import (
    ActiveTask,
    Completed,
    Join,
    LeaseFailed,
    LeaseProgress,
    LeaseRevoked,
    Leave,
    Load,
    NoSource,
    OriginFault,
    PieceRejected,
    Progress,
    Starving,
    TaskProgress,
)
from swarm.repositories import (
    AskRepository,
    RepositoryReport,
    TagPushed,
    TagReport,
    TagUnresolved,
)
from swarm.repositories import Denials as DenialsMessage
from swarm.roots import BlobProved


class SchedulerMachine:
    """One writer's state. `handle` one event at a time; be called with TimeReached at `wakeup_at()`."""

    def __init__(self, config: SchedulerConfig, dice: Dice) -> None:
        self.cluster = Cluster(config, dice)
        self._neighbours = Neighbours(self.cluster)
        self._importing = Importing(self.cluster, self._neighbours)
        self._granting = Granting(self.cluster, self._neighbours, self._importing)
        self._faults = Faults(self.cluster, self._granting)
        self._proving = Proving(self.cluster)
        self._membership = Membership(
            self.cluster, self._neighbours, self._granting, self._importing, self._proving
        )
        self._attachment = Attachment(self.cluster, self._membership, self._granting)
        self._trust = Trust(self.cluster, self._neighbours, self._granting, self._proving)
        self._speed = Speed()
        self._questions = Questions(self.cluster, Repositories())
        self.denials = Denials(self.cluster)
        self._on_event: dict[type, Callable[[Any], None]] = {
            HostAttached: self._on_attached,
            HostLost: self._on_lost,
            HostSaid: self._on_said,
            InlineArrived: self._on_inline_arrived,
            InlineForgotten: self._on_inline_forgotten,
            TaskLoaded: self._on_loaded,
            EpochSaved: self._on_saved,
            DigestDenied: self._on_denied,
            DigestAllowed: lambda event: self.denials.allow(event.task),
            PurgeWanted: self._on_purge,
            TimeReached: self._on_time,
        }
        self._on_message = self._messages()

    def _messages(self) -> dict[type, Callable[[Host, Any], None]]:
        """Return who takes which message."""
        return {
            Join: self._on_join,
            Progress: self._on_progress,
            Starving: self._on_starving,
            LeaseProgress: self._on_lease_progress,
            LeaseFailed: self._on_lease_failed,
            PieceRejected: self._on_rejected,
            BlobProved: self._on_proved,
            Load: lambda host, load: self._speed.measured(host, load, self.cluster.hosts, self.cluster.now),
            Completed: self._on_completed,
            Leave: self._on_leave,
            TagReport: self._questions.tag_reported,
            TagUnresolved: self._questions.tag_unresolved,
            TagPushed: self._questions.tag_pushed,
            RepositoryReport: self._questions.reported,
            AskRepository: self._questions.ask,
        }

    def handle(self, event: Event, now: float) -> list[Command]:
        """Take in what happened at `now` (seconds, never less than before); return what to do, in order."""
        self.cluster.begin(now)
        self._on_event[type(event)](event)
        return self.cluster.take_commands()

    def wakeup_at(self) -> float:
        """Return when TimeReached is wanted; infinity when nothing is due."""
        return self.cluster.agenda.next_at()

    def validate(self) -> None:
        """Assert all invariants."""
        validate(self.cluster)
        self._questions.validate()
        self._trust.claims.validate()
        self.denials.validate()

    # --- events --------------------------------------------------------------------------------------------

    def _on_attached(self, event: HostAttached) -> None:
        self._attachment.attached(event.hello)
        self._trust.attached(event.hello.info.host)
        host = self.cluster.hosts.get(event.hello.info.host)
        if host is not None:
            self.denials.attached(host)

    def _on_said(self, event: HostSaid) -> None:
        host = self.cluster.hosts.get(event.host)
        if host is not None and host.is_attached():
            self._on_message[type(event.message)](host, event.message)

    def _on_lost(self, event: HostLost) -> None:
        host = self.cluster.hosts.get(event.host)
        if host is not None and host.is_attached():
            self._attachment.lost(host)

    def _on_denied(self, event: DigestDenied) -> None:
        self.denials.deny(event.task, event.reason)
        self._forget_inline(event.task)

    def _on_purge(self, event: PurgeWanted) -> None:
        self._questions.purge(event.purge)
        self.denials.purge(event.purge)
        self._forget_inline(event.purge.task)

    def _on_loaded(self, event: TaskLoaded) -> None:
        task = self.cluster.tasks.get(event.task)
        if task is None or task.state is not TaskState.LOADING:
            return
        task.epoch = max(task.epoch, event.epoch)
        task.remember_records(event.records)
        task.verification.root = event.root
        self._membership.loaded(task)

    def _on_saved(self, event: EpochSaved) -> None:
        task = self.cluster.tasks.get(event.task)
        if task is not None:
            self._granting.saved(task, event.epoch)
            self.cluster.satisfied(task)

    def _on_inline_arrived(self, event: InlineArrived) -> None:
        task = self.cluster.tasks.get(event.task)
        if task is not None and task.is_tiny():
            self._granting.inline_arrived(task, event.host)

    def _on_inline_forgotten(self, event: InlineForgotten) -> None:
        self._forget_inline(event.task)

    def _forget_inline(self, name: TaskId) -> None:
        """A tiny blob is not held any more: who misses it gets it from others, or from the origin."""
        task = self.cluster.tasks.get(name)
        if task is not None and task.inline_held:
            task.inline_held = False
            self._granting.serve(task)
            self.cluster.satisfied(task)

    # --- messages ------------------------------------------------------------------------------------------

    def _peer(self, host: Host, task_id: TaskId) -> tuple[Task, Peer] | tuple[None, None]:
        """Return the task and the host's part in it; a message about a task that was forgotten is late."""
        task = self.cluster.tasks.get(task_id)
        peer = task.peers.get(host.id) if task is not None else None
        return (task, peer) if task is not None and peer is not None else (None, None)

    def _on_join(self, host: Host, join: Join | ActiveTask) -> None:
        """A host wants a blob; one that is denied it gets from nobody."""
        if join.task in self.denials.denied:
            self.cluster.send(host, DenialsMessage(denied=(join.task,)))
            self.cluster.send(host, NoSource(join.task, OriginFault.DENIED))
        else:
            self._membership.join(host, join)

    def _on_progress(self, host: Host, progress: Progress) -> None:
        for report in progress.tasks:
            task, peer = self._peer(host, report.task)
            if task is not None and peer is not None:
                self._take_progress(task, peer, report)

    def _take_progress(self, task: Task, peer: Peer, report: TaskProgress) -> None:
        if report.records and peer.host.is_trusted():
            self._take_records(task, peer, report)
        bits = report.bits & task.all_bits()
        if bits == peer.bits:
            return
        if peer.bits & ~bits:
            if task.changed(peer, bits):
                self._granting.serve(task)
        else:
            before = peer.importing
            task.gained(peer, bits)
            if peer.importing != before:
                self._importing.arrived(task, peer)
        if peer.leases:
            self._granting.held_more(task, peer)

    def _take_records(self, task: Task, peer: Peer, report: TaskProgress) -> None:
        new, contradictory = task.believe(peer.host.id, report.records)
        if new:
            self.cluster.do(SaveRecords(task.id, tuple(new)))
        for record in contradictory:
            self.cluster.note("record_conflict", task, peer.host, reporter=peer.host.id, index=record.index)

    def _on_starving(self, host: Host, message: Starving) -> None:
        """Help a host with nothing to ask for: holders of what it wants, else a lease, else the truth.

        One that there was no room for joins now, if there is.
        """
        if message.task in host.shed:
            self._on_join(host, host.shed[message.task])
            return
        task, peer = self._peer(host, message.task)
        if task is None or peer is None or not peer.is_downloading():
            return
        wanted = message.wanted & task.all_bits() & ~peer.bits
        if task.inline_held:
            self.cluster.do(SendInline((host.id,), task.id))
        elif wanted and not (wanted & task.held and self._neighbours.rescue(task, peer, wanted)):
            peer.warned = False
            self._granting.serve(task, wanted, peer)
            if not peer.stores:
                self._granting.serve_privately(task, peer, wanted)
            self._granting.sourceless.warn_if_shunned(task, peer, wanted)

    def _lease(self, host: Host, task: Task, epoch: Epoch, next_piece: int) -> Lease | None:
        """Return the lease that a message is about; ungranted fetches are told apart by their range."""
        for lease in task.leases:
            fits = epoch != UNGRANTED or lease.start <= next_piece <= lease.end
            if (
                lease.host == host.id
                and lease.epoch == epoch
                and fits
                and lease.state is not LeaseState.SAVING
            ):
                return lease
        return None

    def _on_lease_progress(self, host: Host, message: LeaseProgress) -> None:
        task = self.cluster.tasks.get(message.task)
        lease = self._lease(host, task, message.epoch, message.next_piece) if task is not None else None
        if task is not None and lease is not None:
            self._granting.progressed(task, lease, message.next_piece, message.received_bytes)
        elif message.epoch != UNGRANTED and self._is_stale(task, message):
            self.cluster.send(host, LeaseRevoked(message.task, message.epoch))

    def _is_stale(self, task: Task | None, message: LeaseProgress) -> bool:
        """Tell whether somebody works on a lease that is not its own any more, and is not just telling its end."""
        if task is None:
            return True
        grant = task.grants.get(message.epoch)
        return grant is None or message.next_piece < grant[2]

    def _on_lease_failed(self, host: Host, message: LeaseFailed) -> None:
        task = self.cluster.tasks.get(message.task)
        lease = self._lease(host, task, message.epoch, message.next_piece) if task is not None else None
        if task is not None and lease is not None and lease.state is not LeaseState.SETTLING:
            self._faults.failed(host, task, lease, message)
            self.cluster.satisfied(task)

    def _on_rejected(self, host: Host, message: PieceRejected) -> None:
        task = self.cluster.tasks.get(message.task)
        if task is not None:
            self._trust.rejected(host, task, message)

    def _on_proved(self, host: Host, message: BlobProved) -> None:
        task = self.cluster.tasks.get(message.task)
        if task is not None:
            self._proving.proved(host, task, message)

    def _on_completed(self, host: Host, message: Completed) -> None:
        host.shed.pop(message.task, None)
        task, peer = self._peer(host, message.task)
        if task is not None and peer is not None and peer.host.is_attached():
            self._membership.complete(task, peer)

    def _on_leave(self, host: Host, message: Leave) -> None:
        if not message.task:
            self._attachment.left(host)
            return
        self.cluster.inventory.remove(host, message.task)
        host.shed.pop(message.task, None)
        task, peer = self._peer(host, message.task)
        if task is not None and peer is not None:
            self._membership.remove(task, peer)

    # --- time ----------------------------------------------------------------------------------------------

    def _on_time(self, event: TimeReached) -> None:
        """Look at everything that is due; hosts first, for what they hold decides what must be leased."""
        for kind, name in sorted(self.cluster.agenda.due(self.cluster.now), key=lambda due: due[0] != "host"):
            if kind == "task":
                self._task_due(TaskId(name))
            elif kind == "registry" and name in self.cluster.registries:
                self._granting.feed(self.cluster.registries[name])
            elif kind == "host":
                self._host_due(HostId(name))
            elif kind == "recovery":
                self._recovered()
            elif kind == QUESTIONS[0]:
                self._questions.due()
            elif kind == CLAIMS[0]:
                self._trust.judge()

    def _task_due(self, task_id: TaskId) -> None:
        task, cluster = self.cluster.tasks.get(task_id), self.cluster
        if task is None:
            return
        if task.state is TaskState.LOADING:
            cluster.load(task)
        if cluster.now >= task.unsure_until:
            task.unsure = 0
        else:
            cluster.agenda.wake(("task", task_id), task.unsure_until)
        self._granting.expire(task)
        self._importing.expire(task)
        if task.state is TaskState.ACTIVE and cluster.now >= task.hold_until:
            self._granting.serve(task)
        elif task.state is TaskState.ACTIVE:
            cluster.agenda.wake(("task", task_id), task.hold_until)
        if task.state is TaskState.IDLE and not task.leases and cluster.now >= task.idle_at:
            cluster.forget_task(task)
        elif task.state is TaskState.IDLE:
            cluster.agenda.wake(("task", task_id), max(task.idle_at, cluster.now + 1.0))

    def _host_due(self, name: HostId) -> None:
        host = self.cluster.hosts.get(name)
        if host is not None:
            self._trust.due(host)

    def _recovered(self) -> None:
        if self.cluster.recovered_at is not None and self.cluster.is_recovering():
            self.cluster.agenda.wake(("recovery", ""), self.cluster.recovered_at)
            return
        waiting = (TaskState.RECOVERING, TaskState.ACTIVE)
        self._membership.recovered([task for task in self.cluster.tasks.values() if task.state in waiting])
