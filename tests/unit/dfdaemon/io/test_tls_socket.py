"""TLS in the place of a socket: what it took arrives, whatever room its socket has, and ends are told."""

import asyncio
import contextlib
import os
import random
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from dfdaemon.io.peer_stream import carry, flush, pending, receive, send_all, unsent_bytes
from dfdaemon.io.tls_engine import EMPTY_BYTES_MAX, SEALED_BYTES_MIN, TlsEngine
from dfdaemon.io.tls_socket import UNREAD_BYTES_MAX, WRITTEN_BYTES, TlsSocket, _Carrier
from tests.support.tls import tls_pair

CONTENT = random.Random(5).randbytes(3_000_001)


@asynccontextmanager
async def two_ends(directory: Path, room: int = 0) -> AsyncIterator[tuple[TlsSocket, TlsSocket]]:
    """Both ends after their handshake; `room` of their sockets in bytes, 0: as the system has it."""
    server_context, client_context = tls_pair(directory)
    client_context.check_hostname = False
    left, right = socket.socketpair()
    with left, right:
        for sock in (left, right):
            sock.setblocking(False)
            if room:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, room)
        parent, child = TlsSocket(left, server_context, True), TlsSocket(right, client_context, False)
        await asyncio.gather(parent.handshake(), child.handshake())
        yield parent, child


def file_of(tmp_path: Path, content: bytes) -> int:
    path = tmp_path / "content"
    path.write_bytes(content)
    return os.open(path, os.O_RDONLY)


def take_all(stream: TlsSocket) -> bytes:
    """Return what is there."""
    got, room = bytearray(), memoryview(bytearray(100_000))
    while True:
        try:
            count = stream.recv_into(room)
        except BlockingIOError:
            return bytes(got)
        if not count:
            return bytes(got)
        got += room[:count]


async def test_a_file_arrives_through_a_socket_with_little_room(tmp_path: Path) -> None:
    fd = file_of(tmp_path, CONTENT)
    got, place, waits = bytearray(), 0, 0
    async with two_ends(tmp_path, room=8192) as (parent, child):
        parent.send(b"begins:", socket.MSG_MORE)
        while place < len(CONTENT) or not flush(parent):
            try:
                count = parent.send_file(fd, place, len(CONTENT) - place) if place < len(CONTENT) else 0
                assert count <= WRITTEN_BYTES
                place += count
            except BlockingIOError:
                waits += 1
                assert unsent_bytes(parent) > 0
            got += take_all(child)
        got += take_all(child)
        assert unsent_bytes(parent) == 0
    os.close(fd)
    assert got == b"begins:" + CONTENT
    assert waits > 10


async def test_the_end_of_a_file_is_no_more_bytes(tmp_path: Path) -> None:
    fd = file_of(tmp_path, b"123")
    async with two_ends(tmp_path) as (parent, child):
        assert parent.send_file(fd, 0, 100) == 3
        assert parent.send_file(fd, 3, 100) == 0
        assert child.recv(10) == b"123"
    os.close(fd)


async def test_what_follows_a_frame_is_pending_and_read_without_a_word_of_the_socket(tmp_path: Path) -> None:
    async with two_ends(tmp_path) as (parent, child):
        parent.send(b"frame, and what follows")
        assert await receive(child, 5) == b"frame"
        assert pending(child)
        assert child.recv(100) == b", and what follows"
        with pytest.raises(BlockingIOError):
            child.recv(1)
        assert not pending(child)


async def test_the_other_ones_end_is_an_end(tmp_path: Path) -> None:
    async with two_ends(tmp_path) as (parent, child):
        parent.send(b"last")
        parent.close()
        assert child.recv(10) == b"last"
        assert child.recv(10) == b""


async def test_a_small_frame_that_finds_no_room_is_an_error(tmp_path: Path) -> None:
    async with two_ends(tmp_path, room=4096) as (parent, _):
        with pytest.raises(BlockingIOError):
            parent.send(bytes(1_000_000))


async def test_bytes_that_were_changed_on_the_way_are_no_content(tmp_path: Path) -> None:
    async with two_ends(tmp_path) as (parent, child):
        await send_all(parent, b"first")
        assert child.recv(10) == b"first"
        parent.raw.send(bytes([0x17, 3, 3, 0, 40]) + bytes(40))  # a record that nobody sealed
        with pytest.raises(ssl.SSLError):
            child.recv(10)


