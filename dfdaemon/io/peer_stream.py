"""The stream of bytes between two hosts: a plain socket, or TLS over one. What differs is told apart here alone."""

import asyncio
import os
import socket
import struct
from collections.abc import Callable

from dfdaemon.io.low_water import LowWater
from dfdaemon.io.readable import readable
from dfdaemon.io.tls_socket import TlsSocket

PROBE_AFTER_S = 5
"""Silence after which the kernel asks the other kernel whether it is there, and asks again."""
PROBES_MAX = 2
"""Such questions without an answer, after which the connection is dead; so is one that leaves what was sent
unconfirmed for as long."""

PeerStream = socket.socket | TlsSocket
"""Used like a socket that does not block."""


def pending(stream: PeerStream) -> bool:
    """Tell whether bytes were taken from the socket that nobody has read yet: waiting for it is wrong then."""
    return isinstance(stream, TlsSocket) and stream.pending


def watch(stream: PeerStream, take: Callable[[], None]) -> None:
    """Call `take` whenever there is something to read, on the event loop, until its remove_reader."""
    loop = asyncio.get_running_loop()
    loop.add_reader(stream, take)
    if pending(stream):
        loop.call_soon(take)


def unsent_bytes(stream: PeerStream) -> int:
    """Return how many of the bytes that it took are not in its socket yet."""
    return stream.unsent_bytes if isinstance(stream, TlsSocket) else 0


def hold(stream: PeerStream) -> None:
    """Send only full segments from now on, until `flush`: each sendfile would end with a small one. Raises OSError.

    What is held back goes out after 0.2 s in any case.
    """
    if not isinstance(stream, TlsSocket):
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)


def flush(stream: PeerStream) -> bool:
    """Move unsent and held bytes on their way; tell whether the socket has all of them. Raises OSError."""
    if isinstance(stream, TlsSocket):
        return stream.flush()
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 0)
    return True


def reset_on_close(stream: PeerStream) -> None:
    """Let its close take back what the other side has not got, and tell it so. Raises OSError."""
    sock = stream.raw if isinstance(stream, TlsSocket) else stream
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def send_file(stream: PeerStream, fd: int, place: int, count: int) -> int:
    """Send bytes of a file; return how many, 0 at its end. Raises OSError, BlockingIOError while there is no room."""
    if isinstance(stream, TlsSocket):
        return stream.send_file(fd, place, count)
    return os.sendfile(stream.fileno(), fd, place, count)


def expectation(stream: PeerStream) -> Callable[[int], None]:
    """Return what is told how many more bytes come, at least: waits end when many are there.

    TLS is read at any byte: while much is opened at once the sender stands still (decision 0073).
    """
    return _expect_nothing if isinstance(stream, TlsSocket) else LowWater(stream).expect


def _expect_nothing(count: int) -> None:
    """Take no notice."""


async def send_all(stream: PeerStream, data: bytes) -> None:
    """Send a few bytes, on the event loop. Raises OSError."""
    if isinstance(stream, TlsSocket):
        stream.send(data)
    else:
        await asyncio.get_running_loop().sock_sendall(stream, data)


async def receive(stream: PeerStream, count: int) -> bytes:
    """Wait on the event loop until bytes come, at most `count`; none at the end. Raises OSError."""
    if not isinstance(stream, TlsSocket):
        return await asyncio.get_running_loop().sock_recv(stream, count)
    while True:
        try:
            return stream.recv(count)
        except (BlockingIOError, InterruptedError):
            await readable(stream.raw)


def probe_when_silent(stream: PeerStream) -> None:
    """Have the kernel end it when the other machine is gone, which costs neither side's process anything."""
    sock = stream.raw if isinstance(stream, TlsSocket) else stream
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, PROBE_AFTER_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, PROBE_AFTER_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, PROBES_MAX)
    dead_after_s = PROBE_AFTER_S * (1 + PROBES_MAX)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 1000 * dead_after_s)


async def carry(stream: PeerStream, protocol: asyncio.Protocol) -> None:
    """Let the loop hand what comes to a protocol from now on; the stream is the protocol's."""
    if isinstance(stream, TlsSocket):
        await stream.carry(protocol)
    else:
        await asyncio.get_running_loop().connect_accepted_socket(lambda: protocol, stream)
