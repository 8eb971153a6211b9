"""Who may have which bytes. `authorise` stands before every path of the mirror that returns content.

Being cached gives nobody access: the digest must belong to the repository, as what it is asked for (a blob or a
manifest), and the repository must be public or its
origin must have taken this credential a moment ago. Otherwise the origin decides, and its answer is passed on.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from dfdaemon.config import MirrorConfig
from dfdaemon.io.blobs import Cluster
from dfdaemon.io.denied import DeniedContent
from dfdaemon.io.jobs import Jobs
from dfdaemon.io.knowledge import Knowledge
from dfdaemon.io.one_at_a_time import OneAtATime
from dfdaemon.io.origin_answers import OriginHead
from dfdaemon.io.origin_client import OriginClient, OriginSource
from dfdaemon.permissions import Member, Place
from swarm.digest import Digest
from swarm.errors import (
    DamselflyError,
    OriginContent,
    OriginCut,
    OriginStatus,
    OriginThrottled,
    OriginTimeout,
    OriginUnreachable,
    TokenUnreachable,
)
from swarm.facts import Note

DENIALS = frozenset({401, 403})
NOT_FOUND = 404


@dataclass(frozen=True, slots=True)
class Allowed:
    """The client may have the content. `size` -1: unknown; `media_type` empty: unknown."""

    size: int
    media_type: str
    public: bool


class Authoriser:
    """Decides about digests, from what is known here, then in the cluster, then at the origin."""

    def __init__(
        self,
        config: MirrorConfig,
        origin: OriginClient,
        cluster: Cluster,
        note: Callable[[Note], None],
        denied: DeniedContent | None = None,
    ) -> None:
        self.knowledge = Knowledge(cluster)
        self._config = config
        self._origin = origin
        self._cluster = cluster
        self._note = note
        self._denied = denied
        self._jobs = Jobs()
        self._asking: OneAtATime[OriginHead] = OneAtATime()

    async def close(self) -> None:
        """End probes in the background, tell the cluster what is left to tell."""
        await self._jobs.close()
        self._asking.close()
        self.knowledge.close()

    def check(self, digest: Digest) -> None:
        """Raise ContentDenied if an administrator lets nobody have this content."""
        if self._denied is not None:
            self._denied.check(digest)

    async def authorise(self, source: OriginSource) -> Allowed:
        """Let a client with `source.authorization` have `source.digest` from that repository, or raise.

        Raises OriginStatus as the origin answered it, with its challenges; other OriginErrors when it cannot be
        asked and what is known does not suffice; NotAllowed; ContentDenied.
        """
        self._check(source)
        found = self._known(source)
        if found is None:
            await self._ask_cluster(source)
            found = self._known(source)
        if found is not None:
            return found
        return await self._by_the_origin(source)

    async def authorise_head(self, source: OriginSource) -> Allowed:
        """As authorise, but the origin says whether it has the content now, unless it cannot be asked.

        A client that pushes does not upload what it is told is there, and the registry refuses an image of which
        something is missing.
        """
        self._check(source)
        try:
            return await self._by_the_origin(source)
        except DamselflyError as error:
            if not is_outage(error):
                raise
            await self._ask_cluster(source)
            found = self._known(source) or self._in_outage(source, error)
            if found is None:
                raise
            return found

    def _check(self, source: OriginSource) -> None:
        """Raise if nobody may have this content, or the origin refused it to this credential a moment ago."""
        self.check(source.digest)
        place = Place(source.registry, source.repository)
        banned = self.knowledge.ban(place, source.digest, source.authorization)
        if banned is not None:
            raise banned

    async def _by_the_origin(self, source: OriginSource) -> Allowed:
        """Let the origin decide, or, in an outage, what is known."""
        place = Place(source.registry, source.repository)
        self.raise_refusal(place, source.authorization)
        down = self.failure(place, source.authorization)
        allowed = self._in_outage(source, down) if down is not None else None
        if allowed is not None:
            return allowed
        try:
            head = await self._ask(source)
        except DamselflyError as error:
            self.refused(place, source.authorization, error, of=source.digest)
            self.knowledge.unproven(place, source.digest)
            if isinstance(error, OriginStatus) and error.status == NOT_FOUND:
                self.knowledge.tables.disprove(place, source.digest, source.kind)
            allowed = self._in_outage(source, error)
            if allowed is None:
                raise self.unanswered(place, source.authorization, error) from error
            return allowed
        return self._granted(source, head)

    async def authorise_anew(self, source: OriginSource) -> None:
        """As authorise, whatever is known: the origin refused a fetch, and a token may have ended since its yes."""
        place = Place(source.registry, source.repository)
        try:
            self._granted(source, await self._ask(source))
        except DamselflyError as error:
            self.refused(place, source.authorization, error, of=source.digest)
            raise self.unanswered(place, source.authorization, error) from error

    async def _ask(self, source: OriginSource) -> OriginHead:
        """Ask the origin, once for all that want to know the same."""
        place = Place(source.registry, source.repository)
        credential = self.knowledge.credential(source.authorization)
        key = (place, source.digest, source.kind, source.accept, credential)
        return await self._asking.do(key, lambda: self._origin.head_blob(source))

    def raise_refusal(self, place: Place, authorization: str | None) -> None:
        """Raise the origin's no to this credential, if it is of a moment ago: to ask again must not cost a request."""
        refusal = self.knowledge.refusal(place, authorization)
        if refusal is not None:
            raise refusal

    def refused(
        self, place: Place, authorization: str | None, error: DamselflyError, of: Digest | Literal["tag"]
    ) -> None:
        """The origin did not say yes: remember that it said no, whatever was known, or that it could not be asked.

        `of`: what it was asked about. That a tag may not be read says nothing of the repository: Artifactory answers
        403 where there is no such tag. Nor does a 403 for one digest, from a registry that let the same client read
        there a moment ago: some withhold what a scanner found bad.
        """
        if isinstance(error, OriginStatus) and error.status in DENIALS:
            if error.status == 403 and of == "tag":
                return
            if error.status == 403 and of != "tag" and self.knowledge.is_permitted(place, authorization):
                self.knowledge.forbidden(place, of, authorization, error)
            else:
                self.knowledge.refused(place, authorization, error)
        elif is_outage(error):
            self.knowledge.failed(place, authorization, error)

    def failure(self, place: Place, authorization: str | None) -> DamselflyError | None:
        """Return why the origin could not be asked with this credential a moment ago."""
        return self.knowledge.failure(place, authorization)

    def unanswered(self, place: Place, authorization: str | None, error: DamselflyError) -> DamselflyError:
        """Return what to tell a client whom nothing opens this while asking failed with `error`.

        In an outage clients that say nobody are asked who they are, as the origin did: many say it only then. They
        are asked so, too, where only this host gets no token.
        """
        if authorization is None and isinstance(error, TokenUnreachable):
            return error.refusal
        if authorization is not None or not is_outage(error) or self._config.outage == "deny":
            return error
        return self.knowledge.tables.challenge(place, self.knowledge.now()) or error

    def in_outage(self, place: Place, authorization: str | None, error: DamselflyError) -> bool:
        """Tell whether what was allowed before is allowed still, now that the origin failed with `error`."""
        if not is_outage(error) or self._config.outage == "deny":
            return False
        return self.knowledge.was_permitted(place, authorization)

    def probe(self, source: OriginSource) -> None:
        """Find out in the background whether a stranger may read it too, unless one was refused just now."""
        place = Place(source.registry, source.repository)
        if source.authorization is None or self.knowledge.refusal(place, None) is not None:
            return
        if self.knowledge.tables.may_probe(place, self.knowledge.now()):
            self._jobs.start(self._probe(replace(source, authorization=None)))

    async def _probe(self, source: OriginSource) -> None:
        place = Place(source.registry, source.repository)
        answer = await self._cluster.ask(*place, fresh=True)
        if answer is not None and answer.public:
            self.knowledge.learn(place, source.digest, answer)
        if answer is not None and (answer.closed or self.knowledge.is_permitted(place, None)):
            return  # another host asked for all
        try:
            await self._origin.head_blob(source)
        except DamselflyError as error:
            self.refused(place, None, error, of=source.digest)
        else:
            self.knowledge.published(place)

    def _known(self, source: OriginSource) -> Allowed | None:
        place = Place(source.registry, source.repository)
        member = self.knowledge.tables.member(place, source.digest, source.kind)
        if member is None or not member.proven:
            return None
        if not self.knowledge.is_permitted(place, source.authorization):
            return None
        return Allowed(member.size, member.media_type, self.knowledge.tables.was_public(place))

    async def _ask_cluster(self, source: OriginSource) -> None:
        """Learn what other hosts proved: that the repository is public, and that the digest belongs to it.

        Where only the latter is missing, one host finds it out for all.
        """
        place = Place(source.registry, source.repository)
        fresh = self.knowledge.is_permitted(place, source.authorization)
        answer = await self._cluster.ask(*place, digest=str(source.digest), fresh=fresh)
        if answer is not None:
            self.knowledge.learn(place, source.digest, answer)

    def _granted(self, source: OriginSource, head: OriginHead) -> Allowed:
        if head.digest not in (None, source.digest):
            raise OriginContent(f"the origin says that {source.digest} is {head.digest}")
        place = Place(source.registry, source.repository)
        self.knowledge.accepted(place, source.authorization)
        self.knowledge.listed(place, source.digest, source.kind, Member(head.size, head.media_type, True))
        self.probe(source)
        member = self.knowledge.tables.member(place, source.digest, source.kind)
        assert member is not None, "it was put there two lines above"
        return Allowed(member.size, member.media_type, self.knowledge.tables.was_public(place))

    def _in_outage(self, source: OriginSource, error: DamselflyError) -> Allowed | None:
        """Return what the client may have although the origin failed with `error`."""
        place = Place(source.registry, source.repository)
        member = self.knowledge.tables.member(place, source.digest, source.kind)
        if member is None or not member.proven or not self.in_outage(place, source.authorization, error):
            return None
        fields = (("registry", place.registry), ("repository", place.repository), ("reason", str(error)))
        self._note(Note("outage_allowed", source.digest.task, fields=fields))
        return Allowed(member.size, member.media_type, self.knowledge.tables.was_public(place))


def is_outage(error: DamselflyError) -> bool:
    """Tell whether an error means that the origin cannot say yes or no.

    One that tells a client to wait (is_throttled) is none of them for tags: it answers others.
    """
    if isinstance(error, OriginStatus):
        return error.status >= 500
    return isinstance(error, OriginUnreachable | OriginTimeout | OriginCut | OriginThrottled)
