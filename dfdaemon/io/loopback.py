"""Connections over loopback: no network to share, so the cheapest congestion control is the best."""

import ipaddress
import socket
from functools import lru_cache

LOOPBACK_CONGESTION = b"reno"
"""Needs no privilege, and on loopback costs a quarter of what bbr does."""
ADDRESSES_KEPT = 1024
"""Addresses whose kind is remembered: those of a daemon's neighbours, and their neighbours'."""


@lru_cache(maxsize=ADDRESSES_KEPT)
def is_loopback(host: str) -> bool:
    """Tell whether an address is this machine's own loopback."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


def prefer_cheap_congestion_control(sock: socket.socket) -> None:
    """Let a connection over loopback send with LOOPBACK_CONGESTION."""
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, LOOPBACK_CONGESTION)
    except OSError:
        return  # not built into this kernel, or the connection is gone: slower on loopback, but right
