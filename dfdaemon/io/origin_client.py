"""The origin registries as the daemon sees them: bytes of a blob or manifest, and what HEAD says of it.

A registry's mirrors are asked before it, in their order, for what a stranger or this host may have; a client's own
credential goes to nobody but the registry that it is for.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from typing import Any, Literal, TypeVar

from aiohttp import ClientResponse
from aiohttp.abc import AbstractResolver
from multidict import CIMultiDict
from yarl import URL

from dfdaemon.config import OriginConfig
from dfdaemon.endpoints import Endpoint
from dfdaemon.io.node_credentials import NodeCredentials
from dfdaemon.io.origin_answers import (
    OriginBody,
    OriginHead,
    WrongSize,
    body_of,
    head_of,
    head_of_part,
    proves_access,
    require,
)
from dfdaemon.io.origin_asking import THIS_HOST, A, OriginAsking, Send
from dfdaemon.io.origin_transport import Answer, Exchange, OriginTransport
from swarm.dice import Dice
from swarm.digest import Digest
from swarm.errors import (
    DamselflyError,
    NotAllowed,
    OriginContent,
    OriginCut,
    OriginError,
    OriginStatus,
    OriginThrottled,
    OriginTimeout,
    OurselvesError,
    OwnLimit,
    RedirectRefused,
)
from swarm.facts import Note
from swarm.ids import TaskId

AWAY_S = 30.0
"""A mirror that could not be asked, or gave a bad body, is passed over for this long: it may cost each attempt."""
SILENT_S = 5.0
"""A mirror that had not answered for this long when its question was given up counts as one that cannot be asked."""
HEAD_IS_REFUSED = frozenset({400, 403, 405, 501})
"""What a storage answers to HEAD at an address that was signed for GET."""
HEAD_IS_NO_ANSWER = frozenset({404, 405, 501})
"""What registries answer to HEAD of a blob that they give to who gets it: a proxy that does not have it yet, or none
that knows HEAD."""
MANIFEST_TYPES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)

SAYS_NO = OriginStatus | OriginThrottled | NotAllowed | OwnLimit | RedirectRefused
"""Errors after which a mirror is asked again: another question may do."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class OriginSource:
    """Where the origin has some content, and the credential with which this host may fetch it.

    `authorization`: a client's header as it came, None for nobody's, or THIS_HOST.
    `scope`: copies are shared with it only, not with all registries (dfdaemon/trust.py).
    """

    registry: str
    repository: str
    digest: Digest
    kind: Literal["blob", "manifest"]
    accept: tuple[str, ...] = ()
    authorization: str | None = field(default=None, repr=False)
    scope: str = ""
    past_mirrors: bool = field(default=False, compare=False)
    """Only the registry itself is asked: what its mirrors gave may have been wrong."""

    @property
    def task(self) -> TaskId:
        """The swarm's task on this content."""
        return self.digest.task_within(self.scope)


@dataclass(frozen=True, slots=True)
class _Question:
    """What is asked for, wherever it is asked."""

    method: str
    repository: str
    kind: Literal["blobs", "manifests"]
    reference: str
    headers: tuple[tuple[str, str], ...]

    def at(self, endpoint: Endpoint) -> Exchange:
        """Return the request for one address."""
        repository = endpoint.repository(self.repository)
        url = URL(f"{endpoint.base}/v2/{repository}/{self.kind}/{self.reference}", encoded=True)
        headers = CIMultiDict([("Accept-Encoding", "identity"), ("User-Agent", "damselfly"), *self.headers])
        target = f"{self.method} {endpoint.registry}/{repository} {self.kind} {self.reference}"
        return Exchange(endpoint, self.method, url, target, headers)


class _Place(Enum):
    """Who answered, after redirects."""

    ASKED = auto()
    """The address that was asked."""
    MOVED = auto()
    """Another one of the same origin."""
    ELSEWHERE = auto()
    """Another origin, a storage mostly. It saw no credential: its 403 is about the signed address, or a clock."""


