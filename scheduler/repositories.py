"""What the cluster knows of repositories: which are public, which digests belong to them, and where their tags point.

A tag is answered only when a seed, or two different hosts, told the same digest as the latest: one node that lies must
not redirect `latest` for all. That a repository is public, or that a digest belongs to it, is taken from any host.
"""

from dataclasses import dataclass, field

from scheduler.host import Host
from swarm.ids import HostId, TaskId
from swarm.messages import AskRepository, RepositoryAnswer, RepositoryReport, TagReport

REPOSITORIES_MAX = 16_384
"""Repositories that are remembered; the least recently used goes."""
TAGS_MAX = 256
"""Tags of one repository; the least recently told goes."""
MEMBERS_MAX = 16_384
"""Digests of one repository; the oldest goes."""
REPORTS_PER_TAG_MAX = 16
"""Hosts whose latest word on one tag is remembered."""
HOSTS_THAT_AGREE = 2


@dataclass(slots=True)
class _Tag:
    """The latest word of the last hosts that resolved a tag, oldest first; `by_seed` are those that count alone."""

    told: dict[HostId, TagReport] = field(default_factory=dict)
    by_seed: dict[HostId, None] = field(default_factory=dict)

    def add(self, host: Host, report: TagReport) -> None:
        """Take a host's latest word; the oldest of too many goes."""
        self.told.pop(host.id, None)
        self.told[host.id] = report
        if host.is_seed():
            self.by_seed[host.id] = None
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


@dataclass(slots=True)
class _Repository:
    public: bool = False
    tags: dict[str, _Tag] = field(default_factory=dict)
    members: dict[TaskId, None] = field(default_factory=dict)


class Repositories:
    """The table of repositories, bounded in every direction."""

    def __init__(self) -> None:
        self._table: dict[tuple[str, str], _Repository] = {}

    def tag_reported(self, host: Host, report: TagReport) -> None:
        """A host resolved a tag at the origin; the digest belongs to the repository by that."""
        repository = self._open(report.registry, report.repository)
        tag = repository.tags.pop(report.tag, None) or _Tag()
        repository.tags[report.tag] = tag
        tag.add(host, report)
        if len(repository.tags) > TAGS_MAX:
            del repository.tags[next(iter(repository.tags))]

    def reported(self, report: RepositoryReport) -> None:
        """A host learned about a repository."""
        repository = self._open(report.registry, report.repository)
        repository.public = repository.public or report.public
        for member in report.members[:MEMBERS_MAX]:
            repository.members[member] = None
        while len(repository.members) > MEMBERS_MAX:
            del repository.members[next(iter(repository.members))]

    def answer(self, ask: AskRepository) -> RepositoryAnswer:
        """Tell what is known; asking about an unknown repository enters nothing."""
        if (ask.registry, ask.repository) not in self._table:
            return RepositoryAnswer(ask.request, public=False)
        repository = self._open(ask.registry, ask.repository)
        member = TaskId(ask.digest) in repository.members
        tag = repository.tags.get(ask.tag)
        resolved = tag.resolved() if tag is not None else None
        if resolved is None:
            return RepositoryAnswer(ask.request, repository.public, member=member)
        return RepositoryAnswer(
            ask.request, repository.public, resolved.digest, resolved.media_type, resolved.size, member
        )

    def _open(self, registry: str, name: str) -> _Repository:
        """Return a repository, as the most recently used one."""
        repository = self._table.pop((registry, name), None) or _Repository()
        self._table[registry, name] = repository
        if len(self._table) > REPOSITORIES_MAX:
            del self._table[next(iter(self._table))]
        return repository

    def validate(self) -> None:
        """Assert the bounds."""
        assert len(self._table) <= REPOSITORIES_MAX, "too many repositories"
        for repository in self._table.values():
            assert len(repository.tags) <= TAGS_MAX, "too many tags"
            assert len(repository.members) <= MEMBERS_MAX, "too many members"
            assert all(len(tag.told) <= REPORTS_PER_TAG_MAX for tag in repository.tags.values()), (
                "too many reports"
            )
