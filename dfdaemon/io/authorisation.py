"""Who may have which bytes. `authorise` stands before every path of the mirror that returns content.

Being cached gives nobody access: the digest must belong to the repository, and the repository must be public or its
origin must have taken this credential a moment ago. Otherwise the origin decides, and its answer is passed on.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from dfdaemon.config import MirrorConfig
from dfdaemon.io.blobs import Cluster
from dfdaemon.io.jobs import Jobs
from dfdaemon.io.knowledge import Knowledge
from dfdaemon.io.origin_answers import OriginHead
from dfdaemon.io.origin_client import OriginClient, OriginSource
from dfdaemon.permissions import Member, Place
from swarm.errors import (
    DamselflyError,
    OriginContent,
    OriginCut,
    OriginStatus,
    OriginThrottled,
    OriginTimeout,
    OriginUnreachable,
)
from swarm.facts import Note

DENIALS = frozenset({401, 403})


@dataclass(frozen=True, slots=True)
class Allowed:
    """The client may have the content. `size` -1: unknown; `media_type` empty: unknown."""

    size: int
    media_type: str
    public: bool


class Authoriser:
    """Decides about digests, from what is known here, then in the cluster, then at the origin."""

    def __init__(
        self, config: MirrorConfig, origin: OriginClient, cluster: Cluster, note: Callable[[Note], None]
    ) -> None:
        self.knowledge = Knowledge(cluster)
        self._config = config
        self._origin = origin
        self._cluster = cluster
        self._note = note
        self._jobs = Jobs()

    async def close(self) -> None:
        """End probes in the background, tell the cluster what is left to tell."""
        await self._jobs.close()
        self.knowledge.close()

    async def authorise(self, source: OriginSource) -> Allowed:
        """Let a client with `source.authorization` have `source.digest` from that repository, or raise.

        Raises OriginStatus as the origin answered it, with its challenges; other OriginErrors when it cannot be
        asked and what is known does not suffice; NotAllowed.
        """
        found = self._known(source)
        if found is None:
            await self._ask_cluster(source)
            found = self._known(source)
        if found is not None:
            return found
        try:
            head = await self._origin.head_blob(source)
        except DamselflyError as error:
            self._refused(source, error)
            return self._in_outage(source, error)
        return self._granted(source, head)

    def in_outage(self, place: Place, authorization: str | None, error: DamselflyError) -> bool:
        """Tell whether what was allowed before is allowed still, now that the origin failed with `error`."""
        if not is_outage(error) or self._config.outage == "deny":
            return False
        return self.knowledge.tables.was_public(place) or self.knowledge.is_permitted(place, authorization)

    def probe(self, source: OriginSource) -> None:
        """Find out in the background whether a stranger may read what this credential may."""
        place = Place(source.registry, source.repository)
        if source.authorization is not None and self.knowledge.tables.may_probe(place, self.knowledge.now()):
            self._jobs.start(self._probe(replace(source, authorization=None)))

    async def _probe(self, source: OriginSource) -> None:
        place = Place(source.registry, source.repository)
        try:
            await self._origin.head_blob(source)
        except DamselflyError as error:
            self._refused(source, error)
        else:
            self.knowledge.published(place)

    def _known(self, source: OriginSource) -> Allowed | None:
        place = Place(source.registry, source.repository)
        member = self.knowledge.tables.member(place, source.digest)
        if member is None or not member.proven:
            return None
        if not self.knowledge.is_permitted(place, source.authorization):
            return None
        return Allowed(member.size, member.media_type, self.knowledge.tables.was_public(place))

    async def _ask_cluster(self, source: OriginSource) -> None:
        """Learn what other hosts proved: that the repository is public, and that the digest belongs to it."""
        place = Place(source.registry, source.repository)
        answer = await self._cluster.ask(*place, digest=str(source.digest))
        if answer is None:
            return
        if answer.public:
            self.knowledge.tables.publish(place, self.knowledge.now())
        if answer.member:
            self.knowledge.tables.add_member(place, source.digest, Member(-1, "", True))

    def _granted(self, source: OriginSource, head: OriginHead) -> Allowed:
        if head.digest not in (None, source.digest):
            raise OriginContent(f"the origin says that {source.digest} is {head.digest}")
        place = Place(source.registry, source.repository)
        self.knowledge.accepted(place, source.authorization)
        self.knowledge.listed(place, source.digest, Member(head.size, head.media_type, True))
        self.probe(source)
        member = self.knowledge.tables.member(place, source.digest)
        assert member is not None, "it was put there two lines above"
        return Allowed(member.size, member.media_type, self.knowledge.tables.was_public(place))

    def _refused(self, source: OriginSource, error: DamselflyError) -> None:
        """A stranger was refused: the repository is not public, whatever was known."""
        if source.authorization is None and isinstance(error, OriginStatus) and error.status in DENIALS:
            self.knowledge.tables.close(Place(source.registry, source.repository))

    def _in_outage(self, source: OriginSource, error: DamselflyError) -> Allowed:
        place = Place(source.registry, source.repository)
        member = self.knowledge.tables.member(place, source.digest)
        if member is None or not member.proven or not self.in_outage(place, source.authorization, error):
            raise error
        fields = (("registry", place.registry), ("repository", place.repository), ("reason", str(error)))
        self._note(Note("outage_allowed", source.digest.task, fields=fields))
        return Allowed(member.size, member.media_type, self.knowledge.tables.was_public(place))


def is_outage(error: DamselflyError) -> bool:
    """Tell whether an error means that the origin cannot say yes or no."""
    if isinstance(error, OriginStatus):
        return error.status >= 500
    return isinstance(error, OriginUnreachable | OriginTimeout | OriginCut | OriginThrottled)
