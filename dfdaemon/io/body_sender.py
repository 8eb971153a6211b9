"""Sends a blob's verified bytes to one client, as they become available, by sendfile where there is a plain socket.

The client's Content-Length is a promise. If the download fails in the middle the connection is closed with FIN
before it is kept: containerd then asks again for the rest.
"""

import asyncio
import contextlib
import os
import socket
from collections.abc import Iterator
from functools import partial

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

from dfdaemon.io.blobs import BlobReader, Span
from dfdaemon.io.piece_file import disk_faults
from dfdaemon.io.send_rounds import send_rounds
from swarm.errors import DamselflyError, StoreBroken

STEP_BYTES = 4 << 20
"""Bytes of one system call: it never blocks on the socket, and a disk of 1 GB/s gives so much in 4 ms. With 1 MiB hits
had half the speed (8 clients)."""
COPY_BYTES = 256 * 1024
"""Bytes that are copied at once, where they must be."""
COPIES = 8
"""Of one step: with one, a reader of a ring had a quarter of what the others had."""
CORK_BYTES_MIN = 1 << 20
"""Less usually fits into a socket at once."""
CLIENT_TIMEOUT_S = 300.0
"""A client that takes nothing for so long is gone: containerd gives up then too."""


class BodySender:
    """Sends bytes [start, end) of one blob as the body of one response."""

    def __init__(self, request: web.BaseRequest, reader: BlobReader, start: int, end: int) -> None:
        self._request = request
        self._reader = reader
        self._rounds = send_rounds()
        self._end = end
        self._is_full = False
        """Whether the socket took less than it was given: trying again at once moves bytes in crumbs."""
        self.at = start
        """Offset before which everything was handed to the kernel."""

    async def send(self, response: web.StreamResponse, first: Span | None) -> DamselflyError | None:
        """Send headers and body; return the error that ended the body early, if one did.

        `first`: what the reader gave for the start already. Raises ConnectionError when the client is gone.
        """
        transport = self._request.transport
        if transport is None:
            raise ConnectionResetError("the client is gone")
        try:
            with _socket_of(transport) as sock:
                if sock is not None:
                    _limit_buffer(transport, 0)  # so that drain() waits until the headers are out
                writer = await response.prepare(self._request)
                assert writer is not None, "a response is sent once"
                async with asyncio.timeout(CLIENT_TIMEOUT_S):
                    await writer.drain()
                await self._send_spans(sock, writer, first)
        except DamselflyError as error:
            transport.close()  # a reset would end the whole pull
            return error
        except TimeoutError as error:
            transport.abort()
            raise ConnectionResetError(f"the client took nothing for {CLIENT_TIMEOUT_S:g} s") from error
        finally:
            _limit_buffer(transport, None)
        return None

    async def copy(self, writer: AbstractStreamWriter, first: Span | None) -> None:
        """Write the bytes to a response that has begun; raises what send() returns, and TimeoutError."""
        await self._send_spans(None, writer, first)

    async def _send_spans(
        self, sock: socket.socket | None, writer: AbstractStreamWriter, first: Span | None
    ) -> None:
        with disk_faults():
            while self.at < self._end:
                span = first or await self._reader.span(self.at)
                first = None
                stop = min(self._end, self.at + span.length)
                with _held(sock, stop - self.at):
                    await self._send_span(sock, writer, span, stop)

    async def _send_span(
        self, sock: socket.socket | None, writer: AbstractStreamWriter, span: Span, stop: int
    ) -> None:
        shift = span.place - self.at
        while self.at < stop:
            if sock is None:
                sent = await self._write(writer, span, self.at + shift, stop - self.at)
            else:
                sent = await self._send_some(sock.fileno(), span, self.at + shift, stop - self.at)
            self.at += sent
            self._reader.advance(self.at)

    async def _write(self, writer: AbstractStreamWriter, span: Span, place: int, count: int) -> int:
        data = os.pread(span.file.fd, min(count, COPY_BYTES), place)
        if not data:
            raise _short(span)
        async with asyncio.timeout(CLIENT_TIMEOUT_S):
            await writer.write(data)
            await writer.drain()
        await asyncio.sleep(0)  # drain() returns at once while there is room
        return len(data)

    async def _send_some(self, fd: int, span: Span, place: int, count: int) -> int:
        """Hand bytes of a file to a socket, waiting first until there is much room where it was full."""
        push = _copy if span.file.slots is not None else _send
        while True:
            if self._is_full:
                await _writable(fd)
                self._is_full = False
            try:
                sent, wanted = await self._rounds.result(partial(push, fd, span, place, count))
            except BlockingIOError:
                self._is_full = True
                continue
            if sent == 0:
                raise _short(span)
            self._is_full = sent < wanted
            return sent


def _send(fd: int, span: Span, place: int, count: int) -> tuple[int, int]:
    """Send bytes of a file; return how many, and how many it would have been with room for all."""
    wanted = min(count, STEP_BYTES)
    return os.sendfile(fd, span.file.fd, place, wanted), wanted


def _copy(fd: int, span: Span, place: int, count: int) -> tuple[int, int]:
    """Do the same for a ring, whose pages are written again while the socket may still refer to them."""
    wanted = min(count, COPIES * COPY_BYTES)
    sent = 0
    while sent < wanted:
        data = os.pread(span.file.fd, min(wanted - sent, COPY_BYTES), place + sent)
        try:
            step = os.write(fd, data) if data else 0
        except BlockingIOError:
            if not sent:
                raise
            break
        sent += step
        if step < COPY_BYTES:
            break
    return sent, wanted


async def _writable(fd: int) -> None:
    """Wait until a socket has room; raises TimeoutError."""
    loop = asyncio.get_running_loop()
    ready = loop.create_future()
    loop.add_writer(fd, lambda: None if ready.done() else ready.set_result(None))
    try:
        async with asyncio.timeout(CLIENT_TIMEOUT_S):
            await ready
    finally:
        loop.remove_writer(fd)


def _limit_buffer(transport: asyncio.WriteTransport, high: int | None) -> None:
    """Set after how many bytes in a transport's buffer drain() waits; uvloop refuses that for one that is closed."""
    with contextlib.suppress(RuntimeError):
        transport.set_write_buffer_limits(high=high)


@contextlib.contextmanager
def _held(sock: socket.socket | None, count: int) -> Iterator[None]:
    """Send only full segments of what takes several calls, each of which would end with a small one."""
    if sock is None or sock.family == socket.AF_UNIX or count <= CORK_BYTES_MIN:
        yield
        return
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # the client is gone
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 0)


@contextlib.contextmanager
def _socket_of(transport: asyncio.BaseTransport) -> Iterator[socket.socket | None]:
    """Give the transport's own socket once more, or None where bytes must pass the transport (TLS)."""
    connection = transport.get_extra_info("socket")
    if connection is None or transport.get_extra_info("sslcontext") is not None:
        yield None
        return
    if connection.fileno() < 0:
        raise ConnectionResetError("the client is gone")
    kind = connection.family, connection.type, connection.proto
    with socket.socket(*kind, fileno=os.dup(connection.fileno())) as sock:
        yield sock


def _short(span: Span) -> StoreBroken:
    return StoreBroken(f"a file of the store ends before byte {span.place + span.length}; check the disk")
