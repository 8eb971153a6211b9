"""Who sends wrong bytes. One report is a claim and keeps a pair apart; two independent ones mean quarantine."""

from scheduler.cluster import Cluster
from scheduler.granting import Granting
from scheduler.host import Host, HostEvent
from scheduler.neighbours import Neighbours
from scheduler.proving import Proving
from scheduler.task import Task
from swarm.ids import HostId
from swarm.messages import PieceRejected, Quarantine

REPORT_S = 600.0
"""How long a report counts."""
QUARANTINE_S = 600.0
"""How long a host that sent wrong bytes is not used."""
REPORTERS_NEEDED = 2
ACCUSED_MAX = 3
"""A reporter that alone accuses so many hosts is itself suspect, and does not count."""
ACCUSED_REMEMBERED = 16
"""Hosts that one reporter accuses, as far as it is remembered."""
REPORTERS_MAX = 8
"""Reporters of one host that are remembered: more than enough to judge it, suspects among them included."""
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
        self._quarantined: dict[HostId, None] = {}

    def rejected(self, reporter: Host, task: Task, message: PieceRejected) -> None:
        """A host got a piece that did not match: keep the two apart, help the one, and judge the other."""
        child, parent = task.peers.get(reporter.id), task.peers.get(message.parent)
        if child is None or child is parent or not 0 <= message.index < task.pieces.count:
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
        count = self.reports.add(accused.id, reporter.id, self._cluster.now)
        if count >= REPORTERS_NEEDED and accused.is_trusted():
            self._quarantine(accused)

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

    def _quarantine(self, host: Host) -> None:
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
            self._withdraw(task, host)

    def _withdraw(self, task: Task, host: Host) -> None:
        peer = task.peers[host.id]
        task.file(peer)
        task.disbelieve(host.id)
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
