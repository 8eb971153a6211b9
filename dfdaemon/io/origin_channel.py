"""Byte channels to origins whose bytes any thread may take: a socket, and TLS over a channel.

`ssl.SSLSocket` reads one record of 16 KiB with two system calls; here TLS is fed from memory, with a hundred records
from each call. One thread at a time owns a channel: the event loop until the head of an answer is there, then a
receiver thread for the body, then the loop again.
"""

import asyncio
import contextlib
import socket
import ssl
from threading import local
from typing import Protocol, cast

from dfdaemon.io.low_water import LowWater

SEALED_BYTES = 256 * 1024
"""What is taken from a socket at once and handed to TLS; each thread has one such buffer."""
SEALED_BYTES_MIN = 4096
"""Less is never asked for: a record's own bytes come on top of its content."""

_kept = local()


def _sealed_room(count: int) -> memoryview:
    """Return room in this thread's buffer."""
    if not hasattr(_kept, "room"):
        _kept.room = memoryview(bytearray(SEALED_BYTES))
    room: memoryview = _kept.room
    return room[: max(count, SEALED_BYTES_MIN)]


class Channel(Protocol):
    """A stream of bytes both ways over one socket, which does not block."""

    sock: socket.socket

    @property
    def pending(self) -> bool:
        """Whether bytes were taken from the socket that nobody has read yet: waiting for the socket is wrong then."""

    def recv_into(self, room: memoryview) -> int:
        """Take what is there, at most `room`; 0: the other side has ended. Raises BlockingIOError and OSError."""

    def expect(self, count: int) -> None:
        """At least `count` more bytes come: let waits for the socket end when many are there; 0: at any byte."""

    def send_now(self, data: bytes) -> None:
        """Send a few bytes; raises OSError when they find no room, which a side that only reads always has."""

    async def send(self, data: bytes) -> None:
        """Send all of it, on the event loop."""


async def receive(channel: Channel, room: memoryview) -> int:
    """Wait on the event loop until bytes come; return how many, 0 at the end. Raises OSError."""
    while True:
        try:
            return channel.recv_into(room)
        except (BlockingIOError, InterruptedError):
            await _readable(channel.sock)


async def _readable(sock: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    came = loop.create_future()
    loop.add_reader(sock, _set, came)
    try:
        await came
    finally:
        loop.remove_reader(sock)


def _set(came: "asyncio.Future[None]") -> None:
    if not came.done():
        came.set_result(None)


class PlainChannel:
    """A connected socket."""

    pending = False

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._low_water = LowWater(sock)

    def recv_into(self, room: memoryview) -> int:
        """Take what is there."""
        return self.sock.recv_into(room)

    def expect(self, count: int) -> None:
        """At least `count` more bytes come."""
        self._low_water.expect(count)

    def send_now(self, data: bytes) -> None:
        """Send a few bytes."""
        if self.sock.send(data) != len(data):
            raise ConnectionError("the other side takes nothing")

    async def send(self, data: bytes) -> None:
        """Send all of it."""
        await asyncio.get_running_loop().sock_sendall(self.sock, data)


class TlsChannel:
    """TLS over a channel, as its client. `host` is who the other side must prove to be."""

    def __init__(self, lower: Channel, context: ssl.SSLContext, host: str) -> None:
        self.sock = lower.sock
        self._lower = lower
        self._sealed, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._sealed, self._out, server_hostname=host)

    async def handshake(self) -> None:
        """Agree on keys; raises ssl.SSLError and OSError."""
        while True:
            try:
                self._tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                await self._lower.send(self._out.read())
                room = _sealed_room(SEALED_BYTES_MIN)
                self._take(room[: await receive(self._lower, room)])
        await self._lower.send(self._out.read())

    @property
    def pending(self) -> bool:
        """Whether sealed or opened bytes wait here; an unfinished record may be all there is."""
        return self._tls.pending() > 0 or self._sealed.pending > 0 or self._lower.pending

    def recv_into(self, room: memoryview) -> int:
        """Open what is there, record after record, until `room` is full or the socket has no more."""
        count = self._open(room)
        while count < 0:
            sealed = _sealed_room(len(room))
            self._take(sealed[: self._lower.recv_into(sealed)])
            count = self._open(room)
        if self._out.pending:
            with contextlib.suppress(OSError):  # new keys are answered; a farewell need not arrive
                self._lower.send_now(self._out.read())
        return count

    def expect(self, count: int) -> None:
        """Nothing is awaited: while much is opened at once the sender stands still, a third slower (decision 0073)."""

    def send_now(self, data: bytes) -> None:
        """Send a few bytes."""
        self._tls.write(data)
        self._lower.send_now(self._out.read())

    async def send(self, data: bytes) -> None:
        """Send all of it."""
        self._tls.write(data)
        await self._lower.send(self._out.read())

    def _take(self, sealed: memoryview) -> None:
        if sealed:
            self._sealed.write(sealed)
        else:
            self._sealed.write_eof()

    def _open(self, room: memoryview) -> int:
        """Return how many bytes could be opened, 0 at the end, -1 if none are there."""
        count = 0
        try:
            while count < len(room):
                step = cast(int, self._tls.read(len(room) - count, cast(bytearray, room[count:])))
                if not step:
                    return count
                count += step
        except ssl.SSLWantReadError:
            return count or -1
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            return count  # one side's end without a farewell is common: who counts bytes sees what is missing
        return count
