"""The origin registries as the daemon sees them: bytes of a blob or manifest, and what HEAD says of it.

A client's own Authorization is used as it came; without one, the anonymous token flow is tried. Redirects are
followed, without Authorization to another address. What may succeed a moment later is repeated, with jitter.
"""

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from aiohttp import ClientResponse
from aiohttp.abc import AbstractResolver
from multidict import CIMultiDict
from yarl import URL

from dfdaemon.challenges import Challenge, bearer_challenge
from dfdaemon.config import OriginConfig
from dfdaemon.endpoints import Endpoint
from dfdaemon.io.origin_auth import TOKEN_BYTES_MAX, AnonymousTokens
from dfdaemon.io.origin_transport import Exchange, OriginTransport, body_chunks, mapped_errors, read_small
from dfdaemon.retry_after import retry_after_s
from swarm.dice import Dice
from swarm.digest import Digest
from swarm.errors import (
    BadDigest,
    NotAllowed,
    OriginContent,
    OriginCut,
    OriginStatus,
    OriginThrottled,
    OriginUnreachable,
)
from swarm.ids import TaskId

REDIRECTS_MAX = 5
"""Registries redirect once, storages seldom again."""
REDIRECTS = frozenset({301, 302, 303, 307, 308})
REPEATED = frozenset({500, 502, 503, 504})
"""Answers that may be better a moment later."""
PAUSE_S = 0.1
"""Before the second attempt; doubles each time, times 0.5 to 1.5."""
PAUSE_MAX_S = 2.0
HEAD_IS_REFUSED = frozenset({400, 403, 405, 501})
"""What a storage answers to HEAD at an address that was signed for GET."""
MANIFEST_TYPES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
_CONTENT_RANGE = re.compile(r"bytes (\d{1,15})-(\d{1,15})/(\d{1,15}|\*)")


@dataclass(frozen=True, slots=True)
class OriginSource:
    """Where the origin has some content, and the credential with which this host may fetch it.

    `scope`: copies are shared with it only, not with all registries (dfdaemon/trust.py).
    """

    registry: str
    repository: str
    digest: Digest
    kind: Literal["blob", "manifest"]
    accept: tuple[str, ...] = ()
    authorization: str | None = field(default=None, repr=False)
    scope: str = ""

    @property
    def task(self) -> TaskId:
        """The swarm's task on this content."""
        return self.digest.task_within(self.scope)


@dataclass(frozen=True, slots=True)
class OriginHead:
    """What the origin says of some content. `size` in bytes, -1: unknown; `digest` None: it did not say."""

    size: int
    media_type: str
    digest: Digest | None


@dataclass(slots=True)
class OriginBody:
    """An open answer. `total`: bytes of the whole blob, -1: unknown; `ranged`: it is the range asked for."""

    total: int
    ranged: bool
    media_type: str
    _response: ClientResponse = field(repr=False)
    _target: str

    def chunks(self) -> AsyncIterator[bytes]:
        """Give the bytes as they come, pieces of any length; raises OriginCut or OriginTimeout."""
        return body_chunks(self._response, self._target)


