"""Who asks about repositories, and who finds it out: one host for all that ask meanwhile.

A fresh tag is resolved by a seed, once per TTL; what other hosts say of it does not count. Whether a digest belongs
to a repository, or strangers may read it, finds out the first host that asks; the others get its answer. Nobody waits
long: a host whose question is not answered in time asks the origin itself.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from zlib import crc32

from scheduler.cluster import Cluster
from scheduler.host import Host
from scheduler.repositories import Repositories
from swarm.ids import HostId
from swarm.repositories import (
    AskRepository,
    Purge,
    RepositoryReport,
    ResolveTag,
    TagPushed,
    TagReport,
    TagUnresolved,
)

SEED_S = 2.5
"""For a seed to ask the origin, with a token if need be; a daemon waits a little longer for its answer."""
FINDER_S = 2.5
"""For a host to ask the origin about a digest, and to tell, also that it failed; a daemon waits a little longer."""
QUESTIONS_MAX = 4096
"""Questions that are open at once; above that nobody waits for others."""
WAITING_MAX = 65_536
"""Hosts that wait for one answer: all of a cluster."""
UNRESOLVED_MAX = 4096
"""Tags that a seed could not resolve, remembered for a TTL; the oldest goes."""

AGENDA = ("questions", "")
Key = tuple[str, str, str, str]
"""Registry, repository, and a tag or a digest; without both, whether strangers are let in."""


@dataclass(slots=True)
class _Question:
    """`again`: the tag was pushed since the finder was asked, so its answer may be old."""

    finder: HostId
    until: float
    waiting: list[tuple[HostId, AskRepository]] = field(default_factory=list)
    again: bool = False


class Questions:
    """Answers AskRepository, now or when somebody has found it out."""

    def __init__(self, cluster: Cluster, repositories: Repositories) -> None:
        self._cluster = cluster
        self._repositories = repositories
        self._open: dict[Key, _Question] = {}
        self._unresolved: dict[Key, tuple[float, bool]] = {}
        """Until when nobody asks a seed again, and whether the origin was down."""

    # --- asking --------------------------------------------------------------------------------------------

    def ask(self, host: Host, ask: AskRepository) -> None:
        """A host asks: answer it, or let it wait for whoever finds it out."""
        if not ask.fresh:
            self._answer(host.id, ask)
        elif ask.tag:
            self._ask_fresh(host, ask)
        elif self._is_known(ask):
            self._answer(host.id, ask)
        else:
            self._wait(host, ask, lambda: host, FINDER_S)

    def _is_known(self, ask: AskRepository) -> bool:
        if ask.digest:
            return self._repositories.has_member(ask.registry, ask.repository, ask.digest)
        return self._repositories.is_decided(ask.registry, ask.repository, self._cluster.now)

    def _ask_fresh(self, host: Host, ask: AskRepository) -> None:
        key = _key(ask)
        told = self._fresh(ask.registry, ask.repository, ask.tag)
        failed_until, down = self._unresolved.get(key, (0.0, False))
        if told is not None or failed_until > self._cluster.now:
            self._answer(host.id, ask, told, down)
        else:
            self._wait(host, ask, lambda: self._seed(ask), SEED_S)

    def _wait(self, host: Host, ask: AskRepository, find: Callable[[], Host | None], wait_s: float) -> None:
        """Let a host wait, unless it is the one to find out, or nobody is."""
        key = _key(ask)
        question = self._open.get(key)
        if question is None:
            finder = find() if len(self._open) < QUESTIONS_MAX else None
            if finder is not None:
                question = self._open[key] = _Question(finder.id, self._cluster.now + wait_s)
                self._cluster.agenda.wake(AGENDA, question.until)
        if (
            question is None
            or len(question.waiting) >= WAITING_MAX
            or (not ask.tag and question.finder == host.id)
        ):
            self._answer(host.id, ask)
            return
        question.waiting.append((host.id, ask))

    def _seed(self, ask: AskRepository) -> Host | None:
        """Choose a seed, the same one for a repository as long as there are the same, and ask it."""
        seeds = [host for host in self._cluster.hosts.values() if host.counts_alone()]
        if not seeds:
            return None
        seeds.sort(key=lambda host: host.id)
        seed = seeds[crc32(f"{ask.registry}/{ask.repository}".encode()) % len(seeds)]
        self._cluster.send(seed, ResolveTag(ask.registry, ask.repository, ask.tag))
        return seed

    # --- answering -----------------------------------------------------------------------------------------

    def tag_reported(self, host: Host, report: TagReport) -> None:
        """A host resolved a tag. Only a seed's word is fresh; who waited for it gets it."""
        self._repositories.tag_reported(host, report, self._cluster.now)
        if not host.counts_alone():
            return
        key = (report.registry, report.repository, report.tag, "")
        self._unresolved.pop(key, None)
        question = self._open.get(key)
        if question is not None and question.again and question.finder == host.id:
            question.again = False
            self._repositories.outdate(report.registry, report.repository, report.tag)
            self._cluster.send(host, ResolveTag(report.registry, report.repository, report.tag))
        elif question is not None:
            self._close(key, report)

    def tag_unresolved(self, host: Host, message: TagUnresolved) -> None:
        """A seed could not resolve a tag: hosts ask by themselves for a while."""
        key = (message.registry, message.repository, message.tag, "")
        question = self._open.get(key)
        if question is None or question.finder != host.id:
            return
        self._unresolved[key] = self._cluster.now + self._cluster.config.tag_ttl_s, message.down
        if len(self._unresolved) > UNRESOLVED_MAX:
            del self._unresolved[next(iter(self._unresolved))]
        self._close(key, down=message.down)

    def tag_pushed(self, host: Host, message: TagPushed) -> None:
        """A tag may mean something else now; an answer that is on its way may be older than that."""
        key = (message.registry, message.repository, message.tag, "")
        self._unresolved.pop(key, None)
        self._repositories.outdate(message.registry, message.repository, message.tag)
        if key in self._open:
            self._open[key].again = True

    def purge(self, purge: Purge) -> None:
        """Forget what a tag meant, if one is named."""
        if purge.tag:
            self._unresolved.pop((purge.registry, purge.repository, purge.tag, ""), None)
            self._repositories.forget_tag(purge.registry, purge.repository, purge.tag)

    def reported(self, host: Host, report: RepositoryReport) -> None:
        """A host learned about a repository: perhaps what others wait for."""
        self._repositories.reported(report, self._cluster.now)
        if self._open:
            for member in (*report.members, *report.unproven):
                self._close((report.registry, report.repository, "", member))
            if report.public or report.closed:
                self._close((report.registry, report.repository, "", ""))

    def due(self) -> None:
        """Answer those who waited long enough."""
        for key, question in list(self._open.items()):
            if question.until <= self._cluster.now:
                self._close(key)
        if self._open:
            self._cluster.agenda.wake(AGENDA, min(question.until for question in self._open.values()))

    def _close(self, key: Key, told: TagReport | None = None, down: bool = False) -> None:
        question = self._open.pop(key, None)
        for name, ask in question.waiting if question is not None else ():
            self._answer(name, ask, told, down)

    def _answer(
        self, name: HostId, ask: AskRepository, told: TagReport | None = None, down: bool = False
    ) -> None:
        host = self._cluster.hosts.get(name)
        if host is not None:
            answer = self._repositories.answer(ask, self._cluster.now, told)
            self._cluster.send(host, replace(answer, down=down and told is None))

    def _fresh(self, registry: str, repository: str, tag: str) -> TagReport | None:
        since = self._cluster.now - self._cluster.config.tag_ttl_s
        return self._repositories.fresh(registry, repository, tag, since)

    def validate(self) -> None:
        """Assert the bounds."""
        self._repositories.validate()
        assert len(self._open) <= QUESTIONS_MAX, "too many questions"
        assert len(self._unresolved) <= UNRESOLVED_MAX, "too many unresolved tags"


def _key(ask: AskRepository) -> Key:
    return ask.registry, ask.repository, ask.tag, "" if ask.tag else ask.digest
