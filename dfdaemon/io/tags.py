"""What a tag means: asked at the origin with the client's credential; in an outage, what it meant last."""

from collections.abc import Callable
from dataclasses import dataclass

from dfdaemon.io.authorisation import Authoriser, is_outage
from dfdaemon.io.blobs import Cluster
from dfdaemon.io.origin_client import OriginClient, OriginSource
from dfdaemon.permissions import KnownTag, Member, Place
from swarm.digest import Digest
from swarm.errors import BadDigest, DamselflyError
from swarm.facts import Note


@dataclass(frozen=True, slots=True)
class Resolved:
    """A tag's digest. `stale`: the origin could not be asked, this is the last that is known."""

    digest: Digest
    size: int
    media_type: str
    stale: bool = False


class Tags:
    """Resolves tags for clients."""

    def __init__(
        self, origin: OriginClient, authoriser: Authoriser, cluster: Cluster, note: Callable[[Note], None]
    ) -> None:
        self._origin = origin
        self._authoriser = authoriser
        self._knowledge = authoriser.knowledge
        self._cluster = cluster
        self._note = note

    async def resolve(
        self, place: Place, tag: str, accept: tuple[str, ...], authorization: str | None
    ) -> Resolved | None:
        """Return what a tag means now; None when the origin does not say a digest.

        Raises what the origin's answer means, as authorise() does.
        """
        try:
            head = await self._origin.head_manifest(*place, tag, accept, authorization)
        except DamselflyError as error:
            return await self._last_known(place, tag, authorization, error)
        self._knowledge.accepted(place, authorization)
        if head.digest is None:
            return None
        self._knowledge.resolved(place, tag, KnownTag(head.digest, head.size, head.media_type))
        self._authoriser.probe(OriginSource(*place, head.digest, "manifest", accept, authorization))
        return Resolved(head.digest, head.size, head.media_type)

    async def _last_known(
        self, place: Place, tag: str, authorization: str | None, error: DamselflyError
    ) -> Resolved:
        """Return what the tag meant last, here or in the cluster; raise `error` if the client may not know."""
        if not is_outage(error):
            raise error
        known = self._knowledge.tables.tag(place, tag)
        if known is None or not self._authoriser.in_outage(place, authorization, error):
            known = await self._cluster_knows(place, tag) or known
        if known is None or not self._authoriser.in_outage(place, authorization, error):
            raise error
        fields = (("registry", place.registry), ("repository", place.repository), ("tag", tag))
        self._note(Note("tag_stale", known.digest.task, fields=(*fields, ("reason", str(error)))))
        return Resolved(known.digest, known.size, known.media_type, stale=True)

    async def _cluster_knows(self, place: Place, tag: str) -> KnownTag | None:
        """Ask the cluster what a tag meant last; learn whether the repository is public."""
        answer = await self._cluster.ask(*place, tag=tag)
        if answer is None or not answer.public:
            return None
        self._knowledge.tables.publish(place, self._knowledge.now())
        try:
            digest = Digest.parse(answer.digest)
        except BadDigest:
            return None
        known = KnownTag(digest, answer.size or -1, answer.media_type)
        self._knowledge.tables.add_member(place, digest, Member(known.size, known.media_type, True))
        return known
