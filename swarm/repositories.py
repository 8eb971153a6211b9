"""What a daemon and the scheduler tell each other about repositories, their tags, and content to be kept from clients.

These facts travel on the Attach stream like those of swarm/messages.py.
"""

from dataclasses import dataclass

from swarm.ids import TaskId

NO_TASK = TaskId("")

# --- daemon -> scheduler --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TagReport:
    """The origin resolved registry/repository:tag on this host just now. `size` in bytes, -1: unknown."""

    registry: str
    repository: str
    tag: str
    digest: TaskId
    media_type: str
    size: int


@dataclass(frozen=True, slots=True)
class TagUnresolved:
    """A seed that was asked to resolve a tag could not: the origin refused a stranger, or did not answer (`down`)."""

    registry: str
    repository: str
    tag: str
    down: bool = False


@dataclass(frozen=True, slots=True)
class TagPushed:
    """A client of this host pushed or deleted a tag through the mirror: what it meant before counts no more."""

    registry: str
    repository: str
    tag: str


@dataclass(frozen=True, slots=True)
class RepositoryReport:
    """Facts about a repository: proven public by an anonymous probe, and digests that belong to it.

    `sizes` of the members in bytes, -1: unknown, in the same order. `closed`: the origin refused a stranger just now.
    `unproven`: digests that this host asked the origin about, and got no yes; others may ask for themselves.
    `manifest_types`: none, or one for each member: the media type with which the origin gives it as a manifest;
    empty: nobody said that it is one, so it may be there as a blob alone.
    """

    registry: str
    repository: str
    public: bool
    members: tuple[TaskId, ...] = ()
    sizes: tuple[int, ...] = ()
    closed: bool = False
    unproven: tuple[TaskId, ...] = ()
    manifest_types: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AskRepository:
    """What does the cluster know about a repository, one tag of it, or whether a digest belongs to it.

    `fresh`: of a tag, only what a seed found out within the TTL counts, and a seed is asked if need be; of a digest,
    and, without one, of whether strangers are let in, the answer may wait a moment for a host that finds it out.
    Otherwise the answer is what is known, at once.
    """

    request: int
    registry: str
    repository: str
    tag: str = ""
    digest: str = ""
    fresh: bool = False


# --- scheduler -> daemon --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RepositoryAnswer:
    """The answer to AskRepository. `digest` is empty when the tag is not known well enough: it needs a seed's
    report or two hosts that agree. `member`: the digest asked for belongs to the repository, with `size` bytes; where
    no tag was asked for, `media_type` is its type as a manifest, empty: it is known as a blob only.

    `public_age_s`: how long ago a stranger was let in. `closed`: one was refused lately. `down`: a seed could not ask
    the origin just now, so that others need not try for what they know already.
    """

    request: int
    public: bool
    digest: str = ""
    media_type: str = ""
    size: int = 0
    member: bool = False
    public_age_s: float = 0.0
    down: bool = False
    closed: bool = False


@dataclass(frozen=True, slots=True)
class ResolveTag:
    """Ask the origin as a stranger what a tag means, and answer with TagReport or TagUnresolved. Seeds only."""

    registry: str
    repository: str
    tag: str


@dataclass(frozen=True, slots=True)
class Denials:
    """Digests that nobody may have until they are allowed again, and digests that are allowed again.

    Sent after Hello with all that is known, and again with each change. A daemon keeps a denial until it is told
    that the digest is allowed: a scheduler that has forgotten everything denies and allows nothing.
    """

    denied: tuple[TaskId, ...] = ()
    allowed: tuple[TaskId, ...] = ()


@dataclass(frozen=True, slots=True)
class Purge:
    """Forget the copies of a digest, or, where `task` is empty, what a tag meant. Both may be had again at once."""

    task: TaskId = NO_TASK
    registry: str = ""
    repository: str = ""
    tag: str = ""


Word = RepositoryAnswer | ResolveTag | Denials | Purge
"""What the scheduler says that is not about a download."""
