"""TCP sockets of the peer wire: listening, connecting, and their options."""

import asyncio
import ipaddress
import socket
from collections.abc import Sequence
from functools import lru_cache

from dfdaemon.io.loopback import prefer_cheap_congestion_control
from dfdaemon.patience import Patience
from swarm.addresses import is_loopback
from swarm.errors import ConfigError, PeerUnreachable
from swarm.messages import Address

CONNECT_S = 2.0
"""Time for a connection where nobody is busy (patience.py says when it is more)."""
STAGGER_S = 0.25
"""Head start of one address over the next (RFC 8305, section 5)."""
TARGETS_MAX = 8
"""Addresses tried for one host, so that a wrong record cannot keep us busy."""
BACKLOG = 512
"""Connections that may wait to be accepted: a herd of children arrives at once."""
DEFER_ACCEPT_S = 1
"""Children speak first: the kernel keeps a connection to itself until it has something to read, so that it is accepted
and read in one go. One that says nothing is accepted after this time and a retransmission or two."""
UNSENT_BYTES_MAX = 256 * 1024
"""What the kernel keeps of an upload before it is on the wire. By default that is 4 MiB: eight small pieces would
count as sent at once, however slow the child, and uploads are admitted by the rate that is measured."""
ADDRESSES_KEPT = 1024
"""Addresses whose kind is remembered: those of a daemon's neighbours, and their neighbours'."""

Target = tuple[socket.AddressFamily, tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]]


def listen(address: Address) -> socket.socket:
    """Return a listening socket; on `::` it takes IPv4 too. Raises ConfigError when that fails."""
    sock = None
    try:
        found = socket.getaddrinfo(
            address.host or None, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        family, _, _, _, where = found[0]
        sock = socket.socket(family, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(address.host != "::"))
        if is_loopback(str(where[0])):
            prefer_cheap_congestion_control(sock)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, DEFER_ACCEPT_S)
        sock.bind(where)
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except (OSError, UnicodeError) as error:
        if sock is not None:
            sock.close()
        raise ConfigError(f"cannot listen on {address.host}:{address.port} for peers: {error}") from error
    return sock


def tune(sock: socket.socket) -> None:
    """Set a connected socket up for the peer wire."""
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES_MAX)
    if is_loopback(str(sock.getpeername()[0])):
        prefer_cheap_congestion_control(sock)


async def connect(addresses: Sequence[Address], patience: Patience) -> socket.socket:
    """Return a connection to the first of a host's addresses that answers; raises PeerUnreachable."""
    limit_s = patience.limit_s(CONNECT_S)
    targets: list[Target] = []
    for address in addresses:
        targets += await _resolve(address, limit_s)
    return await connect_first(targets[:TARGETS_MAX], patience)


async def connect_first(targets: Sequence[Target], patience: Patience) -> socket.socket:
    """Try targets in turn, each with a head start over the next; raises PeerUnreachable when none answers."""
    limit_s = patience.limit_s(CONNECT_S)
    alone = len(targets) == 1  # nearly always: nothing to wait for beside it
    sock = await (_attempt(targets[0], limit_s) if alone else _race(targets, limit_s))
    if sock is None:
        raise PeerUnreachable(f"none of {len(targets)} addresses takes a connection within {limit_s:.3g} s")
    return sock


async def _race(targets: Sequence[Target], limit_s: float) -> socket.socket | None:
    attempts: set[asyncio.Task[socket.socket | None]] = set()
    try:
        for target in targets:
            attempts.add(asyncio.create_task(_attempt(target, limit_s)))
            last = target is targets[-1]
            while attempts:
                done, _ = await asyncio.wait(
                    attempts, timeout=None if last else STAGGER_S, return_when=asyncio.FIRST_COMPLETED
                )
                for task in done:
                    sock = task.result()
                    attempts.discard(task)
                    if sock is not None:
                        return sock
                if not last:
                    break
    finally:
        for task in attempts:
            task.add_done_callback(_close_result)
            task.cancel()
    return None


def _close_result(task: asyncio.Task[socket.socket | None]) -> None:
    sock = None if task.cancelled() else task.result()
    if sock is not None:
        sock.close()


async def _attempt(target: Target, limit_s: float) -> socket.socket | None:
    family, where = target
    try:
        sock = socket.socket(family, socket.SOCK_STREAM)
    except OSError:  # no descriptor is left: who is connected stays so
        return None
    try:
        sock.setblocking(False)
        async with asyncio.timeout(limit_s):
            await asyncio.get_running_loop().sock_connect(sock, where)
        tune(sock)
    except (OSError, ValueError):
        sock.close()
        return None
    except BaseException:
        sock.close()
        raise
    return sock


async def _resolve(address: Address, limit_s: float) -> list[Target]:
    """Return where an address is; nothing when it is a name that nobody knows, or no address at all."""
    loop = asyncio.get_running_loop()
    try:
        if _is_numeric(address.host):
            found = socket.getaddrinfo(
                address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST
            )
        else:
            async with asyncio.timeout(limit_s):
                found = await loop.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except (OSError, ValueError, OverflowError):
        return []
    return [(family, where) for family, _, _, _, where in found]


@lru_cache(maxsize=ADDRESSES_KEPT)
def _is_numeric(host: str) -> bool:
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


def choose_congestion_control(listener: socket.socket, name: str) -> None:
    """Let accepted connections send with this TCP congestion control, unless they come over loopback.

    Raises ConfigError when the kernel does not have it, or does not let us.
    """
    try:
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, name.encode())
    except OSError as error:
        raise ConfigError(
            f"peer.congestion_control = {name!r} cannot be used ({error.strerror}): take one of"
            " /proc/sys/net/ipv4/tcp_allowed_congestion_control, or give the daemon CAP_NET_ADMIN"
        ) from error
