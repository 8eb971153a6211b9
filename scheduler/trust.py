"""Who sends wrong bytes. One report is a claim and keeps a pair apart; two independent ones mean quarantine.

Bytes without the digest that came with them are their sender's doing. With it, the sender may have been deceived itself
(scheduler/claims.py), and where they are what a lease's owner told, the owner is to blame.
"""

from scheduler.claims import ANSWER_S, INFORM_S, Claim, Claims
from scheduler.cluster import Cluster
from scheduler.granting import Granting
from scheduler.host import Host, HostEvent
from scheduler.neighbours import Neighbours
from scheduler.peer import Peer
from scheduler.proving import Proving
from scheduler.task import Task
from swarm.ids import HostId
from swarm.messages import PieceRejected, Quarantine

REPORT_S = 600.0
"""How long a report counts."""
QUARANTINE_S = 600.0
"""How long a host that sent wrong bytes is not used."""
AGENDA = ("claims", "")
"""Under this key the cluster's agenda says when claims are to be judged."""
REPORTERS_NEEDED = 2
ACCUSED_MAX = 3
"""A reporter that alone accuses so many hosts is itself suspect, and does not count."""
ACCUSED_REMEMBERED = 16
"""Hosts that one reporter accuses, as far as it is remembered."""
REPORTERS_MAX = 8
"""Reporters of one host that are remembered: more than enough to judge it, suspects among them included."""
NEVER = float("inf")
REPORTED_MAX = 4096
"""Hosts with reports that are remembered; the oldest goes."""


class Reports:
    """Claims of the last REPORT_S: by accused host, and by reporter. A claim costs the same however many there are."""

    def __init__(self) -> None:
        self._by_accused: dict[HostId, dict[HostId, float]] = {}
        self._by_reporter: dict[HostId, dict[HostId, None]] = {}

    def add(self, accused: HostId, reporter: HostId, now: float) -> int:
        """Take a claim; return how many credible hosts claim it of the accused."""
        self._expire(accused, now)
        reporters = self._by_accused.setdefault(accused, {})
        reporters[reporter] = now
        self._by_reporter.setdefault(reporter, {})[accused] = None
        if len(reporters) > REPORTERS_MAX:
            self._drop(accused, next(iter(reporters)))
        if len(self._by_accused) > REPORTED_MAX:
            self.forget(next(iter(self._by_accused)))
        if len(self._by_reporter[reporter]) > ACCUSED_REMEMBERED:
            self._drop(next(iter(self._by_reporter[reporter])), reporter)
        return self.count(accused, now)

    def count(self, accused: HostId, now: float) -> int:
        """Return how many credible hosts claim it of the accused."""
        self._expire(accused, now)
        reporters = self._by_accused.get(accused, {})
        return sum(1 for name in list(reporters) if not self._is_suspect(name, now))

    def _expire(self, accused: HostId, now: float) -> None:
        for reporter, at in list(self._by_accused.get(accused, {}).items()):
            if at + REPORT_S <= now:
                self._drop(accused, reporter)

    def _drop(self, accused: HostId, reporter: HostId) -> None:
        del self._by_accused[accused][reporter]
        if not self._by_accused[accused]:
            del self._by_accused[accused]
        del self._by_reporter[reporter][accused]
        if not self._by_reporter[reporter]:
            del self._by_reporter[reporter]

    def _is_suspect(self, reporter: HostId, now: float) -> bool:
        """Tell whether a reporter accuses many whom nobody else does."""
        for accused in list(self._by_reporter[reporter]):
            self._expire(accused, now)
        alone = sum(len(self._by_accused[accused]) == 1 for accused in self._by_reporter.get(reporter, {}))
        return alone >= ACCUSED_MAX

    def forget(self, accused: HostId) -> None:
        """Drop the claims against a host: they have been acted on, or are the oldest of too many."""
        for reporter in list(self._by_accused.get(accused, {})):
            self._drop(accused, reporter)

    def __len__(self) -> int:
        return len(self._by_accused)


