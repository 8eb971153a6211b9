"""One HTTP exchange with an origin: which client, which certificates, whose turn.

Small exchanges are aiohttp's; content comes over connections of our own, whose bytes go to receivers' threads. Both
know two kinds of addresses: those that the configuration names, and all others, whose resolver gives out public
addresses only. The kinds share no connections, so a kept one cannot carry a request past the check.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import aiohttp
import h11
from aiohttp import ClientResponse, ClientSession, ClientTimeout, TCPConnector
from aiohttp.abc import AbstractResolver
from multidict import CIMultiDict, MultiMapping
from yarl import URL

from dfdaemon.config import OriginConfig
from dfdaemon.endpoints import Endpoint, Endpoints
from dfdaemon.io.origin_addresses import Addresses, EnvironmentProxies, PublicResolver, SharedResolver
from dfdaemon.io.origin_connections import Connections, Download, Terms
from dfdaemon.io.origin_dialing import Dialer, Route, account_header
from dfdaemon.io.origin_errors import mapped_errors
from dfdaemon.io.origin_tls import TlsContexts
from dfdaemon.io.origin_turns import Turns
from dfdaemon.io.token_bucket import TokenBucket
from swarm.errors import NotAllowed, OriginContent

HEADER_BYTES_MAX = 32 * 1024
"""An origin's header line; signed storage addresses take up to 4 KiB."""
READ_BUFFER_BYTES = 512 * 1024
"""Bytes read ahead of whoever takes the body."""

SMALL_BODY_S_MAX = 20.0
"""A token, of a few KiB, comes within a second; clients wait for it. One that comes byte by byte is never silent."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request. `target` names it in errors: registry, repository and reference, never a query."""

    endpoint: Endpoint
    method: str
    url: URL
    target: str
    headers: CIMultiDict[str] = field(repr=False)
    body: Any = field(default=None, repr=False)
    silence_s: float | None = None
    """Silence after which the answer is given up; None: origin.read_timeout_s."""


class Answer(Protocol):
    """The head of an answer, whichever client got it."""

    @property
    def status(self) -> int:
        """The status code."""

    @property
    def headers(self) -> MultiMapping[str]:
        """The headers, whatever their case."""

    def release(self) -> object:
        """Let go of it; more calls do nothing."""


class SmallAnswer(ClientResponse):
    """An answer of aiohttp that ends its turn when it was read to its end, or let go of."""

    end_turn: Callable[[], None] | None = None

    def release(self) -> Any:
        """Let go of it."""
        self._end()
        return super().release()

    def close(self) -> None:
        """Let go of it, and of its connection."""
        self._end()
        super().close()

    def _end(self) -> None:
        if self.end_turn is not None:
            self.end_turn()


