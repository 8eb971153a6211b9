"""Byte channels to origins whose bytes any thread may take: a socket, and TLS over a channel.

One thread at a time owns a channel: the event loop until the head of an answer is there, then a receiver thread for
the body, then the loop again.
"""

import asyncio
import contextlib
import socket
import ssl
from typing import Protocol

from dfdaemon.io.low_water import LowWater
from dfdaemon.io.readable import readable
from dfdaemon.io.tls_engine import SEALED_BYTES_MIN, TlsEngine, sealed_room


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
            await readable(channel.sock)


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
        self._engine = TlsEngine(context, host)

    async def handshake(self) -> None:
        """Agree on keys; raises ssl.SSLError and OSError."""
        while not self._engine.shake_hands():
            await self._lower.send(self._engine.sealed())
            room = sealed_room(SEALED_BYTES_MIN)
            self._engine.take(room[: await receive(self._lower, room)])
        await self._lower.send(self._engine.sealed())

    @property
    def pending(self) -> bool:
        """Whether sealed or opened bytes wait here; an unfinished record may be all there is."""
        return self._engine.pending or self._lower.pending

    def recv_into(self, room: memoryview) -> int:
        """Open what is there, record after record, until `room` is full or the socket has no more."""
        count = self._engine.open(room)
        while count < 0:
            sealed = sealed_room(len(room))
            self._engine.take(sealed[: self._lower.recv_into(sealed)])
            count = self._engine.open(room)
        answer = self._engine.sealed()
        if answer:
            with contextlib.suppress(OSError):  # new keys are answered; a farewell need not arrive
                self._lower.send_now(answer)
        return count

    def expect(self, count: int) -> None:
        """Nothing is awaited: while much is opened at once the sender stands still, a third slower (decision 0073)."""

    def send_now(self, data: bytes) -> None:
        """Send a few bytes."""
        self._engine.seal(data)
        self._lower.send_now(self._engine.sealed())

    async def send(self, data: bytes) -> None:
        """Send all of it."""
        self._engine.seal(data)
        await self._lower.send(self._engine.sealed())