class OriginClient:
    """Asks origin registries. Made inside a running event loop; one per daemon."""

    def __init__(
        self,
        config: OriginConfig,
        dice: Dice,
        *,
        resolver: AbstractResolver | None = None,
        wall_clock: Callable[[], float] = time.time,
        note: Callable[[Note], None] = lambda note: None,
    ) -> None:
        self._wall_clock = wall_clock
        self._note = note
        self._transport = OriginTransport(config, resolver)
        self._credentials = NodeCredentials(config, note)
        self._asking = OriginAsking(self._transport, config, dice, self._credentials)
        self._away: dict[str, float] = {}

    async def close(self) -> None:
        """End all connections."""
        await self._transport.close()

    def endpoint(self, registry: str) -> Endpoint:
        """Return where a registry is; raises NotAllowed when this daemon may not reach it."""
        return self._transport.endpoints.of(registry)

    def credential(self, registry: str, authorization: str | None) -> str | None:
        """Return as whom a client is served: with its own credential, or with this host's where that is lent."""
        lent = authorization is None and self.endpoint(registry).lends
        return THIS_HOST if lent else authorization

    def as_this_host(self, source: OriginSource) -> OriginSource | None:
        """Return a source that a client's credential opens no more, for this host's own; None without one."""
        if source.authorization == THIS_HOST or not self._credentials.are_any:
            return None
        return replace(source, authorization=THIS_HOST)

    def has_mirrors(self, registry: str) -> bool:
        """Tell whether content of a registry may come from others."""
        return bool(self._transport.endpoints.mirrors(registry))

    def fetch(
        self, source: OriginSource, start: int, end: int | None
    ) -> AbstractAsyncContextManager[OriginBody]:
        """Open bytes [start, end) of a blob; `end` None with `start` 0: the whole, without Range.

        Raises NotAllowed, OwnLimit, RedirectRefused, OriginStatus, OriginThrottled, OriginUnreachable, OriginTimeout,
        OriginCut, OriginContent, and OriginError for a storage that refuses the address that the registry gave.
        The body may still be the whole blob (`ranged` False): many registries ignore Range.
        """
        return self._fetch(source, start, end)

    async def head_blob(self, source: OriginSource) -> OriginHead:
        """Ask whether the origin gives this credential that blob or manifest, and how large it is."""
        accept = _accept(source.accept) if source.kind == "manifest" else ()
        question = _Question("HEAD", source.repository, _kind(source), str(source.digest), accept)
        return await self._head(source.registry, question, source.authorization)

    async def head_manifest(
        self,
        registry: str,
        repository: str,
        reference: str,
        accept: tuple[str, ...],
        authorization: str | None,
    ) -> OriginHead:
        """Ask which manifest a tag (or digest) names now."""
        question = _Question("HEAD", repository, "manifests", reference, _accept(accept))
        return await self._head(registry, question, authorization)

    def request(
        self,
        registry: str,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: Any = None,
        silence_s: float | None = None,
        lent_for: str = "",
    ) -> AbstractAsyncContextManager[ClientResponse]:
        """Send a client's request and open the answer, both as they are: nothing is followed or repeated.

        `path` is percent-encoded, with its query, without `ns`; `body` an async iterator of bytes or None;
        `silence_s`: when to give up, if not after origin.read_timeout_s; `lent_for`: the repository for which this
        host's account is lent to the client, if it is.
        """
        endpoint = self.endpoint(registry)
        url = URL(endpoint.base + path, encoded=True)
        target = f"{method} {registry}{url.raw_path}"
        exchange = Exchange(endpoint, method, url, target, CIMultiDict(headers), body, silence_s)
        return self._request(exchange, lent_for)

    @contextlib.asynccontextmanager
    async def _request(self, exchange: Exchange, lent_for: str) -> AsyncIterator[ClientResponse]:
        if lent_for:
            response, _ = await self._asking.ask(exchange, lent_for, THIS_HOST, self._transport.send)
        else:
            response = await self._transport.send(exchange)
        try:
            yield response
        finally:
            response.release()

    @contextlib.asynccontextmanager
    async def _fetch(self, source: OriginSource, start: int, end: int | None) -> AsyncIterator[OriginBody]:
        headers = list(_accept(source.accept)) if source.kind == "manifest" else []
        ranged = start > 0 or end is not None
        if ranged:
            headers.append(("Range", f"bytes={start}-" if end is None else f"bytes={start}-{end - 1}"))
        question = _Question("GET", source.repository, _kind(source), str(source.digest), tuple(headers))
        wanted = (200, 206, 416) if ranged else (200,)

        async def open_at(endpoint: Endpoint, authorization: str | None) -> OriginBody:
            download, exchange, _ = await self._ask(
                question, endpoint, authorization, wanted, self._transport.open
            )
            with _releasing_if_bad(download):
                return body_of(download, exchange.target, start, end, source.kind == "manifest")

        # Who gets this far was let through already: mirrors are asked as this host.
        mirrors = [] if source.past_mirrors else self._mirrors(source.registry)
        asked = [(mirror, THIS_HOST) for mirror in mirrors]
        body, endpoint = await self._through(source.registry, asked, source.authorization, open_at)
        try:
            yield body
        except (OriginCut, OriginTimeout, OriginContent, WrongSize) as error:
            if endpoint in mirrors:
                self._pass_over(source.registry, endpoint, error)
            raise
        finally:
            body.download.release()

    async def _head(self, registry: str, question: _Question, authorization: str | None) -> OriginHead:
        unanswered = HEAD_IS_NO_ANSWER if question.kind == "blobs" else frozenset()

        async def head_at(endpoint: Endpoint, authorization: str | None) -> OriginHead:
            wanted = (200, *HEAD_IS_REFUSED, *unanswered)
            response, exchange, place = await self._ask(
                question, endpoint, authorization, wanted, self._transport.send
            )
            try:
                if place is _Place.ASKED and response.status not in unanswered:
                    require(response, exchange.target, (200,), self._wall_clock())
                    return head_of(response, exchange.target, question.reference)
                if response.status == 200 and proves_access(response, place is _Place.ELSEWHERE):
                    return head_of(response, exchange.target, question.reference)
            finally:
                response.release()
            return await self._head_of_part(question, endpoint, authorization)

        # A mirror's yes proves nothing of a client's credential, which it never sees.
        strange = authorization in (None, THIS_HOST)
        asked = [(mirror, authorization) for mirror in self._mirrors(registry)] if strange else []
        head, _ = await self._through(registry, asked, authorization, head_at)
        return head

    async def _head_of_part(
        self, question: _Question, endpoint: Endpoint, authorization: str | None
    ) -> OriginHead:
        """Get the first byte where a redirect led to what proves nothing: addresses signed for GET refuse HEAD."""
        headers = (*question.headers, ("Range", "bytes=0-0"))
        asked, wanted = replace(question, method="GET", headers=headers), (200, 206, 416)
        response, exchange, place = await self._ask(
            asked, endpoint, authorization, wanted, self._transport.send
        )
        try:
            return head_of_part(response, exchange.target, question.reference, place is not _Place.MOVED)
        finally:
            response.release()

    async def _ask(
        self,
        question: _Question,
        endpoint: Endpoint,
        authorization: str | None,
        wanted: tuple[int, ...],
        send: Send[A],
    ) -> tuple[A, Exchange, _Place]:
        exchange = question.at(endpoint)
        repository = endpoint.repository(question.repository)
        origin = last = exchange.url.origin()

        async def sent(each: Exchange) -> A:
            nonlocal last
            last = each.url.origin()
            return await send(each)

        response, redirected = await self._asking.ask(exchange, repository, authorization, sent)
        place = _Place.ASKED
        if redirected:
            place = _Place.MOVED if last == origin else _Place.ELSEWHERE
        with _releasing_if_bad(response):
            if place is _Place.ELSEWHERE and response.status == 403 and 403 not in wanted:
                raise OriginError(
                    f"the storage that the origin redirects to answered 403 to {exchange.target}"
                )
            require(response, exchange.target, wanted, self._wall_clock())
        return response, exchange, place

    # --- mirrors of a registry --------------------------------------------------------------------------------

    def _mirrors(self, registry: str) -> list[Endpoint]:
        now = asyncio.get_running_loop().time()
        mirrors = self._transport.endpoints.mirrors(registry)
        return [mirror for mirror in mirrors if self._away.get(mirror.base, now) <= now]

    async def _through(
        self,
        registry: str,
        mirrors: Sequence[tuple[Endpoint, str | None]],
        authorization: str | None,
        ask: Callable[[Endpoint, str | None], Awaitable[T]],
    ) -> tuple[T, Endpoint]:
        """Ask the mirrors, then the registry, until one gives an answer; return it, and who gave it.

        Raises what the registry's answer means.
        """
        own = self.endpoint(registry)
        clock = asyncio.get_running_loop().time
        for mirror, credential in mirrors:
            began = clock()
            try:
                return await ask(mirror, credential), mirror
            except asyncio.CancelledError:  # a fetch may be given up long before the mirror is
                if clock() - began >= SILENT_S:
                    self._pass_over(registry, mirror, OriginTimeout(f"no answer for {SILENT_S:g} s"))
                raise
            except (OriginError, NotAllowed, OurselvesError) as error:
                self._pass_over(registry, mirror, error)
        return await ask(own, authorization), own

    def _pass_over(self, registry: str, mirror: Endpoint, error: DamselflyError) -> None:
        """A mirror failed, before its answer or within the body: for a while others are asked, unless it said no."""
        if not isinstance(error, SAYS_NO):
            self._away[mirror.base] = asyncio.get_running_loop().time() + AWAY_S
        fields = (("registry", registry), ("mirror", mirror.base), ("reason", str(error)))
        self._note(Note("mirror_passed_over", fields=fields))


@contextlib.contextmanager
def _releasing_if_bad(response: Answer) -> Iterator[None]:
    """Release an answer that nobody will read."""
    try:
        yield
    except BaseException:
        response.release()
        raise


def _kind(source: OriginSource) -> Literal["blobs", "manifests"]:
    return "manifests" if source.kind == "manifest" else "blobs"


def _accept(lines: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    return tuple(("Accept", line) for line in lines or MANIFEST_TYPES)
