"""Addresses as they stand in configurations."""

import ipaddress
from functools import lru_cache

from swarm.errors import ConfigError

HOSTS_KEPT = 1024
"""Hosts whose kind is remembered: those of a daemon's neighbours, and their neighbours'."""


def parse_listen(text: str, key: str) -> tuple[str, int]:
    """Read `host:port` or `[v6]:port`; an empty host means all addresses; raises ConfigError."""
    host, colon, port = text.rpartition(":")
    bare = host.removeprefix("[").removesuffix("]")
    good = bool(colon) and port.isascii() and port.isdigit() and int(port) < 65536
    if not good or (":" in bare) != (host != bare):
        raise ConfigError(
            f"{key} = {text!r} is not an address: expected host:port, such as 127.0.0.1:4010 or [::1]:4010"
        )
    return bare, int(port)


def join_address(host: str, port: int) -> str:
    """Write a host and a port; an IPv6 address gets its brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def bind_host(host: str) -> str | None:
    """Return the host as servers take it: None for all addresses of both families, which `::` alone means, too."""
    return None if host in ("", "::") else host


@lru_cache(maxsize=HOSTS_KEPT)
def is_loopback(host: str) -> bool:
    """Tell whether a name or an address, without a port, surely means this machine's own loopback.

    A name below localhost does not: it should (RFC 6761), but some resolvers ask DNS for it.
    """
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host == "localhost"
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback
