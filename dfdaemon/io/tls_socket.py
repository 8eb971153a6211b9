"""TLS over the socket of a peer, used in its place: what it says it takes is sealed, and soon sent."""

import asyncio
import contextlib
import errno
import os
import socket
import ssl
from typing import cast

from dfdaemon.io.readable import readable
from dfdaemon.io.tls_engine import SEALED_BYTES, SEALED_BYTES_MIN, TlsEngine, sealed_room

WRITTEN_BYTES = 128 * 1024
"""Sealed at once of a file: below what fits a processor's cache together with what comes of it."""
ANSWERS_BYTES_MAX = 16 * 1024
"""Answers to new keys that wait behind unsent bytes: some hundred of them."""
UNREAD_BYTES_MAX = 1 << 20
"""The same where a loop sends, with the frames that wait: so many may be frames (peer_connection.py)."""


class TlsSocket:
    """A connected socket that does not block, and TLS. One thread at a time uses it.

    Errors of TLS are OSErrors too. Its methods are a socket's where they have the names of one.
    """

    def __init__(self, sock: socket.socket, context: ssl.SSLContext, server_side: bool) -> None:
        """Take over a socket; `handshake` comes first."""
        self.raw = sock
        self._engine = TlsEngine(context, server_side=server_side)
        self._unsent = memoryview(b"")

    async def handshake(self) -> None:
        """Agree on keys; raises OSError."""
        while not self._shake_hands():
            await readable(self.raw)
            with contextlib.suppress(BlockingIOError, InterruptedError):
                self._receive(SEALED_BYTES_MIN)

    @property
    def family(self) -> socket.AddressFamily:
        """The socket's."""
        return self.raw.family

    @property
    def pending(self) -> bool:
        """Whether bytes wait here that the socket will not tell of; an unfinished record may be all there is."""
        return self._engine.pending

    @property
    def unsent_bytes(self) -> int:
        """Sealed bytes that the socket has not taken yet."""
        return len(self._unsent)

    def fileno(self) -> int:
        """Return the socket's descriptor."""
        return self.raw.fileno()

    def close(self) -> None:
        """Close the socket, without a farewell: everything on the wire says how long it is."""
        self.raw.close()

    def recv(self, count: int) -> bytes:
        """Take at most `count` bytes; nothing at the end. Raises OSError, BlockingIOError if none are there."""
        room = memoryview(bytearray(count))
        return bytes(room[: self.recv_into(room)])

    def recv_into(self, room: memoryview, count: int = 0) -> int:
        """Open what is there, record after record, at most `count` bytes. Raises as recv does."""
        room = room[:count] if count else room
        try:
            came = self._engine.open(room)
            if came < 0:
                self._receive(len(room))
                came = self._engine.open(room)
        finally:
            self._send_answers()
        if came < 0:  # part of a record, or nothing but new keys
            raise BlockingIOError(errno.EAGAIN, "no content is there")
        return came

    def send(self, data: bytes, flags: int = 0) -> int:
        """Seal all of a few bytes and send it, with what follows after MSG_MORE. Raises OSError.

        BlockingIOError if the socket takes not all of it, as nobody sends the rest then.
        """
        self._seal(data)
        if not flags & socket.MSG_MORE and not self.flush():
            raise BlockingIOError(errno.EAGAIN, "it has room for less")
        return len(data)

    def send_file(self, fd: int, place: int, count: int) -> int:
        """Seal and send bytes of a file; return how many, 0 at its end. Raises OSError.

        BlockingIOError while there are unsent bytes. What it returns may be unsent too, until `flush` says otherwise.
        """
        if not self.flush():
            raise BlockingIOError(errno.EAGAIN, "it has no room")
        room = sealed_room(SEALED_BYTES)[: min(count, WRITTEN_BYTES)]
        found = os.preadv(fd, [room], place)
        self._seal(room[:found])
        self.flush()
        return found

    def flush(self) -> bool:
        """Send what is sealed as far as there is room; tell whether all of it is sent. Raises OSError."""
        if not self._unsent:
            self._unsent = memoryview(self._engine.sealed())
        try:
            while self._unsent:
                self._unsent = self._unsent[self.raw.send(self._unsent) :] or memoryview(
                    self._engine.sealed()
                )
        except (BlockingIOError, InterruptedError):
            return False
        return True

    async def carry(self, protocol: asyncio.Protocol) -> None:
        """Hand what comes to a protocol from now on, and the socket to the loop."""
        wrapped = _Carrier(self._engine, protocol)
        await asyncio.get_running_loop().connect_accepted_socket(lambda: wrapped, self.raw)

    def _seal(self, data: bytes | memoryview) -> None:
        try:
            self._engine.seal(data)
        except ssl.SSLError as error:  # its number is none of the system's: it must not pass for a disk's
            raise ConnectionError(f"TLS ended: {error.reason}") from error

    def _shake_hands(self) -> bool:
        try:
            done = self._engine.shake_hands()
        except ssl.SSLError:
            with contextlib.suppress(OSError):
                self.flush()  # the alert tells the other side why
            raise
        if not self.flush():
            raise ConnectionError("it takes no handshake")  # a fresh socket has room for all of one
        return done

    def _receive(self, count: int) -> None:
        sealed = sealed_room(count)
        self._engine.take(sealed[: self.raw.recv_into(sealed)])

    def _send_answers(self) -> None:
        """New keys are answered; nobody waits for that. Who asks for many and takes no answer is left."""
        with contextlib.suppress(OSError):
            self.flush()
        if self._engine.unsent_bytes > ANSWERS_BYTES_MAX:
            raise ConnectionError("it asks for new keys again and again")


