"""What the cluster knows of repositories: which are public, which digests belong to them, and where their tags point.

A tag is answered only when a seed, or two different hosts, told the same digest as the latest: one node that lies must
not redirect `latest` for all. As fresh counts only what a seed told within the TTL. That a repository is public, or
that a digest belongs to it, is taken from any host.
"""

from dataclasses import dataclass, field
from sys import intern
from typing import NamedTuple

from scheduler.host import Host
from swarm.ids import HostId, TaskId
from swarm.repositories import AskRepository, RepositoryAnswer, RepositoryReport, TagReport

REPOSITORIES_MAX = 16_384
"""Repositories that are remembered; the least recently used goes."""
TAGS_MAX = 256
"""Tags of one repository; the least recently told goes."""
MEMBERS_MAX = 16_384
"""Digests of one repository; the oldest goes."""
ALL_MEMBERS_MAX = 2_000_000
"""Digests of all repositories, some 600 MB; the repositories that were used least recently go."""
REPORTS_PER_TAG_MAX = 16
"""Hosts whose latest word on one tag is remembered."""
HOSTS_THAT_AGREE = 2
STRANGERS_TTL_S = 300.0
"""How long it counts that strangers are let in or refused; daemons ask again after as long."""


@dataclass(slots=True)
class _Tag:
    """The latest word of the last hosts that resolved a tag, oldest first; `by_seed` are those that count alone.

    `seed_told` is what a seed found out at `seed_told_at`.
    """

    told: dict[HostId, TagReport] = field(default_factory=dict)
    by_seed: dict[HostId, None] = field(default_factory=dict)
    seed_told: TagReport | None = None
    seed_told_at: float = 0.0

    def add(self, host: Host, report: TagReport, now: float) -> None:
        """Take a host's latest word; the oldest of too many goes."""
        self.told.pop(host.id, None)
        self.told[host.id] = report
        if host.counts_alone():
            self.by_seed[host.id] = None
            self.seed_told, self.seed_told_at = report, now
        else:
            self.by_seed.pop(host.id, None)
        if len(self.told) > REPORTS_PER_TAG_MAX:
            oldest = next(iter(self.told))
            del self.told[oldest]
            self.by_seed.pop(oldest, None)

    def resolved(self) -> TagReport | None:
        """Return the latest digest that a seed or enough hosts told."""
        agreeing: dict[TaskId, int] = {}
        for host, report in reversed(self.told.items()):
            agreeing[report.digest] = agreeing.get(report.digest, 0) + 1
            if host in self.by_seed or agreeing[report.digest] >= HOSTS_THAT_AGREE:
                return report
        return None


class _Member(NamedTuple):
    """A digest of a repository: its bytes, -1: unknown, and its type as a manifest, empty: not known as one."""

    size: int = -1
    manifest_type: str = ""


@dataclass(slots=True)
class _Repository:
    """When a stranger was last let in, or refused, as told."""

    public_at: float | None = None
    closed_at: float | None = None
    tags: dict[str, _Tag] = field(default_factory=dict)
    members: dict[TaskId, _Member] = field(default_factory=dict)


