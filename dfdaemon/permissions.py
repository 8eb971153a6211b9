"""What is known of repositories: who may read them, what belongs to them, what their tags meant last.

Two facts open a digest in a repository to a credential: membership (the digest belongs to the repository, as a blob or
as a manifest: the one proves nothing of the other) and permission (the repository is public, or its origin took this
credential a moment ago). Every table is bounded; what was used least recently goes first, and costs one question to
the origin.
"""

from collections import OrderedDict
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Generic, NamedTuple, NewType, TypeVar

from dfdaemon.accept import WHOLE
from dfdaemon.descriptors import KINDS, Kind
from swarm.digest import Digest
from swarm.errors import DamselflyError, OriginStatus, OriginThrottled, OriginUnreachable, TokenUnreachable

CREDENTIAL_TTL_S = 60.0
"""How long the origin's yes to a credential counts: a revoked one works for this long at most."""
OUTAGE_S = 3600.0
"""How long it counts while the origin cannot be asked: a token of one hour is the longest that registries commonly
give, and nobody who was locked out meanwhile should get in for longer."""
REFUSED_TTL_S = 5.0
"""How long the origin's no is repeated without asking: long enough for a herd of retries, and for nobody who waits
for a right that he was just given."""
PUBLIC_TTL_S = 300.0
"""How long a repository counts as public, or as probed in vain, before it is asked again."""
DOWN_S = 5.0
"""How long a registry that did not answer counts as down: meanwhile what may be served without it is, at once, and
not after the seconds in which it does not answer again."""
CREDENTIALS_MAX = 16_384
REPOSITORIES_MAX = 16_384
MEMBERS_MAX = 131_072
"""About 40 MiB at worst; a node that runs 1,000 images of 30 layers needs a quarter."""
TAGS_MAX = 16_384
FORMS_MAX = 4
"""Kinds of clients that are told different things of one tag; there are few, and those that take all are one."""

CredentialHash = NewType("CredentialHash", bytes)
"""A keyed hash of an Authorization header; the header itself is not kept."""
ANONYMOUS = CredentialHash(b"")

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Place(NamedTuple):
    """A repository of a registry."""

    registry: str
    repository: str


@dataclass(frozen=True, slots=True)
class Member:
    """Content seen in a repository. `size` -1: unknown. `proven`: it belongs there; else only its size was read.

    The media type of a proven manifest is the registry's word, empty: it was not said. `vouches`: so does what it
    lists as an image of this type, because the registry took it under a tag. That it has it under its digest is not
    enough: distribution gives blobs as manifests too.
    """

    size: int
    media_type: str
    proven: bool
    vouches: bool = False

    @property
    def rank(self) -> tuple[bool, bool]:
        """How well it is proven: more is better."""
        return self.proven, self.vouches


@dataclass(frozen=True, slots=True)
class KnownTag:
    """What a tag meant when the origin was last asked."""

    digest: Digest
    size: int
    media_type: str


class Permissions:
    """The tables of one daemon."""

    def __init__(self) -> None:
        self._accepted: _Recent[tuple[Place, CredentialHash], float] = _Recent(CREDENTIALS_MAX)
        self._refused: _Recent[tuple[Place, CredentialHash], tuple[float, OriginStatus]] = _Recent(
            CREDENTIALS_MAX
        )
        self._forbidden: _Recent[tuple[Place, Digest, CredentialHash], tuple[float, OriginStatus]] = _Recent(
            CREDENTIALS_MAX
        )
        self._failed: _Recent[tuple[Place, CredentialHash | None], tuple[float, DamselflyError]] = _Recent(
            REPOSITORIES_MAX
        )
        self._public: _Recent[Place, float] = _Recent(REPOSITORIES_MAX)
        self._probed: _Recent[Place, float] = _Recent(REPOSITORIES_MAX)
        self._members: _Recent[tuple[Place, Digest, Kind], Member] = _Recent(MEMBERS_MAX)
        self._tags: _Recent[tuple[Place, str], dict[str, KnownTag]] = _Recent(TAGS_MAX)

    def accept(self, place: Place, credential: CredentialHash, now: float) -> None:
        """The origin took this credential for this repository just now."""
        self._accepted.put((place, credential), now)
        self._refused.drop((place, credential))

    def refuse(self, place: Place, credential: CredentialHash, error: OriginStatus, now: float) -> None:
        """The origin refused this credential just now: what it said before counts no more."""
        self._accepted.drop((place, credential))
        self._refused.put((place, credential), (now, error))

    def refusal(self, place: Place, credential: CredentialHash, now: float) -> OriginStatus | None:
        """Return the origin's no to this credential, if it is of the last REFUSED_TTL_S."""
        found = self._refused.get((place, credential))
        return found[1] if found is not None and now - found[0] < REFUSED_TTL_S else None

    def forbid(
        self, place: Place, digest: Digest, credential: CredentialHash, error: OriginStatus, now: float
    ) -> None:
        """The origin refused this content just now to a credential that may read the repository."""
        self._forbidden.put((place, digest, credential), (now, error))
        for kind in KINDS:
            self._members.drop((place, digest, kind))

    def ban(
        self, place: Place, digest: Digest, credential: CredentialHash, now: float
    ) -> OriginStatus | None:
        """Return the origin's no to this credential about this content, if it is of the last REFUSED_TTL_S."""
        found = self._forbidden.get((place, digest, credential))
        return found[1] if found is not None and now - found[0] < REFUSED_TTL_S else None

    def accepted(self, place: Place, credential: CredentialHash, now: float) -> bool:
        """Tell whether the origin took this credential here within CREDENTIAL_TTL_S."""
        at = self._accepted.get((place, credential))
        return at is not None and now - at < CREDENTIAL_TTL_S

    def was_accepted(self, place: Place, credential: CredentialHash, now: float) -> bool:
        """Tell whether the origin took this credential here within OUTAGE_S, and did not refuse it since."""
        at = self._accepted.get((place, credential))
        return at is not None and now - at < OUTAGE_S

    def challenge(self, place: Place, now: float) -> OriginStatus | None:
        """Return how the origin asked a stranger who he is, within OUTAGE_S."""
        found = self._refused.get((place, ANONYMOUS))
        recent = found is not None and now - found[0] < OUTAGE_S and bool(found[1].challenges)
        return found[1] if found is not None and recent else None

    def fail(self, place: Place, credential: CredentialHash, error: DamselflyError, now: float) -> None:
        """The origin could not say yes or no to this credential about a repository just now.

        That it cannot be reached, or wants clients to wait, counts for all of its repositories; another failure for
        this one only, so that nobody who asks for what is broken keeps the others from being asked for. Without a
        token the registry itself answers still, and others may be open to everybody or to who has one. A 429, or that
        no token is to be had, counts for who got it: registries count the requests of each client.
        """
        tokenless = isinstance(error, TokenUnreachable)
        everywhere = isinstance(error, OriginUnreachable | OriginThrottled) and not tokenless
        where = Place(place.registry, "") if everywhere else place
        self._failed.put((where, credential if tokenless or is_throttled(error) else None), (now, error))

    def failure(self, place: Place, credential: CredentialHash, now: float) -> DamselflyError | None:
        """Return why this credential could not be asked about at the origin, if that was within DOWN_S."""
        for where in Place(place.registry, ""), place:
            for whose in None, credential:
                found = self._failed.get((where, whose))
                if found is not None and now - found[0] < DOWN_S:
                    return found[1]
        return None

    def publish(self, place: Place, now: float, age_s: float = 0.0) -> bool:
        """Anybody could read this repository `age_s` ago; tell whether that is news."""
        news = not self.is_public(place, now)
        self._public.put(place, max(now - age_s, self._public.get(place) or now - age_s))
        self._refused.drop((place, ANONYMOUS))
        return news

    def is_public(self, place: Place, now: float) -> bool:
        """Tell whether anybody may read this repository, proven within PUBLIC_TTL_S."""
        at = self._public.get(place)
        return at is not None and now - at < PUBLIC_TTL_S

    def was_public(self, place: Place) -> bool:
        """Tell whether anybody could read this repository when that was last asked, however long ago."""
        return self._public.get(place) is not None

    def close(self, place: Place) -> None:
        """The origin refused a stranger: the repository is not public, or no longer."""
        self._public.drop(place)

    def may_probe(self, place: Place, now: float) -> bool:
        """Tell whether to ask the origin as a stranger, once in PUBLIC_TTL_S; yes counts as asked."""
        at = self._probed.get(place)
        if self.is_public(place, now) or (at is not None and now - at < PUBLIC_TTL_S):
            return False
        self._probed.put(place, now)
        return True

    def add_member(self, place: Place, digest: Digest, kind: Kind, member: Member) -> bool:
        """Remember content of a repository; tell whether its membership is news.

        Proofs are never weakened, and the media type is that of the best: what a document claims never becomes that
        of a proven member.
        """
        known = self._members.get((place, digest, kind))
        news = member.proven and not (known is not None and known.proven)
        if known is not None:
            size = member.size if member.size >= 0 else known.size
            better, other = (known, member) if known.rank > member.rank else (member, known)
            media_type = better.media_type or (other.media_type if other.rank == better.rank else "")
            member = replace(better, size=size, media_type=media_type)
        self._members.put((place, digest, kind), member)
        return news

    def member(self, place: Place, digest: Digest, kind: Kind) -> Member | None:
        """Return what is known of a digest in a repository, as a blob or as a manifest."""
        return self._members.get((place, digest, kind))

    def disprove(self, place: Place, digest: Digest, kind: Kind) -> None:
        """The origin has this content in this repository no more."""
        self._members.drop((place, digest, kind))

    def drop_member(self, digest: Digest) -> None:
        """Forget to which repositories a digest belongs."""
        for key in [key for key in self._members if key[1] == digest]:
            self._members.drop(key)

    def drop_tag(self, place: Place, tag: str) -> None:
        """Forget what a tag meant to anybody."""
        self._tags.drop((place, tag))

    def tags_of(self, place: Place, digest: Digest) -> list[str]:
        """Return the tags of a repository that mean a digest to anybody, as far as they are known."""
        return [
            tag
            for (where, tag), forms in self._tags.items()
            if where == place and any(known.digest == digest for known in forms.values())
        ]

    def set_tag(self, place: Place, tag: str, known: KnownTag, form: str = WHOLE) -> None:
        """The origin said what a tag means to clients whose Accept has this form (dfdaemon/accept.py)."""
        forms = dict(self._tags.get((place, tag)) or {})
        if form == WHOLE and forms.get(WHOLE, known).digest != known.digest:
            forms.clear()  # it moved, so what the others were told is old
        forms.pop(form, None)
        forms[form] = known
        if len(forms) > FORMS_MAX:
            del forms[next(old for old in forms if old != WHOLE)]
        self._tags.put((place, tag), forms)

    def tag(self, place: Place, tag: str, form: str = WHOLE) -> KnownTag | None:
        """Return what a tag meant last to clients whose Accept has this form."""
        return (self._tags.get((place, tag)) or {}).get(form)


def is_throttled(error: DamselflyError) -> bool:
    """Tell whether a registry, or who gives its tokens, told one client to wait: it answers others meanwhile."""
    if isinstance(error, TokenUnreachable):
        return error.throttled
    return isinstance(error, OriginThrottled) and error.status == 429


class _Recent(Generic[K, V]):
    """A table that forgets what was used least recently."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._entries: OrderedDict[K, V] = OrderedDict()

    def get(self, key: K) -> V | None:
        """Return a value, which makes it the most recent."""
        found = self._entries.get(key)
        if found is not None:
            self._entries.move_to_end(key)
        return found

    def put(self, key: K, value: V) -> None:
        """Remember a value; the least recent one goes when there are too many."""
        self._entries[key] = value
        self._entries.move_to_end(key)
        if len(self._entries) > self._limit:
            self._entries.popitem(last=False)

    def __iter__(self) -> Iterator[K]:
        return iter(self._entries)

    def items(self) -> Iterable[tuple[K, V]]:
        """Return all entries, the least recently used first."""
        return self._entries.items()

    def drop(self, key: K) -> None:
        """Forget a value, if it is known."""
        self._entries.pop(key, None)
