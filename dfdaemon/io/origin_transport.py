"""One HTTP exchange with an origin: which session, which certificates, which error of ours.

Two kinds of sessions: for addresses that the configuration names, and for all others, whose resolver gives out
public addresses only. They share no connections, so a kept one cannot carry a request past the check.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp import ClientResponse, ClientSession, ClientTimeout, TCPConnector
from aiohttp.abc import AbstractResolver
from multidict import CIMultiDict
from yarl import URL

from dfdaemon.config import OriginConfig
from dfdaemon.endpoints import Endpoint, Endpoints
from dfdaemon.io.origin_addresses import Addresses, EnvironmentProxies, PublicResolver, SharedResolver
from dfdaemon.io.origin_tls import TlsContexts
from dfdaemon.pace import WAIT_S_MAX, Pace
from swarm.errors import (
    NotAllowed,
    OriginContent,
    OriginCut,
    OriginError,
    OriginThrottled,
    OriginTimeout,
    OriginUnreachable,
)

CONNECTIONS_MAX = 2048
"""Open connections to all origins: twice the clients that the mirror serves by default."""
HEADER_BYTES_MAX = 32 * 1024
"""An origin's header line; signed storage addresses take up to 4 KiB."""
QUEUE_S = 20.0
"""How long a request may wait for one of a registry's connections; containerd waits 30 s for headers."""
READ_BUFFER_BYTES = 512 * 1024
"""Bytes read ahead of whoever takes the body: one step of a fetch."""


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


class OverBudget(OriginThrottled):
    """More requests than requests_per_s_max lets a registry get."""

    def __str__(self) -> str:
        return f"{self.target} would have to wait {self.retry_after_s:.0f} s: see requests_per_s_max"


class OriginTransport:
    """Sends requests and maps what goes wrong to OriginError, once. Made inside a running event loop."""

    def __init__(self, config: OriginConfig, resolver: AbstractResolver | None = None) -> None:
        self.endpoints = Endpoints(config)
        self._config = config
        self._addresses = Addresses(config.forbidden_networks)
        self._inner = resolver or aiohttp.ThreadedResolver()
        self._proxies = EnvironmentProxies()
        self._resolver = SharedResolver(self._inner, config.connect_timeout_s)
        self._guarding = PublicResolver(self._resolver, self._proxies.hosts, self._addresses)
        self._sessions: dict[tuple[bool, str], ClientSession] = {}
        self._paces: dict[str, Pace] = {}
        self._contexts = TlsContexts()

    async def close(self) -> None:
        """End all connections."""
        for session in self._sessions.values():
            await session.close()
        await self._inner.close()

    async def send(self, exchange: Exchange) -> ClientResponse:
        """Send a request and return its answer, body unread; follows nothing, retries nothing."""
        url, endpoint = exchange.url, exchange.endpoint
        with mapped_errors(exchange.target):
            host, _ = url.host, url.port  # yarl finds out here that an address is malformed
        if url.scheme not in ("http", "https") or not host:
            raise NotAllowed(
                exchange.target, f"a redirect to {url.scheme or 'nothing'}: is not one over HTTP"
            )
        session = await self._session_for(url, endpoint)
        await self._take_turn(endpoint, exchange.target)
        with mapped_errors(exchange.target):
            return await session.request(
                exchange.method,
                url,
                headers=exchange.headers,
                data=exchange.body,
                allow_redirects=False,
                ssl=self._contexts.of(url, endpoint),
                proxy=self._proxies.url_for(url.scheme, host),
                timeout=self._timeout(exchange.silence_s),
            )

    async def _take_turn(self, endpoint: Endpoint, target: str) -> None:
        """Keep to the requests a second that a registry may get; raises OverBudget."""
        if not endpoint.requests_per_s_max:
            return
        pace = self._paces.setdefault(endpoint.base, Pace(endpoint.requests_per_s_max))
        wait = pace.wait_s(asyncio.get_running_loop().time())
        if wait > WAIT_S_MAX:
            raise OverBudget(503, target, wait)
        await asyncio.sleep(wait)

    async def _session_for(self, url: URL, endpoint: Endpoint) -> ClientSession:
        host, port = url.host or "", url.port or 0
        listed = self.endpoints.is_listed(host, port)
        if listed or (endpoint.listed and not await self._leads_outside(endpoint)):
            return self._session(endpoint, guarded=False)
        self._addresses.check_literal(host)
        if host in self._proxies.hosts:
            raise NotAllowed(host, "it is the HTTP proxy of this machine")
        return self._session(endpoint, guarded=True)

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

    def _timeout(self, silence_s: float | None) -> ClientTimeout:
        silence_s = self._config.read_timeout_s if silence_s is None else silence_s
        connect_s = self._config.connect_timeout_s
        return ClientTimeout(
            total=None, connect=connect_s + QUEUE_S, sock_connect=connect_s, sock_read=silence_s
        )

    def _session(self, endpoint: Endpoint, *, guarded: bool) -> ClientSession:
        """Return the connections of a kind; a registry with a limit has its own, so that the limit holds."""
        key = guarded, endpoint.base if endpoint.connections_max else ""
        if key not in self._sessions:
            resolver = self._guarding if guarded else self._resolver
            limit = endpoint.connections_max or CONNECTIONS_MAX
            self._sessions[key] = ClientSession(
                connector=TCPConnector(resolver=resolver, limit=limit),
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                read_bufsize=READ_BUFFER_BYTES,
                max_line_size=HEADER_BYTES_MAX,
                max_field_size=HEADER_BYTES_MAX,
                skip_auto_headers=("User-Agent", "Content-Type"),
            )
        return self._sessions[key]


@contextlib.contextmanager
def mapped_errors(target: str) -> Iterator[None]:
    """Turn the errors of aiohttp and the system into ours; their texts hold no query and no credential."""
    try:
        yield
    except (OriginError, NotAllowed):
        raise
    except (aiohttp.ServerTimeoutError, TimeoutError) as error:
        if isinstance(error, aiohttp.ConnectionTimeoutError):
            raise OriginUnreachable(f"no connection for {target} in time") from error
        raise OriginTimeout(f"the origin went silent on {target}") from error
    except aiohttp.ClientConnectorCertificateError as error:
        raise OriginUnreachable(
            f"TLS to {error.host} for {target} failed: its certificate is not trusted"
        ) from error
    except aiohttp.ClientConnectorError as error:
        reason = error.strerror or type(error.os_error).__name__
        raise OriginUnreachable(f"no connection to {error.host} for {target}: {reason}") from error
    except aiohttp.ClientPayloadError as error:
        raise OriginCut(f"the origin ended its answer to {target} before it was whole") from error
    except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError, ConnectionError) as error:
        raise OriginCut(f"the origin closed the connection on {target}") from error
    except (aiohttp.ClientError, ValueError) as error:
        raise OriginContent(f"the origin's answer to {target} is not HTTP: {type(error).__name__}") from error


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
    """Read a whole body of at most `limit` bytes; raises OriginContent when there is more."""
    gathered = bytearray()
    async for chunk in body_chunks(response, target):
        gathered += chunk
        if len(gathered) > limit:
            raise OriginContent(f"the origin's answer to {target} is longer than {limit} bytes")
        await asyncio.sleep(0)
    return bytes(gathered)