async def test_records_without_content_end_the_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As endless new keys are; each call takes from the socket once."""

    def read(engine: TlsEngine, room: memoryview) -> tuple[int, bool]:
        return 0, False

    async with two_ends(tmp_path) as (parent, child):
        monkeypatch.setattr(TlsEngine, "_open", read)
        taken = 0
        with pytest.raises(ConnectionError, match="bytes without any content"):  # noqa: PT012 - at some call
            while True:
                parent.raw.send(bytes(SEALED_BYTES_MIN))
                with contextlib.suppress(BlockingIOError):
                    child.recv(10)
                taken += SEALED_BYTES_MIN
        assert EMPTY_BYTES_MAX - SEALED_BYTES_MIN <= taken <= EMPTY_BYTES_MAX


async def test_who_takes_no_answers_is_left(tmp_path: Path) -> None:
    async with two_ends(tmp_path, room=4096) as (parent, _):
        with pytest.raises(BlockingIOError):
            parent.send(bytes(1_000_000))
        parent._engine.seal(bytes(20_000))
        with pytest.raises(ConnectionError, match="again and again"):
            parent.recv(10)


async def test_a_handshake_with_something_else_fails(tmp_path: Path) -> None:
    context, _ = tls_pair(tmp_path)
    left, right = socket.socketpair()
    with left, right:
        left.setblocking(False)
        right.send(b"GET / HTTP/1.1\r\n\r\n")
        with pytest.raises(OSError, match=r"HTTP_REQUEST|WRONG_VERSION"):
            await TlsSocket(left, context, True).handshake()


async def test_a_handshake_that_ends_early_fails(tmp_path: Path) -> None:
    _, context = tls_pair(tmp_path)
    context.check_hostname = False
    left, right = socket.socketpair()
    with left:
        left.setblocking(False)
        right.close()
        with pytest.raises(OSError, match=r"EOF|Broken pipe"):
            await TlsSocket(left, context, False).handshake()


class Heard(asyncio.Protocol):
    """What a protocol is told."""

    def __init__(self) -> None:
        self.got = bytearray()
        self.transport: asyncio.BaseTransport | None = None
        self.lost: list[Exception | None] = []
        self.news = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.got += data
        self.news.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.append(exc)
        self.news.set()

    async def wait(self, count: int) -> None:
        while len(self.got) < count and not self.lost:
            self.news.clear()
            await self.news.wait()


@asynccontextmanager
async def carried(directory: Path) -> AsyncIterator[tuple[Heard, asyncio.Transport, TlsSocket]]:
    """A protocol at the child's end, its transport, and the parent's end."""
    async with two_ends(directory) as (parent, child):
        socks, child.raw = child.raw, child.raw.dup()  # the loop closes it
        socks.close()
        heard = Heard()
        parent.send(b"early")
        assert child.recv(2) == b"ea"
        await carry(child, heard)
        assert isinstance(heard.transport, asyncio.Transport)
        yield heard, heard.transport, parent
        heard.transport.abort()
        await asyncio.sleep(0)


async def test_a_protocol_hears_what_comes_and_what_had_come(tmp_path: Path) -> None:
    async with carried(tmp_path) as (heard, transport, parent):
        await heard.wait(3)
        await send_all(parent, b"later" * 2000)
        await heard.wait(3 + 10_000)
        assert bytes(heard.got) == b"rly" + b"later" * 2000
        transport.write(b"answer")
        assert transport.get_write_buffer_size() == 0
        assert await receive(parent, 100) == b"answer"


async def test_a_protocol_hears_of_the_end(tmp_path: Path) -> None:
    async with carried(tmp_path) as (heard, _, parent):
        parent.close()
        await heard.wait(1 << 30)
        assert heard.lost == [None]


async def test_a_protocol_is_rid_of_who_takes_no_answers(tmp_path: Path) -> None:
    """As a peer does that asks for new keys again and again, and reads nothing."""
    async with carried(tmp_path) as (heard, transport, parent):
        assert isinstance(transport, _Carrier)
        while transport.get_write_buffer_size() <= UNREAD_BYTES_MAX:
            transport.write(bytes(100_000))
        await send_all(parent, b"x")
        await heard.wait(4)
        assert heard.lost == []
        transport._engine.seal(b"an answer")
        await send_all(parent, b"x")
        await heard.wait(1 << 30)
        assert isinstance(heard.lost[0], ConnectionError)


async def test_a_protocol_hears_of_bytes_that_nobody_sealed(tmp_path: Path) -> None:
    async with carried(tmp_path) as (heard, _, parent):
        parent.raw.send(bytes([0x17, 3, 3, 0, 40]) + bytes(40))
        await heard.wait(1 << 30)
        assert isinstance(heard.lost[0], ssl.SSLError)


async def test_an_answer_goes_out_before_the_end(tmp_path: Path) -> None:
    async with carried(tmp_path) as (_, transport, parent):
        transport.write(b"farewell")
        transport.close()
        assert await receive(parent, 100) == b"farewell"
        assert await receive(parent, 100) == b""