class Repositories:
    """The table of repositories, bounded in every direction."""

    def __init__(self) -> None:
        self._table: dict[tuple[str, str], _Repository] = {}
        self._members = 0
        """Digests of all repositories."""

    def tag_reported(self, host: Host, report: TagReport, now: float) -> None:
        """A host resolved a tag at the origin; the digest belongs to the repository by that."""
        repository = self._open(report.registry, report.repository)
        tag = repository.tags.pop(report.tag, None) or _Tag()
        repository.tags[report.tag] = tag
        tag.add(host, report, now)
        if len(repository.tags) > TAGS_MAX:
            del repository.tags[next(iter(repository.tags))]

    def fresh(self, registry: str, repository: str, tag: str, since: float) -> TagReport | None:
        """Return what a seed found a tag to mean at `since` or later."""
        found = self._table.get((registry, repository))
        known = found.tags.get(tag) if found is not None else None
        return known.seed_told if known is not None and known.seed_told_at >= since else None

    def outdate(self, registry: str, repository: str, tag: str) -> None:
        """A tag may mean something else now; what it meant is remembered for an outage."""
        found = self._table.get((registry, repository))
        if found is not None and tag in found.tags:
            found.tags[tag].seed_told = None

    def forget_tag(self, registry: str, repository: str, tag: str) -> None:
        """Forget what a tag meant altogether."""
        found = self._table.get((registry, repository))
        if found is not None:
            found.tags.pop(tag, None)

    def reported(self, report: RepositoryReport, now: float) -> None:
        """A host learned about a repository."""
        repository = self._open(report.registry, report.repository)
        if report.public:
            repository.public_at, repository.closed_at = now, None
        elif report.closed:
            repository.public_at, repository.closed_at = None, now
        before, count = len(repository.members), len(report.members)
        sizes, types = report.sizes or (-1,) * count, report.manifest_types or ("",) * count
        for member, size, told in list(zip(report.members, sizes, types, strict=False))[:MEMBERS_MAX]:
            known = repository.members.pop(member, _Member())
            manifest_type = intern(told) if told else known.manifest_type
            repository.members[member] = _Member(max(size, known.size), manifest_type)
        while len(repository.members) > MEMBERS_MAX:
            del repository.members[next(iter(repository.members))]
        self._members += len(repository.members) - before
        while self._members > ALL_MEMBERS_MAX:
            self._drop_first()

    def has_member(self, registry: str, repository: str, digest: str) -> bool:
        """Tell whether a digest is known to belong to a repository."""
        found = self._table.get((registry, repository))
        return found is not None and digest in found.members

    def is_decided(self, registry: str, repository: str, now: float) -> bool:
        """Tell whether it is known, and not too old, that strangers are let in or refused."""
        found = self._table.get((registry, repository))
        told = (found.public_at, found.closed_at) if found is not None else ()
        return any(at is not None and now - at < STRANGERS_TTL_S for at in told)

    def answer(self, ask: AskRepository, now: float, told: TagReport | None = None) -> RepositoryAnswer:
        """Tell what is known; asking about an unknown repository enters nothing.

        `told` is the answer about the tag if it has to be fresh.
        """
        if (ask.registry, ask.repository) not in self._table:
            return RepositoryAnswer(ask.request, public=False)
        repository = self._open(ask.registry, ask.repository)
        tag = repository.tags.get(ask.tag)
        if told is None and tag is not None and not ask.fresh:
            told = tag.resolved()
        member = repository.members.get(TaskId(ask.digest))
        size, media_type = (told.size, told.media_type) if told is not None else member or _Member(0)
        public = repository.public_at is not None
        return RepositoryAnswer(
            ask.request,
            public,
            told.digest if told is not None else "",
            media_type,
            size,
            member is not None,
            now - repository.public_at if repository.public_at is not None else 0.0,
            closed=repository.closed_at is not None and now - repository.closed_at < STRANGERS_TTL_S,
        )

    def _open(self, registry: str, name: str) -> _Repository:
        """Return a repository, as the most recently used one."""
        repository = self._table.pop((registry, name), None) or _Repository()
        self._table[registry, name] = repository
        if len(self._table) > REPOSITORIES_MAX:
            self._drop_first()
        return repository

    def _drop_first(self) -> None:
        """Forget the repository that was used least recently."""
        self._members -= len(self._table.pop(next(iter(self._table))).members)

    def validate(self) -> None:
        """Assert the bounds."""
        assert len(self._table) <= REPOSITORIES_MAX, "too many repositories"
        counted = sum(len(repository.members) for repository in self._table.values())
        assert counted == self._members <= ALL_MEMBERS_MAX, "digests are counted"
        for repository in self._table.values():
            assert len(repository.tags) <= TAGS_MAX, "too many tags"
            assert len(repository.members) <= MEMBERS_MAX, "too many members"
            assert all(len(tag.told) <= REPORTS_PER_TAG_MAX for tag in repository.tags.values()), (
                "too many reports"
            )