class Trust:
    """Answers PieceRejected, and ends quarantines."""

    def __init__(
        self, cluster: Cluster, neighbours: Neighbours, granting: Granting, proving: Proving
    ) -> None:
        self._cluster = cluster
        self._neighbours = neighbours
        self._granting = granting
        self._proving = proving
        self.reports = Reports()
        self.claims = Claims()
        self._quarantined: dict[HostId, None] = {}

    def rejected(self, reporter: Host, task: Task, message: PieceRejected) -> None:
        """A host got a piece that did not match: keep the two apart, help the one, and judge the other."""
        child, parent = task.peers.get(reporter.id), task.peers.get(message.parent)
        if child is None or not 0 <= message.index < task.pieces.count:
            return
        if message.fits:
            self._misled(task, child, parent, message)
            return
        if child is parent:
            return
        if parent is None:  # it may yet attach: after a restart of ours its victims may be here before it
            child.refuse(message.parent)
            self.reports.add(message.parent, reporter.id, self._cluster.now)
            return
        accused = parent.host
        self._cluster.note("piece_rejected", task, accused, reporter=reporter.id, index=message.index)
        record = task.record(message.index)
        if record is not None and message.expected != record.digest:
            self._cluster.note("record_conflict", task, accused, reporter=reporter.id, index=message.index)
        self._neighbours.separate(task, child, parent)
        if child.is_downloading():
            self._neighbours.rescue(task, child, 1 << message.index)
        self._accuse(accused.id, reporter.id)

    def _accuse(self, accused: HostId, reporter: HostId, records_lie: bool = True) -> bool:
        """Take a claim that counts; tell whether there are enough of them."""
        host = self._cluster.hosts.get(accused)
        enough = self.reports.add(accused, reporter, self._cluster.now) >= REPORTERS_NEEDED
        if host is not None and enough and host.is_trusted():
            self._quarantine(host, records_lie)
        return enough

    # --- pieces that have the digest that came with them ------------------------------------------------------

    def _misled(self, task: Task, child: Peer, parent: Peer | None, message: PieceRejected) -> None:
        """A host was given a piece that somebody made up, or has it and forgot who gave it: ask the giver, too."""
        child.was_deceived(message.index, message.actual)
        record = task.record(message.index)
        if record is None:
            return  # who is right is not known, and nobody innocent is to suffer
        cluster, reporter = self._cluster, child.host.id
        if record.digest == message.actual:
            cluster.note("record_conflict", task, child.host, reporter=reporter, index=message.index)
            maker = task.maker(record)
            if maker is not None and maker != reporter and self._accuse(maker, reporter):
                task.disbelieve(maker)
            return
        if parent is None or parent is child or not parent.host.is_trusted():
            return  # who is gone can answer nothing
        accused = parent.host
        cluster.note("piece_rejected", task, accused, reporter=reporter, index=message.index)
        said = (task.id, message.index, message.actual, reporter, accused.id)
        self.claims.add(Claim(cluster.now + ANSWER_S, *said))
        cluster.agenda.wake(AGENDA, self.claims.next_at())
        if parent.is_downloading() and cluster.now >= parent.inform_at:
            parent.inform_at = cluster.now + INFORM_S
            self._proving.inform(task, parent)

    def judge(self) -> None:
        """Count the claims that were not answered in time.

        What a forger told of its leases is what it is convicted by: it stays, or its pieces could not be told from
        true ones any more.
        """
        for claim in self.claims.take_due(self._cluster.now):
            task = self._cluster.tasks.get(claim.task)
            accused = task.peers.get(claim.accused) if task is not None else None
            if accused is not None and not accused.may_be_deceived(claim.index, claim.digest):
                self._accuse(claim.accused, claim.reporter, records_lie=False)
        if self.claims.next_at() < NEVER:
            self._cluster.agenda.wake(AGENDA, self.claims.next_at())

    # --- quarantine -------------------------------------------------------------------------------------------

    def attached(self, name: HostId) -> None:
        """Tell a host that opened its stream who is in quarantine; judge it by what was claimed before it came."""
        cluster = self._cluster
        host = cluster.hosts.get(name)
        if host is None:
            return
        if self.reports.count(name, cluster.now) >= REPORTERS_NEEDED and host.is_trusted():
            self._quarantine(host)
        for other in self._quarantined:
            left_s = cluster.hosts[other].quarantined_until - cluster.now
            if other != name and left_s > 0:
                cluster.send(host, Quarantine(other, left_s))

    def _quarantine(self, host: Host, records_lie: bool = True) -> None:
        """Use a host no more for a while: what it holds counts for nothing, what it fetches is fetched by others."""
        cluster = self._cluster
        host.happen(HostEvent.QUARANTINE)
        self._quarantined[host.id] = None
        host.quarantined_until = cluster.now + QUARANTINE_S
        cluster.agenda.wake(("host", host.id), host.quarantined_until)
        cluster.note("quarantine", None, host, seconds=QUARANTINE_S)
        self.reports.forget(host.id)
        tasks = [cluster.tasks[task] for task in host.tasks]
        told = {name: None for task in tasks for name in task.peers if name != host.id}
        for name in told:
            cluster.send(cluster.hosts[name], Quarantine(host.id, QUARANTINE_S))
        for task in tasks:
            if records_lie:
                task.disbelieve(host.id)
            self._withdraw(task, host)

    def _withdraw(self, task: Task, host: Host) -> None:
        peer = task.peers[host.id]
        task.file(peer)
        self._proving.discredit(task, host)
        ended = list(peer.leases)
        for lease in ended:
            self._granting.revoke(task, lease)
        task.withdrawn(peer)
        self._neighbours.orphan(task, peer)
        self._granting.resume(task, ended)

    def due(self, host: Host) -> None:
        """A quarantine may be over: the host counts again."""
        if (host.is_attached() and host.is_trusted()) or host.quarantined_until > self._cluster.now:
            return
        host.happen(HostEvent.RELEASE)
        self._quarantined.pop(host.id, None)
        for task_id in host.tasks:
            task = self._cluster.tasks[task_id]
            peer = task.peers[host.id]
            bits, peer.bits = peer.bits, 0
            task.gained(peer, bits)
            task.file(peer)
        self._cluster.forget_host(host)