class OriginClient:
    """Asks origin registries. Made inside a running event loop; one per daemon."""

    def __init__(
        self,
        config: OriginConfig,
        dice: Dice,
        *,
        resolver: AbstractResolver | None = None,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._config = config
        self._dice = dice
        self._wall_clock = wall_clock
        self._transport = OriginTransport(config, resolver)
        self._tokens = AnonymousTokens(asyncio.get_running_loop().time)

    async def close(self) -> None:
        """End all connections."""
        await self._transport.close()

    def endpoint(self, registry: str) -> Endpoint:
        """Return where a registry is; raises NotAllowed when this daemon may not reach it."""
        return self._transport.endpoints.of(registry)

    def fetch(
        self, source: OriginSource, start: int, end: int | None
    ) -> AbstractAsyncContextManager[OriginBody]:
        """Open bytes [start, end) of a blob; `end` None with `start` 0: the whole, without Range.

        Raises NotAllowed, OriginStatus, OriginThrottled, OriginUnreachable, OriginTimeout, OriginCut and
        OriginContent.
        The body may still be the whole blob (`ranged` False): many registries ignore Range.
        """
        return self._fetch(source, start, end)

    async def head_blob(self, source: OriginSource) -> OriginHead:
        """Ask whether the origin gives this credential that blob or manifest, and how large it is."""
        kind = "manifests" if source.kind == "manifest" else "blobs"
        accept = source.accept if source.kind == "manifest" else ()
        return await self._head(
            source.registry, source.repository, kind, str(source.digest), accept, source.authorization
        )

    async def head_manifest(
        self,
        registry: str,
        repository: str,
        reference: str,
        accept: tuple[str, ...],
        authorization: str | None,
    ) -> OriginHead:
        """Ask which manifest a tag (or digest) names now."""
        return await self._head(registry, repository, "manifests", reference, accept, authorization)

    def request(
        self, registry: str, method: str, path: str, headers: Mapping[str, str], body: Any = None
    ) -> AbstractAsyncContextManager[ClientResponse]:
        """Send a client's request and open the answer, both as they are: nothing is followed or repeated.

        `path` is percent-encoded, with its query, without `ns`; `body` an async iterator of bytes or None.
        """
        return self._request(registry, method, path, headers, body)

    @contextlib.asynccontextmanager
    async def _request(
        self, registry: str, method: str, path: str, headers: Mapping[str, str], body: Any
    ) -> AsyncIterator[ClientResponse]:
        endpoint = self.endpoint(registry)
        url = URL(endpoint.base + path, encoded=True)
        target = f"{method} {registry}{url.raw_path}"
        response = await self._transport.send(
            Exchange(endpoint, method, url, target, CIMultiDict(headers), body)
        )
        try:
            yield response
        finally:
            response.release()

    @contextlib.asynccontextmanager
    async def _fetch(self, source: OriginSource, start: int, end: int | None) -> AsyncIterator[OriginBody]:
        kind = "manifests" if source.kind == "manifest" else "blobs"
        exchange = self._exchange("GET", source.registry, source.repository, kind, str(source.digest))
        if source.kind == "manifest":
            _add_accept(exchange.headers, source.accept)
        ranged = start > 0 or end is not None
        if ranged:
            exchange.headers["Range"] = f"bytes={start}-" if end is None else f"bytes={start}-{end - 1}"
        response, _ = await self._ask(exchange, source.repository, source.authorization)
        try:
            self._require(response, exchange, (200, 206) if ranged else (200,))
            yield _body(response, exchange.target, start, end)
        finally:
            response.release()

    async def _head(
        self,
        registry: str,
        repository: str,
        kind: str,
        reference: str,
        accept: tuple[str, ...],
        authorization: str | None,
    ) -> OriginHead:
        exchange = self._exchange("HEAD", registry, repository, kind, reference)
        if kind == "manifests":
            _add_accept(exchange.headers, accept)
        response, redirected = await self._ask(exchange, repository, authorization)
        try:
            if redirected and response.status in HEAD_IS_REFUSED:
                return OriginHead(-1, "", None)  # the registry itself agreed: it sent us to the content
            self._require(response, exchange, (200,))
            return _head_of(response)
        finally:
            response.release()

    def _exchange(self, method: str, registry: str, repository: str, kind: str, reference: str) -> Exchange:
        endpoint = self.endpoint(registry)
        url = URL(f"{endpoint.base}/v2/{repository}/{kind}/{reference}", encoded=True)
        headers = CIMultiDict({"Accept-Encoding": "identity", "User-Agent": "damselfly"})
        return Exchange(
            endpoint, method, url, f"{method} {registry}/{repository} {kind} {reference}", headers
        )

    def _require(self, response: ClientResponse, exchange: Exchange, wanted: tuple[int, ...]) -> None:
        """Raise what an unwanted status means."""
        if response.status in wanted:
            return
        wait = response.headers.get("Retry-After")
        if response.status == 429 or (response.status == 503 and wait is not None):
            pause = retry_after_s(wait, self._wall_clock())
            raise OriginThrottled(response.status, exchange.target, pause)
        challenges = tuple(response.headers.getall("WWW-Authenticate", ()))
        raise OriginStatus(response.status, exchange.target, challenges)

    # --- who asks -----------------------------------------------------------------------------------------

    async def _ask(
        self, exchange: Exchange, repository: str, authorization: str | None
    ) -> tuple[ClientResponse, bool]:
        """Ask with the credential, or anonymously; return the answer, and whether a redirect led to it."""
        if authorization is not None:
            return await self._attempts(_authorized(exchange, authorization))
        registry = exchange.endpoint.registry
        known = self._tokens.known(registry, repository)
        first = await self._attempts(exchange if known is None else _authorized(exchange, known))
        challenge = bearer_challenge(first[0].headers.getall("WWW-Authenticate", ()))
        if first[0].status != 401 or first[1] or challenge is None:
            return first
        token = await self._tokens.fetch(
            registry, repository, challenge, lambda asked: self._fetch_token(exchange.endpoint, asked)
        )
        if token is None:
            return first
        second = await self._attempts(_authorized(exchange, token))
        worse, better = (second, first) if second[0].status == 401 else (first, second)
        worse[0].release()  # of two refusals the first holds the challenge that a client can answer
        return better

    async def _fetch_token(self, endpoint: Endpoint, challenge: Challenge) -> bytes:
        """Ask the realm of a challenge for an anonymous token."""
        asked = [
            (key, challenge.parameters[key]) for key in ("service", "scope") if challenge.parameters.get(key)
        ]
        target = f"a token of {endpoint.registry}"
        with mapped_errors(target):
            url = URL(challenge.parameters["realm"]).extend_query(asked)
        headers = CIMultiDict({"Accept-Encoding": "identity", "User-Agent": "damselfly"})
        exchange = Exchange(endpoint, "GET", url, target, headers)
        response, _ = await self._attempts(exchange)
        try:
            self._require(response, exchange, (200,))
            return await read_small(response, TOKEN_BYTES_MAX, target)
        finally:
            response.release()

    # --- how often ----------------------------------------------------------------------------------------

    async def _attempts(self, exchange: Exchange) -> tuple[ClientResponse, bool]:
        """Repeat what may succeed a moment later, up to `origin.retries` attempts in all."""
        for attempt in range(1, self._config.retries + 1):
            last = attempt == self._config.retries
            try:
                found = await self._follow(exchange)
            except (OriginUnreachable, OriginCut):
                if last:
                    raise
            else:
                status, headers = found[0].status, found[0].headers
                if last or status not in REPEATED or "Retry-After" in headers:
                    return found
                found[0].release()
            await asyncio.sleep(self._pause_s(attempt))
        raise AssertionError("the last attempt returns or raises")

    def _pause_s(self, attempt: int) -> float:
        return float(min(PAUSE_MAX_S, PAUSE_S * 2 ** (attempt - 1)) * (0.5 + self._dice.share()))

    async def _follow(self, exchange: Exchange) -> tuple[ClientResponse, bool]:
        """Send a request, and again to where it is redirected."""
        for count in range(REDIRECTS_MAX + 1):
            response = await self._transport.send(exchange)
            if response.status not in REDIRECTS or "Location" not in response.headers:
                return response, count > 0
            location = response.headers["Location"]
            response.release()
            exchange = _redirected(exchange, location)
        raise OriginContent(f"{exchange.target} was redirected more than {REDIRECTS_MAX} times")


def _authorized(exchange: Exchange, authorization: str) -> Exchange:
    headers = exchange.headers.copy()
    headers["Authorization"] = authorization
    return replace(exchange, headers=headers)


def _redirected(exchange: Exchange, location: str) -> Exchange:
    """Return the request at its new address, without Authorization unless the address is the same."""
    with mapped_errors(exchange.target):
        url = exchange.url.join(URL(location, encoded=True))
        elsewhere = url.origin() != exchange.url.origin()
    if exchange.url.scheme == "https" and url.scheme == "http":
        raise NotAllowed(exchange.target, "it was redirected from https to http")
    headers = exchange.headers.copy()
    if elsewhere:
        headers.popall("Authorization", None)
    return replace(exchange, url=url, headers=headers)


def _add_accept(headers: CIMultiDict[str], accept: tuple[str, ...]) -> None:
    for line in accept or MANIFEST_TYPES:
        headers.add("Accept", line)


def _head_of(response: ClientResponse) -> OriginHead:
    text = response.headers.get("Docker-Content-Digest", "")
    try:
        digest = Digest.parse(text)
    except BadDigest:
        digest = None
    return OriginHead(_length(response), response.headers.get("Content-Type", ""), digest)


def _length(response: ClientResponse) -> int:
    text = response.headers.get("Content-Length", "")
    return int(text) if text.isdecimal() and len(text) <= 15 else -1


def _body(response: ClientResponse, target: str, start: int, end: int | None) -> OriginBody:
    """Judge the headers of a body; raises OriginContent when they are not what was asked for."""
    encoding = response.headers.get("Content-Encoding", "identity").lower()
    if encoding != "identity":
        raise OriginContent(
            f"the origin sent {target} with Content-Encoding {encoding[:40]!r}, identity was asked for"
        )
    media_type = response.headers.get("Content-Type", "")
    if response.status == 200:
        return OriginBody(_length(response), False, media_type, response, target)
    text = response.headers.get("Content-Range", "")
    found = _CONTENT_RANGE.fullmatch(text)
    if found is None:
        raise OriginContent(
            f"the origin answered 206 to {target} with the malformed Content-Range {text[:80]!r}"
        )
    first, last = int(found[1]), int(found[2])
    total = -1 if found[3] == "*" else int(found[3])
    wanted = last + 1 if end is None else end
    if first != start or last + 1 != (wanted if total < 0 else min(wanted, total)):
        raise OriginContent(f"the origin answered {text[:80]!r} to {target} for bytes {start} to {end}")
    return OriginBody(total, True, media_type, response, target)
