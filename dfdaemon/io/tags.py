"""What a tag means: asked at the origin with the client's credential, or by a seed for all; in an outage, what it
meant last.
"""

from collections.abc import Callable
from dataclasses import dataclass

from dfdaemon.accept import WHOLE, form_of, takes
from dfdaemon.config import MirrorConfig
from dfdaemon.io.authorisation import NOT_FOUND, Authoriser, is_outage
from dfdaemon.io.blobs import Cluster
from dfdaemon.io.one_at_a_time import OneAtATime
from dfdaemon.io.origin_answers import OriginHead
from dfdaemon.io.origin_client import OriginClient, OriginSource
from dfdaemon.permissions import KnownTag, Member, Place, is_throttled
from swarm.digest import Digest
from swarm.errors import BadDigest, DamselflyError, OriginStatus, OriginUnreachable
from swarm.facts import Note
from swarm.repositories import (
    RepositoryAnswer,
    RepositoryReport,
    ResolveTag,
    TagPushed,
    TagUnresolved,
)


@dataclass(frozen=True, slots=True)
class Resolved:
    """A tag's digest. `stale`: the origin could not be asked, this is the last that is known."""

    digest: Digest
    size: int
    media_type: str
    stale: bool = False


class Tags:
    """Resolves tags for clients, and, on a seed, for the cluster."""

    def __init__(
        self,
        config: MirrorConfig,
        origin: OriginClient,
        authoriser: Authoriser,
        cluster: Cluster,
        note: Callable[[Note], None],
    ) -> None:
        self._shared = config.tags == "shared"
        self._origin = origin
        self._authoriser = authoriser
        self._knowledge = authoriser.knowledge
        self._cluster = cluster
        self._note = note
        self._asking: OneAtATime[OriginHead] = OneAtATime()

    def close(self) -> None:
        """End the questions that run."""
        self._asking.close()

    async def resolve(
        self,
        place: Place,
        tag: str,
        accept: tuple[str, ...],
        authorization: str | None,
        *,
        anew: bool = False,
    ) -> Resolved | None:
        """Return what a tag means now; None when the origin does not say a digest.

        `anew`: the client wants the origin's own word. Raises what the origin's answer means, as authorise() does.
        """
        if self._shared and not anew:
            shared = await self._of_the_cluster(place, tag, accept)
            if shared is not None:
                return shared
        if not anew:
            self._authoriser.raise_refusal(place, authorization)
            down = self._authoriser.failure(place, authorization)
            if down is not None:
                stale = await self._last_known(place, tag, accept, authorization, down)
                if stale is not None:
                    return stale
        key = (place, tag, accept, self._knowledge.credential(authorization))
        try:
            head = await self._asking.do(
                key, lambda: self._origin.head_manifest(*place, tag, accept, authorization)
            )
        except DamselflyError as error:
            self._authoriser.refused(place, authorization, error, of="tag")
            gone = isinstance(error, OriginStatus) and error.status == NOT_FOUND
            # To who takes some types only, or may not read, it says the same of what is there.
            if gone and form_of(accept) == WHOLE and self._knowledge.is_permitted(place, authorization):
                self.pushed(place, tag)  # it was deleted, if it ever was
            stale = await self._last_known(place, tag, accept, authorization, error)
            if stale is None:
                raise self._authoriser.unanswered(place, authorization, error) from error
            return stale
        if head.digest is None:
            return None  # so it may be no registry's answer at all
        self._knowledge.accepted(place, authorization)
        known = KnownTag(head.digest, head.size, head.media_type)
        self._knowledge.resolved(place, tag, known, form_of(accept))
        self._authoriser.probe(OriginSource(*place, head.digest, "manifest", accept, authorization))
        return Resolved(head.digest, head.size, head.media_type)

    async def _of_the_cluster(self, place: Place, tag: str, accept: tuple[str, ...]) -> Resolved | None:
        """Return what a seed found out within the TTL, if anybody may read the repository, and the client takes it."""
        if self._knowledge.refusal(place, None) is not None:
            return None  # no seed is let in either
        answer = await self._cluster.ask(*place, tag=tag, fresh=True)
        if answer is not None and answer.down:
            error = OriginUnreachable(f"a seed could not ask {place.registry} what {tag} means")
            self._knowledge.failed(place, None, error)
        if answer is None or not answer.public or not takes(accept, answer.media_type):
            return None
        known = self._adopt(place, answer)
        if known is None or not self._knowledge.is_permitted(place, None):
            return None
        self._knowledge.tables.set_tag(place, tag, known)
        return Resolved(known.digest, known.size, known.media_type)

    async def resolve_for_cluster(self, wanted: ResolveTag) -> None:
        """Find out as a stranger what a tag means, and tell all; on a seed, when the scheduler asks for it."""
        place = Place(wanted.registry, wanted.repository)
        try:
            head = await self._origin.head_manifest(*place, wanted.tag, (), None)
        except DamselflyError as error:
            self._authoriser.refused(place, None, error, of="tag")
            self._cluster.report_tag(TagUnresolved(*place, wanted.tag, _may_be_stale(error)))
            return
        if head.digest is None:
            self._cluster.report_tag(TagUnresolved(*place, wanted.tag))
            return
        self._knowledge.published(place)
        # The scheduler answers with the tag's report: before it must come that strangers may read it.
        types = (head.media_type,) if head.media_type else ()
        members, sizes = (head.digest.task,), (head.size,)
        public = RepositoryReport(*place, True, members, sizes, manifest_types=types)
        self._cluster.report_repository(public)
        known = KnownTag(head.digest, head.size, head.media_type)
        self._knowledge.resolved(place, wanted.tag, known, WHOLE)

    def pushed(self, place: Place, reference: str) -> None:
        """A client pushed or deleted a manifest through this mirror: what its tags meant counts no more."""
        try:
            digest = Digest.parse(reference)
        except BadDigest:
            tags = [reference]
        else:
            tags = self._knowledge.tables.tags_of(place, digest)
        for tag in tags:
            self._knowledge.tables.drop_tag(place, tag)
            self._cluster.report_tag(TagPushed(*place, tag))

    async def _last_known(
        self,
        place: Place,
        tag: str,
        accept: tuple[str, ...],
        authorization: str | None,
        error: DamselflyError,
    ) -> Resolved | None:
        """Return what the tag meant last, here or in the cluster, if the client may know although asking failed."""
        if not _may_be_stale(error):
            return None
        known = self._known_here(place, tag, accept)
        if known is None or not self._authoriser.in_outage(place, authorization, error):
            known = await self._cluster_knows(place, tag, accept) or known
        if known is None or not self._authoriser.in_outage(place, authorization, error):
            return None
        fields = (("registry", place.registry), ("repository", place.repository), ("tag", tag))
        self._note(Note("tag_stale", known.digest.task, fields=(*fields, ("reason", str(error)))))
        return Resolved(known.digest, known.size, known.media_type, stale=True)

    def _known_here(self, place: Place, tag: str, accept: tuple[str, ...]) -> KnownTag | None:
        """Return what the tag meant last to clients who take the same, or what it names, if this one takes that."""
        known = self._knowledge.tables.tag(place, tag, form_of(accept))
        if known is not None:
            return known
        whole = self._knowledge.tables.tag(place, tag)
        return whole if whole is not None and takes(accept, whole.media_type) else None

    async def _cluster_knows(self, place: Place, tag: str, accept: tuple[str, ...]) -> KnownTag | None:
        """Ask the cluster what a tag meant last; learn whether the repository is public."""
        answer = await self._cluster.ask(*place, tag=tag)
        known = self._adopt(place, answer) if answer is not None and answer.public else None
        taken = known is not None and (form_of(accept) == WHOLE or takes(accept, known.media_type))
        return known if taken else None

    def _adopt(self, place: Place, answer: RepositoryAnswer) -> KnownTag | None:
        """Take over what the cluster knows of a tag in a public repository."""
        self._knowledge.tables.publish(place, self._knowledge.now(), answer.public_age_s)
        try:
            digest = Digest.parse(answer.digest)
        except BadDigest:
            return None
        known = KnownTag(digest, answer.size or -1, answer.media_type)
        member = Member(known.size, known.media_type, True)
        self._knowledge.tables.add_member(place, digest, "manifest", member)
        return known


def _may_be_stale(error: DamselflyError) -> bool:
    """Tell whether nobody is told what a tag means now: a 429 is for one client, and the tag may have moved."""
    return is_outage(error) and not is_throttled(error)
