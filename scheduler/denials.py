"""Content that nobody may have: a leaked or malicious image. An administrator denies a digest, and allows it again.

Every host is told at once, or when it attaches, and keeps it until it is told otherwise. What was allowed again is
remembered too, for hosts that were away meanwhile. A purge is different: copies go, and may come again.
"""

from scheduler.cluster import Cluster
from scheduler.commands import DropInline, SaveDenials
from scheduler.host import Host
from swarm.ids import TaskId
from swarm.repositories import Denials as DenialsMessage
from swarm.repositories import Purge

DENIED_MAX = 4096
"""Denied digests; what one message carries. More are refused, since none may be forgotten."""
ALLOWED_MAX = 4096
"""Digests that were denied once; the oldest goes. A host that was away for longer keeps its denial."""


class Denials:
    """What is denied, with the reason that was given, and what is not any more."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self.denied: dict[TaskId, str] = {}
        self._allowed: dict[TaskId, None] = {}

    def restore(self, denied: dict[TaskId, str], allowed: tuple[TaskId, ...]) -> None:
        """Take over what an earlier scheduler saved; called before the first event."""
        self.denied = dict(list(denied.items())[:DENIED_MAX])
        self._allowed = dict.fromkeys(allowed[:ALLOWED_MAX])

    def is_full(self) -> bool:
        """Tell whether no more can be denied."""
        return len(self.denied) >= DENIED_MAX

    def deny(self, task: TaskId, reason: str) -> None:
        """Nobody may have this from now on."""
        if task not in self.denied and self.is_full():
            self._cluster.note("overload", table="denials", limit=DENIED_MAX)
            return
        self.denied[task] = reason
        self._allowed.pop(task, None)
        self._cluster.do(DropInline(task))
        self._cluster.note("digest_denied", digest=task, reason=reason)
        self._changed(DenialsMessage(denied=(task,)))

    def allow(self, task: TaskId) -> None:
        """It may be had again; also told when it is not known here that it was denied."""
        self.denied.pop(task, None)
        self._allowed[task] = None
        if len(self._allowed) > ALLOWED_MAX:
            del self._allowed[next(iter(self._allowed))]
        self._cluster.note("digest_allowed", digest=task)
        self._changed(DenialsMessage(allowed=(task,)))

    def purge(self, purge: Purge) -> None:
        """All hosts forget a blob's copies, or what a tag meant."""
        if purge.task:
            self._cluster.do(DropInline(purge.task))
        self._cluster.note(
            "purged",
            digest=purge.task,
            registry=purge.registry,
            repository=purge.repository,
            tag=purge.tag,
        )
        for host in self._cluster.hosts.values():
            self._cluster.send(host, purge)

    def attached(self, host: Host) -> None:
        """Tell a host that opened its stream all that is known."""
        if self.denied or self._allowed:
            self._cluster.send(host, DenialsMessage(tuple(self.denied), tuple(self._allowed)))

    def _changed(self, message: DenialsMessage) -> None:
        self._cluster.do(SaveDenials(tuple(self.denied.items()), tuple(self._allowed)))
        for host in self._cluster.hosts.values():
            self._cluster.send(host, message)

    def validate(self) -> None:
        """Assert the bounds, and that nothing is both."""
        assert len(self.denied) <= DENIED_MAX, "too many denials"
        assert len(self._allowed) <= ALLOWED_MAX, "too many digests that were allowed again"
        assert not self.denied.keys() & self._allowed.keys(), "a digest is denied or allowed"