class OriginTransport:
    """Sends requests and maps what goes wrong to OriginError, once. Made inside a running event loop."""

    def __init__(self, config: OriginConfig, resolver: AbstractResolver | None = None) -> None:
        self.endpoints = Endpoints(config)
        self._config = config
        self._addresses = Addresses(config.forbidden_networks)
        self._inner = resolver or aiohttp.ThreadedResolver()
        self._proxies = EnvironmentProxies()
        self._resolver = SharedResolver(self._inner, config.connect_timeout_s)
        guarding = PublicResolver(self._resolver, self._proxies.hosts, self._addresses)
        self._sessions = {True: _session(guarding), False: _session(self._resolver)}
        self._contexts = TlsContexts()
        self._connections = Connections(
            Dialer(self._resolver, guarding, self._contexts.systems, config.connect_timeout_s)
        )
        self._turns = Turns()
        self._limits: dict[str, TokenBucket | None] = {}

    async def close(self) -> None:
        """End all connections."""
        self._connections.close()
        for session in self._sessions.values():
            await session.close()
        await self._inner.close()

    async def send(self, exchange: Exchange) -> ClientResponse:
        """Send a request and return its answer, body unread; follows nothing, retries nothing."""
        route = await self._route(exchange)
        end_turn = await self._turns.take(exchange.endpoint, exchange.target)
        try:
            with mapped_errors(exchange.target):
                answer = await self._head_of_answer(exchange, route)
        except BaseException:
            end_turn()
            raise
        assert isinstance(answer, SmallAnswer), "the sessions make answers of this kind"
        answer.end_turn = end_turn
        answer.content.on_eof(end_turn)
        return answer

    async def _head_of_answer(self, exchange: Exchange, route: Route) -> ClientResponse:
        """Send a request and wait for the head of its answer; raises TimeoutError and what aiohttp raises.

        A head that comes byte by byte is not silent: without a body on its way there, the whole of it has its time.
        """
        silence_s = self._silence_s(exchange)
        sending = exchange.body is not None and not isinstance(exchange.body, bytes)
        async with asyncio.timeout(None if sending else self._config.connect_timeout_s + silence_s):
            return await self._sessions[route.guarded].request(
                exchange.method,
                exchange.url,
                headers=exchange.headers,
                data=exchange.body,
                allow_redirects=False,
                ssl=route.context or True,
                proxy=route.proxy,
                timeout=ClientTimeout(
                    total=None, sock_connect=self._config.connect_timeout_s, sock_read=silence_s
                ),
            )

    async def open(self, exchange: Exchange) -> Download:
        """Send a GET whose body may be large, and return its answer; that of a refusal was read already."""
        assert exchange.method == "GET", "only content is large"
        route = await self._route(exchange)
        end_turn = await self._turns.take(exchange.endpoint, exchange.target)
        terms = Terms(exchange.target, self._silence_s(exchange), self._limit(exchange.endpoint), end_turn)
        try:
            request = _request_to(exchange, route)
            download = await self._connections.open(route, request, terms)
        except BaseException:
            end_turn()
            raise
        if download.status not in (200, 206):
            await download.drain()
        return download

    def _limit(self, endpoint: Endpoint) -> TokenBucket | None:
        """Return what holds all downloads from a registry together to its rate."""
        if endpoint.base not in self._limits:
            self._limits[endpoint.base] = TokenBucket.of(endpoint.download_bytes_per_s_max)
        return self._limits[endpoint.base]

    async def _route(self, exchange: Exchange) -> Route:
        """Return how to get to an address; raises NotAllowed."""
        url, endpoint = exchange.url, exchange.endpoint
        with mapped_errors(exchange.target):
            host, port = url.host, url.port  # yarl finds out here that an address is malformed
        if url.scheme not in ("http", "https") or not host or not port:
            raise NotAllowed(
                exchange.target, f"a redirect to {url.scheme or 'nothing'}: is not one over HTTP"
            )
        guarded = await self._is_guarded(host, port, endpoint)
        context = self._contexts.of(url, endpoint) if url.scheme == "https" else None
        proxy = self._proxies.url_for(url.scheme, host, port)
        return Route(url.raw_host or host, port, guarded, context, proxy)

    async def _is_guarded(self, host: str, port: int, endpoint: Endpoint) -> bool:
        """Tell whether an address must not lead inside; raises NotAllowed when its text alone shows that it does."""
        listed = self.endpoints.is_listed(host, port)
        if listed or (endpoint.listed and not await self._leads_outside(endpoint)):
            return False
        self._addresses.check_literal(host)
        if host in self._proxies.hosts:
            raise NotAllowed(host, "it is the HTTP proxy of this machine")
        return True

    async def _leads_outside(self, endpoint: Endpoint) -> bool:
        """Tell whether a listed registry is on a public address: then its redirects stay outside too."""
        try:
            return self._addresses.is_outside(endpoint.host)
        except ValueError:
            pass
        try:
            found = await self._resolver.resolve(endpoint.host, endpoint.port)
        except OSError:
            return True
        return all(self._addresses.is_outside(entry["host"]) for entry in found)

    def _silence_s(self, exchange: Exchange) -> float:
        """Return after how long a silence an answer is given up."""
        return self._config.read_timeout_s if exchange.silence_s is None else exchange.silence_s


def _session(resolver: AbstractResolver) -> ClientSession:
    return ClientSession(
        connector=TCPConnector(resolver=resolver, limit=0),  # origin_turns.py limits them
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        read_bufsize=READ_BUFFER_BYTES,
        max_line_size=HEADER_BYTES_MAX,
        max_field_size=HEADER_BYTES_MAX,
        skip_auto_headers=("User-Agent", "Content-Type", "Accept-Encoding"),
        response_class=SmallAnswer,
    )


def _request_to(exchange: Exchange, route: Route) -> h11.Request:
    """Return a GET as it is sent on a route: through a proxy without a tunnel, with the whole address."""
    url = exchange.url
    headers = [("Host", url.host_port_subcomponent or ""), *exchange.headers.items()]
    if "Accept" not in exchange.headers:
        headers.append(("Accept", "*/*"))
    if "Authorization" not in exchange.headers:
        headers += account_header("Authorization", url)
    target = url.raw_path_qs
    if route.proxy is not None and route.context is None:
        target = str(url.with_user(None).with_fragment(None))
        headers += account_header("Proxy-Authorization", URL(route.proxy))
    try:
        return h11.Request(method="GET", target=target, headers=headers)
    except (h11.LocalProtocolError, ValueError):
        # Neither its text nor its cause is told: they quote the header, which may be a credential.
        raise OriginContent(f"{exchange.target} cannot be asked for: a header of it is malformed") from None


async def body_chunks(response: ClientResponse, target: str) -> AsyncIterator[bytes]:
    """Give a body's bytes as they come; raises OriginCut or OriginTimeout in the middle."""
    chunks = response.content.iter_any()
    while True:
        with mapped_errors(target):
            chunk = await anext(chunks, None)
        if chunk is None:
            return
        yield chunk


async def read_small(response: ClientResponse, limit: int, target: str) -> bytes:
    """Read a whole body of at most `limit` bytes; raises OriginContent when there is more.

    Raises OriginTimeout after SMALL_BODY_S_MAX, OriginCut.
    """
    gathered = bytearray()
    with mapped_errors(target):
        async with asyncio.timeout(SMALL_BODY_S_MAX):
            async for chunk in body_chunks(response, target):
                gathered += chunk
                if len(gathered) > limit:
                    raise OriginContent(f"the origin's answer to {target} is longer than {limit} bytes")
                await asyncio.sleep(0)
    return bytes(gathered)