class _Carrier(asyncio.Transport, asyncio.Protocol):
    """Between the loop's transport and a protocol: seals one way, opens the other."""

    def __init__(self, engine: TlsEngine, protocol: asyncio.Protocol) -> None:
        super().__init__()
        self._engine = engine
        self._protocol = protocol
        self._room = memoryview(bytearray(SEALED_BYTES_MIN))
        self._lower: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin; called by the loop."""
        self._lower = cast(asyncio.Transport, transport)
        self._protocol.connection_made(self)
        self._open()  # what came with the handshake

    def data_received(self, data: bytes) -> None:
        """Take sealed bytes; called by the loop."""
        self._engine.take(data)
        self._open()

    def connection_lost(self, exc: Exception | None) -> None:
        """End; called by the loop."""
        self._protocol.connection_lost(exc)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Seal bytes and send them."""
        self._engine.seal(bytes(data))
        self._send()

    def get_write_buffer_size(self) -> int:
        """Return how many sealed bytes wait."""
        assert self._lower is not None, "a protocol writes after connection_made"
        return self._lower.get_write_buffer_size()

    def close(self) -> None:
        """End when everything is sent."""
        if self._lower is not None:
            self._lower.close()

    def abort(self) -> None:
        """End at once."""
        if self._lower is not None:
            self._lower.abort()

    def _send(self) -> None:
        sealed = self._engine.sealed()
        if sealed and self._lower is not None:
            self._lower.write(sealed)

    def _answer(self) -> None:
        """Send what nobody wrote, answers to new keys; raises ConnectionError when they are not taken."""
        self._send()
        if self.get_write_buffer_size() > UNREAD_BYTES_MAX:
            raise ConnectionError("it asks for new keys again and again")

    def _open(self) -> None:
        try:
            while (count := self._engine.open(self._room)) > 0:
                self._protocol.data_received(bytes(self._room[:count]))
            if self._engine.unsent_bytes:
                self._answer()
        except OSError as error:
            count = 0
            self._protocol.connection_lost(error)
            self._send()
        if count == 0:
            self.abort()
