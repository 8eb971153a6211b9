"""Which network addresses may be connected to: a name of the outside must not lead inside.

The check stands at the moment of connecting, so that redirects and names that change their address
(DNS rebinding) pass it too.
"""

import asyncio
import ipaddress
import socket
from urllib.parse import urlsplit
from urllib.request import getproxies

from aiohttp.abc import AbstractResolver, ResolveResult

from dfdaemon.proxying import NoProxy, proxy_url
from swarm.errors import NotAllowed

LITTLE_HELP = "list it in origin.registries if this is wanted"
INSIDE = "a loopback, link-local, private or forbidden address"
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
"""RFC 6052: an IPv4 address in the last four bytes."""


def is_public(address: str) -> bool:
    """Tell whether an IP address is one of the public internet; IPv4 inside IPv6 counts as IPv4."""
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        inner = found.ipv4_mapped or found.sixtofour
        if found in _NAT64:
            inner = ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
    return found.is_global and not found.is_multicast


class Addresses:
    """The addresses that a registry which nobody listed may have; `forbidden` are networks in CIDR notation."""

    def __init__(self, forbidden: tuple[str, ...] = ()) -> None:
        self._forbidden = [ipaddress.ip_network(text, strict=False) for text in forbidden]

    def is_outside(self, address: str) -> bool:
        """Tell whether an IP address is public, and not in a forbidden network; raises ValueError for a name."""
        if not is_public(address):
            return False
        found = ipaddress.ip_address(address.partition("%")[0])
        inner = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
        return not any((inner or found) in network for network in self._forbidden)

    def check_literal(self, host: str) -> None:
        """Raise NotAllowed if a host is written as an address that is not outside; names pass, numbers do not."""
        try:
            outside = self.is_outside(host)
        except ValueError:
            outside = not host.replace(
                ".", ""
            ).isdigit()  # 127.1 and 2130706433 are addresses to some libraries
        if not outside:
            raise NotAllowed(host, f"it is {INSIDE}; {LITTLE_HELP}")


class PublicResolver(AbstractResolver):
    """Resolves names to addresses outside only; `exempt` are the hosts of the environment's HTTP proxies."""

    def __init__(self, inner: AbstractResolver, exempt: frozenset[str], addresses: Addresses) -> None:
        self._inner = inner
        self._exempt = exempt
        self._addresses = addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the public addresses of a name; raises NotAllowed when it has others only."""
        found = await self._inner.resolve(host, port, family)
        if host in self._exempt:
            return found
        outside = [entry for entry in found if self._addresses.is_outside(entry["host"])]
        if found and not outside:
            raise NotAllowed(host, f"it resolves to {INSIDE}; {LITTLE_HELP}")
        return outside

    async def close(self) -> None:
        """Do nothing: the inner resolver is closed by its owner."""


class SharedResolver(AbstractResolver):
    """Any resolver with a time-out, for a session that must not close it."""

    def __init__(self, inner: AbstractResolver, timeout_s: float) -> None:
        self._inner = inner
        self._timeout_s = timeout_s

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the addresses of a name; raises OSError when it has none, or nobody says so in time."""
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._inner.resolve(host, port, family)
        except TimeoutError as error:
            raise OSError(f"no answer within {self._timeout_s:g} s about the name {host}") from error

    async def close(self) -> None:
        """Do nothing: the inner resolver is closed by its owner."""


class EnvironmentProxies:
    """The HTTP proxies of the environment (http_proxy, https_proxy, no_proxy), as they were at the start."""

    def __init__(self) -> None:
        found = getproxies()
        self._urls: dict[str, str] = {
            scheme: proxy_url(found[scheme]) for scheme in ("http", "https") if found.get(scheme)
        }
        self.hosts = frozenset(urlsplit(url).hostname or "" for url in self._urls.values())
        self._past = NoProxy(found.get("no", ""))

    def url_for(self, scheme: str, host: str, port: int) -> str | None:
        """Return the proxy to use for an address, if any."""
        proxy = self._urls.get(scheme)
        return None if proxy is None or self._past.matches(host, port) else proxy
