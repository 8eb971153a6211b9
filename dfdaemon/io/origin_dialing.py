"""Connections to origins: resolved, checked, through the environment's proxy where there is one, with TLS."""

import base64
import contextlib
import ipaddress
import socket
import ssl
from asyncio import timeout
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from urllib.parse import unquote

import aiohappyeyeballs
import h11
from aiohttp.abc import AbstractResolver
from yarl import URL

from dfdaemon.io.origin_channel import Channel, PlainChannel, TlsChannel
from dfdaemon.io.origin_framing import ask
from swarm.errors import OriginUnreachable

FAMILY_HEAD_START_S = 0.25
"""How long one address may be tried alone before the next one is tried beside it (RFC 8305, section 5)."""


@dataclass(frozen=True, slots=True)
class Route:
    """The way to an address. What may be sent over one connection may be sent over another of an equal route.

    `guarded`: its name must not lead inside; `context`: for TLS; `proxy`: of the environment, with its password.
    """

    host: str
    port: int
    guarded: bool
    context: ssl.SSLContext | None
    proxy: str | None = field(default=None, repr=False)

    @property
    def authority(self) -> str:
        """host:port, as a proxy is told it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def account_header(name: str, url: URL) -> list[tuple[str, str]]:
    """Return the header of this name that shows the account in an address, if one is there."""
    if url.raw_user is None:
        return []
    account = f"{unquote(url.raw_user)}:{unquote(url.raw_password or '')}".encode()
    return [(name, f"Basic {base64.b64encode(account).decode()}")]


class Dialer:
    """Makes connections; `resolver` answers for addresses that the configuration names, `guarding` for others."""

    def __init__(
        self,
        resolver: AbstractResolver,
        guarding: AbstractResolver,
        proxy_context: ssl.SSLContext,
        connect_timeout_s: float,
    ) -> None:
        self._resolver = resolver
        self._guarding = guarding
        self._proxy_context = proxy_context
        self._timeout_s = connect_timeout_s

    async def dial(self, route: Route, target: str) -> Channel:
        """Return a channel to an address; raises NotAllowed and OriginUnreachable, which name `target`."""
        proxy = None if route.proxy is None else URL(route.proxy)
        host, port = (route.host, route.port) if proxy is None else (proxy.raw_host, proxy.port)
        if not host or not port or (proxy is not None and proxy.scheme not in ("http", "https")):
            raise OriginUnreachable(
                f"no connection for {target}: the environment's proxy is not one over HTTP"
            )
        async with self._mapped(host, target, None):  # resolvers have a time-out of their own
            addresses = await self._resolve(host, port, route.guarded)
        async with self._mapped(host, target, self._timeout_s):
            sock = await _connect(addresses, port)
        try:
            return await self._secure(PlainChannel(sock), route, proxy, target)
        except BaseException:
            sock.close()
            raise

    async def _resolve(self, host: str, port: int, guarded: bool) -> list[str]:
        """Return the addresses that may be connected to; raises NotAllowed and OSError when there are none."""
        if _is_address(host):
            return [host]  # who asked has checked it
        resolver = self._guarding if guarded else self._resolver
        found = await resolver.resolve(host, port, socket.AF_UNSPEC)
        if not found:
            raise OSError(f"the name {host} has no address")
        return [entry["host"] for entry in found]

    async def _secure(self, channel: Channel, route: Route, proxy: URL | None, target: str) -> Channel:
        if proxy is not None and proxy.scheme == "https":
            channel = await self._tls(channel, self._proxy_context, proxy.raw_host or "", target)
        if route.context is None:
            return channel
        if route.proxy is not None:
            async with self._mapped(route.authority, target, self._timeout_s):
                await _tunnel(channel, route)
        return await self._tls(channel, route.context, route.host, target)

    async def _tls(self, channel: Channel, context: ssl.SSLContext, host: str, target: str) -> Channel:
        async with self._mapped(host, target, self._timeout_s):
            tls = TlsChannel(channel, context, host.rstrip("."))
            await tls.handshake()
        return tls

    @contextlib.asynccontextmanager
    async def _mapped(self, host: str, target: str, timeout_s: float | None) -> AsyncIterator[None]:
        """Bound a step of the way, and say in our words what went wrong with it."""
        try:
            async with timeout(timeout_s):
                yield
        except TimeoutError as error:
            raise OriginUnreachable(f"no connection for {target} in time") from error
        except ssl.SSLCertVerificationError as error:
            reason = f"TLS to {host} for {target} failed: its certificate is not trusted"
            raise OriginUnreachable(reason) from error
        except ssl.SSLError as error:
            raise OriginUnreachable(f"TLS to {host} for {target} failed: {error.reason}") from error
        except OSError as error:
            reason = error.strerror or str(error) or type(error).__name__
            raise OriginUnreachable(f"no connection to {host} for {target}: {reason}") from error
        except (h11.ProtocolError, ValueError) as error:
            raise OriginUnreachable(
                f"no connection to {host} for {target}: {type(error).__name__}"
            ) from error


async def _connect(addresses: list[str], port: int) -> socket.socket:
    """Connect to one of these addresses and to no other; raises OSError."""
    numeric = [
        info
        for address in addresses
        for info in socket.getaddrinfo(
            address, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP, flags=socket.AI_NUMERICHOST
        )
    ]
    sock = await aiohappyeyeballs.start_connection(
        numeric, happy_eyeballs_delay=FAMILY_HEAD_START_S, interleave=1
    )
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


async def _tunnel(channel: Channel, route: Route) -> None:
    """Have a proxy connect us to an address (RFC 9110, section 9.3.6); raises OSError when it does not."""
    headers = [("Host", route.authority), *account_header("Proxy-Authorization", URL(route.proxy or ""))]
    request = h11.Request(method="CONNECT", target=route.authority, headers=headers)
    connection, response = await ask(channel, request)
    if response.status_code // 100 != 2:
        raise OSError(0, f"the proxy answered {response.status_code}")
    if connection.trailing_data[0]:
        raise OSError(0, "the proxy sent more than its answer")


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
