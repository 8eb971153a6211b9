"""Who this host is in the cluster: its name, and the addresses at which other hosts reach it."""

import contextlib
import ipaddress
import socket

from dfdaemon.config import DaemonConfig
from swarm.addresses import parse_listen
from swarm.ids import HostId
from swarm.messages import Address, HostInfo, Role

EVERY_ADDRESS = "0.0.0.0"  # noqa: S104 - what an empty host in a listening address means
_ROUTE_PROBES = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))
"""Documentation addresses (RFC 5737, RFC 3849): no packet is sent, the kernel only picks a source address."""


def parse_address(text: str, key: str) -> Address:
    """Read `host:port` or `[v6]:port`; raises ConfigError naming the key."""
    host, port = parse_listen(text, key)
    return Address(host or EVERY_ADDRESS, port)


def host_info(config: DaemonConfig, listening: Address, version: str) -> HostInfo:
    """Describe this host to the scheduler."""
    return HostInfo(
        HostId(config.host or socket.gethostname()),
        tuple(parse_address(text, "peer.advertise") for text in config.peer.advertise)
        or _reachable(listening),
        config.zone,
        config.rack,
        Role.SEED if config.seed else Role.NORMAL,
        config.upload_bytes_per_s,
        config.download_bytes_per_s,
        version,
    )


def _reachable(listening: Address) -> tuple[Address, ...]:
    """Return the addresses at which a listener can be reached; every address means those with a route."""
    with contextlib.suppress(ValueError):
        if ipaddress.ip_address(listening.host).is_unspecified:
            found = [_source_address(family, probe) for family, probe in _ROUTE_PROBES]
            return tuple(Address(host, listening.port) for host in found if host)
    return (listening,)


def _source_address(family: int, probe: str) -> str:
    with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as route:
        route.connect((probe, 9))
        return str(route.getsockname()[0])
    return ""
