"""What this daemon knows of repositories, and tells the others: the shell around the tables of permissions.py."""

import asyncio
import hashlib
import secrets
from dataclasses import dataclass, field

from dfdaemon.accept import WHOLE
from dfdaemon.descriptors import Kind
from dfdaemon.io.blobs import Cluster
from dfdaemon.permissions import ANONYMOUS, CredentialHash, KnownTag, Member, Permissions, Place
from swarm.digest import Digest
from swarm.errors import DamselflyError, OriginStatus
from swarm.ids import TaskId
from swarm.repositories import RepositoryAnswer, RepositoryReport, TagReport

REPORT_DELAY_S = 0.05
"""Findings of one pull gather into one message."""
REPORT_MEMBERS_MAX = 1024
"""Digests in one report: 80 KiB."""
KEY_BYTES = 32


@dataclass(slots=True)
class _News:
    """Members with their bytes, -1: unknown, and the media type of those that are manifests."""

    public: bool = False
    closed: bool = False
    members: dict[TaskId, tuple[int, str]] = field(default_factory=dict)
    unproven: dict[TaskId, None] = field(default_factory=dict)


class Knowledge:
    """The tables, with the clock of the event loop, and the news for the cluster. Used on the loop's thread only."""

    def __init__(self, cluster: Cluster) -> None:
        self.tables = Permissions()
        self._cluster = cluster
        self._key = secrets.token_bytes(KEY_BYTES)
        self._loop = asyncio.get_running_loop()
        self._news: dict[Place, _News] = {}
        self._timer: asyncio.TimerHandle | None = None

    def now(self) -> float:
        """Return the time of all entries."""
        return self._loop.time()

    def credential(self, authorization: str | None) -> CredentialHash:
        """Return the hash under which a credential is remembered; its key lives as long as the process."""
        if authorization is None:
            return ANONYMOUS
        text = authorization.encode("utf-8", "surrogateescape")
        return CredentialHash(hashlib.blake2b(text, key=self._key, digest_size=16).digest())

    def is_permitted(self, place: Place, authorization: str | None) -> bool:
        """Tell whether this credential may read this repository, as far as is known."""
        now = self.now()
        if self.tables.is_public(place, now):
            return True
        return authorization is not None and self.tables.accepted(place, self.credential(authorization), now)

    def was_permitted(self, place: Place, authorization: str | None) -> bool:
        """Tell whether this credential could read this repository when the origin could last be asked."""
        known = self.tables.was_accepted(place, self.credential(authorization), self.now())
        return self.tables.was_public(place) or (authorization is not None and known)

    def accepted(self, place: Place, authorization: str | None) -> None:
        """The origin took this credential, or a stranger, just now."""
        if authorization is None:
            self.published(place)
        else:
            self.tables.accept(place, self.credential(authorization), self.now())

    def published(self, place: Place) -> None:
        """The origin let a stranger read this repository just now."""
        if self.tables.publish(place, self.now()):
            news = self._report(place)
            news.public, news.closed = True, False

    def refused(self, place: Place, authorization: str | None, error: OriginStatus) -> None:
        """The origin refused this credential, or a stranger, just now; then the repository is not public."""
        self.tables.refuse(place, self.credential(authorization), error, self.now())
        if authorization is None:
            self.tables.close(place)
            news = self._report(place)
            news.public, news.closed = False, True

    def refusal(self, place: Place, authorization: str | None) -> OriginStatus | None:
        """Return the origin's no to this credential, if it is fresh enough to be repeated."""
        return self.tables.refusal(place, self.credential(authorization), self.now())

    def forbidden(self, place: Place, digest: Digest, authorization: str | None, error: OriginStatus) -> None:
        """The origin refused this content just now to who may read the repository."""
        self.tables.forbid(place, digest, self.credential(authorization), error, self.now())

    def ban(self, place: Place, digest: Digest, authorization: str | None) -> OriginStatus | None:
        """Return the origin's no to this credential about this content, if it is fresh enough to be repeated."""
        return self.tables.ban(place, digest, self.credential(authorization), self.now())

    def failed(self, place: Place, authorization: str | None, error: DamselflyError) -> None:
        """The origin could not say yes or no to this credential, or a stranger, just now."""
        self.tables.fail(place, self.credential(authorization), error, self.now())

    def failure(self, place: Place, authorization: str | None) -> DamselflyError | None:
        """Return why the origin could not be asked with this credential a moment ago."""
        return self.tables.failure(place, self.credential(authorization), self.now())

    def learn(self, place: Place, digest: Digest, answer: RepositoryAnswer) -> None:
        """Take over what the cluster knows of a repository and a digest in it.

        It belongs there as a manifest only if that was told with its media type: else the registry may have it as
        a blob alone.
        """
        if answer.public:
            self.tables.publish(place, self.now(), answer.public_age_s)
        if answer.member:
            kind: Kind = "manifest" if answer.media_type else "blob"
            self.tables.add_member(place, digest, kind, Member(answer.size or -1, answer.media_type, True))

    def listed(self, place: Place, digest: Digest, kind: Kind, member: Member) -> None:
        """A digest was seen in this repository."""
        news_for_all = kind == "blob" or bool(member.media_type)  # without it others would take it for a blob
        if self.tables.add_member(place, digest, kind, member) and news_for_all:
            news = self._report(place)
            if len(news.members) < REPORT_MEMBERS_MAX:
                known = self.tables.member(place, digest, kind)
                assert known is not None, "it was put there above"
                _, before = news.members.get(digest.task, (-1, ""))
                news.members[digest.task] = known.size, known.media_type if kind == "manifest" else before

    def unproven(self, place: Place, digest: Digest) -> None:
        """The origin did not say that a digest belongs to this repository: who waits for our answer shall not."""
        news = self._report(place)
        if len(news.unproven) < REPORT_MEMBERS_MAX:
            news.unproven[digest.task] = None

    def resolved(self, place: Place, tag: str, known: KnownTag, form: str) -> None:
        """The origin said just now what a tag means to clients whose Accept has this form.

        Only what it says to those who take any kind of image is of use to others.
        """
        whole = form == WHOLE
        self.tables.set_tag(place, tag, known, form)
        self.listed(place, known.digest, "manifest", Member(known.size, known.media_type, True, whole))
        if not whole:
            return
        report = TagReport(*place, tag, known.digest.task, known.media_type, max(0, known.size))
        self._cluster.report_tag(report)

    def _report(self, place: Place) -> _News:
        if self._timer is None:
            self._timer = self._loop.call_later(REPORT_DELAY_S, self._tell)
        return self._news.setdefault(place, _News())

    def _tell(self) -> None:
        self._timer = None
        news, self._news = self._news, {}
        for place, entry in news.items():
            public = not entry.closed and (entry.public or self.tables.is_public(place, self.now()))
            sizes = tuple(size for size, _ in entry.members.values())
            types = tuple(media_type for _, media_type in entry.members.values())
            self._cluster.report_repository(
                RepositoryReport(
                    *place,
                    public,
                    tuple(entry.members),
                    sizes,
                    entry.closed,
                    tuple(entry.unproven),
                    types if any(types) else (),
                )
            )

    def close(self) -> None:
        """Tell what is left to tell."""
        if self._timer is not None:
            self._timer.cancel()
            self._tell()
