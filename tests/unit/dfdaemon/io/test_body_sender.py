"""Bodies to slow, fast and leaving clients, on both event loops, over plain sockets and TLS."""

import asyncio
import fcntl
import os
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvloop
from aiohttp import web

from dfdaemon.io import body_sender
from dfdaemon.io.blobs import Span
from dfdaemon.io.body_sender import BodySender
from dfdaemon.io.piece_file import PieceFile
from swarm.errors import DamselflyError, StoreBroken
from swarm.pieces import PieceMap
from tests.support.certificates import make_certificate

SIZE = 20_000_003
Run = Callable[[Coroutine[Any, Any, None]], None]


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    """Runs a dialogue on one kind of event loop."""

    def run(dialogue: Coroutine[Any, Any, None]) -> None:
        with asyncio.Runner(loop_factory=request.param) as runner:
            runner.run(asyncio.wait_for(dialogue, 30))

    return run


class Reader:
    """Gives spans of a file, `span_bytes` at most at a time."""

    def __init__(
        self, file: PieceFile, span_bytes: int = SIZE, failure: DamselflyError | None = None
    ) -> None:
        self.file = file
        self.span_bytes = span_bytes
        self.failure = failure
        self.advanced = 0
        self.size = file.pieces.size

    async def span(self, offset: int) -> Span:
        if self.failure is not None and offset >= self.size // 2:
            raise self.failure
        return Span(self.file, offset, min(self.span_bytes, self.size - offset))

    def advance(self, offset: int) -> None:
        assert offset > self.advanced
        self.advanced = offset

    def close(self) -> None:
        """Nothing to do."""


class Server:
    """Answers every request with one reader's blob."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self.ended: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.port = 0

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        response.content_length = self.reader.size
        sender = BodySender(request, self.reader, 0, self.reader.size)
        try:
            self._tell(await sender.send(response, None))
        except (ConnectionError, RuntimeError, asyncio.CancelledError) as error:
            self._tell(error)
            raise
        return response

    def _tell(self, ending: object) -> None:
        if not self.ended.done():
            self.ended.set_result(ending)


@asynccontextmanager
async def serving(
    reader: Reader, context: ssl.SSLContext | None = None, path: Path | None = None
) -> AsyncIterator[Server]:
    """Serve over TCP; at `path` on a Unix socket too."""
    server = Server(reader)
    runner = web.ServerRunner(web.Server(server.handle, handler_cancellation=True), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    server.port = runner.addresses[0][1]
    if path is not None:
        await web.UnixSite(runner, str(path)).start()
    try:
        yield server
    finally:
        await runner.cleanup()


@pytest.fixture(scope="module")
def content() -> bytes:
    return os.urandom(SIZE)


@pytest.fixture
def file(tmp_path: Path, content: bytes) -> PieceFile:
    path = tmp_path / "blob"
    path.write_bytes(content)
    return PieceFile.on_disk(path, PieceMap.of(SIZE))


async def ask(
    server: Server, context: ssl.SSLContext | None = None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port, ssl=context)
    writer.write(b"GET / HTTP/1.1\r\nHost: mirror\r\n\r\n")
    await reader.readuntil(b"\r\n\r\n")
    return reader, writer


@pytest.mark.parametrize("span_bytes", [SIZE, 70_001])
def test_all_bytes_arrive_and_the_connection_is_kept(
    run: Run, file: PieceFile, content: bytes, span_bytes: int
) -> None:
    async def dialogue() -> None:
        async with serving(Reader(file, span_bytes)) as server:
            reader, writer = await ask(server)
            assert await reader.readexactly(SIZE) == content
            assert await server.ended is None
            assert server.reader.advanced == SIZE
            server.reader.advanced = 0
            writer.write(b"GET / HTTP/1.1\r\nHost: mirror\r\nConnection: close\r\n\r\n")
            await reader.readuntil(b"\r\n\r\n")
            assert await reader.read() == content
            writer.close()

    run(dialogue())


def test_tools_of_the_machine_get_it_over_their_own_socket(
    run: Run, file: PieceFile, content: bytes, tmp_path: Path
) -> None:
    async def dialogue() -> None:
        async with serving(Reader(file), path=tmp_path / "s"):
            reader, writer = await asyncio.open_unix_connection(str(tmp_path / "s"))
            writer.write(b"GET / HTTP/1.1\r\nHost: mirror\r\n\r\n")
            await reader.readuntil(b"\r\n\r\n")
            assert await reader.readexactly(SIZE) == content
            writer.close()

    run(dialogue())


def test_bytes_of_a_ring_are_copied(run: Run, content: bytes) -> None:
    ring = PieceFile.ring(SIZE, PieceMap.of(SIZE).count)
    os.pwrite(ring.fd, content, 0)

    async def dialogue() -> None:
        async with serving(Reader(ring, 1 << 20)) as server:
            reader, writer = await ask(server)
            received = await reader.readexactly(1)
            # What the reader advanced past may be written again, though most of it is still on its way.
            sent = server.reader.advanced
            os.pwrite(ring.fd, bytes(sent), 0)
            received += await reader.readexactly(SIZE - 1)
            assert received == content
            assert sent > 1
            writer.close()

    run(dialogue())
    ring.release()


def test_a_ring_is_copied_as_far_as_there_is_room(content: bytes) -> None:
    ring = PieceFile.ring(SIZE, PieceMap.of(SIZE).count)
    os.pwrite(ring.fd, content, 0)
    span, (reading, writing) = Span(ring, 0, SIZE), os.pipe2(os.O_NONBLOCK)
    room = fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 1 << 20)
    sent, wanted = body_sender._copy(writing, span, 0, SIZE)
    assert room == sent < wanted == body_sender.COPIES * body_sender.COPY_BYTES
    with pytest.raises(BlockingIOError):
        body_sender._copy(writing, span, sent, SIZE)
    assert os.read(reading, SIZE) == content[:sent]
    assert body_sender._copy(writing, span, SIZE - 10, 10) == (10, 10)
    for end in reading, writing:
        os.close(end)
    ring.release()


def test_a_slow_client_gets_it_all_and_nobody_waits_for_it(run: Run, file: PieceFile, content: bytes) -> None:
    async def dialogue() -> None:
        async with serving(Reader(file)) as server:
            slow, slow_writer = await ask(server)
            assert server.reader.advanced < SIZE, "the buffers on the way are smaller than the blob"
            other, other_writer = await ask(server)
            assert await other.readexactly(100) == content[:100]
            assert await slow.readexactly(SIZE) == content
            assert await server.ended is None, "of the first that ended"
            other_writer.transport.abort()
            slow_writer.close()

    run(dialogue())


def test_a_client_that_leaves_ends_the_sending(run: Run, file: PieceFile) -> None:
    async def dialogue() -> None:
        async with serving(Reader(file)) as server:
            _, writer = await ask(server)
            writer.transport.abort()
            assert isinstance(await server.ended, ConnectionError | asyncio.CancelledError)
            assert server.reader.advanced < SIZE

    run(dialogue())


def test_a_client_that_leaves_while_nothing_is_there_to_send(run: Run, file: PieceFile) -> None:
    """As containerd does after each of its parallel chunks; the connection is closed already when we hear of it."""

    class Waiting(Reader):
        """Has the first bytes only."""

        async def span(self, offset: int) -> Span:
            if offset >= 1000:
                await asyncio.Event().wait()
            return Span(self.file, offset, 1000)

    async def dialogue() -> None:
        async with serving(Waiting(file)) as server:
            reader, writer = await ask(server)
            assert len(await reader.readexactly(1000)) == 1000
            writer.close()
            await writer.wait_closed()
            assert isinstance(await server.ended, asyncio.CancelledError)

    run(dialogue())


def test_a_download_that_fails_ends_the_body_with_fin(run: Run, file: PieceFile, content: bytes) -> None:
    failure = DamselflyError("no source")

    async def dialogue() -> None:
        async with serving(Reader(file, SIZE // 2 + 1, failure)) as server:
            reader, writer = await ask(server)
            received = await reader.read()  # a reset would raise
            assert received == content[: SIZE // 2 + 1]
            assert await server.ended is failure
            writer.close()

    run(dialogue())


def test_a_file_that_is_shorter_than_it_should_be(run: Run, file: PieceFile) -> None:
    os.ftruncate(file.fd, 1000)

    async def dialogue() -> None:
        async with serving(Reader(file)) as server:
            reader, writer = await ask(server)
            assert len(await reader.read()) == 1000
            assert isinstance(await server.ended, StoreBroken)
            writer.close()

    run(dialogue())


def test_a_disk_that_cannot_be_read_ends_the_body_with_fin(run: Run) -> None:
    unreadable = PieceFile(os.open("/proc/self/mem", os.O_RDONLY), PieceMap.of(SIZE), 1)  # EIO at offset 0

    async def dialogue() -> None:
        async with serving(Reader(unreadable)) as server:
            reader, writer = await ask(server)
            assert await reader.read() == b"", "a reset would raise"
            assert isinstance(await server.ended, StoreBroken)
            writer.close()

    run(dialogue())


def test_a_blob_that_is_deleted_meanwhile_is_sent_to_its_end(
    run: Run, file: PieceFile, content: bytes, tmp_path: Path
) -> None:
    async def dialogue() -> None:
        async with serving(Reader(file)) as server:
            reader, writer = await ask(server)
            (tmp_path / "blob").unlink()
            assert await reader.readexactly(SIZE) == content
            assert await server.ended is None
            writer.close()

    run(dialogue())


def test_a_client_that_resets_its_connection_ends_the_sending(run: Run, file: PieceFile) -> None:
    async def dialogue() -> None:
        async with serving(Reader(file)) as server:
            client = socket.create_connection(("127.0.0.1", server.port))
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # close() resets
            client.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_sendall(client, b"GET / HTTP/1.1\r\nHost: mirror\r\n\r\n")
            assert await loop.sock_recv(client, 1000)
            client.close()
            assert isinstance(await server.ended, ConnectionError | asyncio.CancelledError)
            assert file.references == 1

    run(dialogue())


def test_a_client_that_takes_nothing_is_given_up(
    run: Run, file: PieceFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(body_sender, "CLIENT_TIMEOUT_S", 0.05)

    async def dialogue() -> None:
        async with serving(Reader(file)) as server:
            _, writer = await ask(server)
            writer.transport.pause_reading()  # type: ignore[attr-defined]
            assert isinstance(await server.ended, ConnectionError | asyncio.CancelledError)
            writer.transport.abort()

    run(dialogue())


def test_over_tls_bytes_pass_the_transport(run: Run, file: PieceFile, content: bytes, tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path, "127.0.0.1")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)

    async def dialogue() -> None:
        async with serving(Reader(file, 3_000_000), context) as server:
            reader, writer = await ask(server, ssl.create_default_context(cafile=str(certificate)))
            assert await reader.readexactly(SIZE) == content
            assert await server.ended is None
            writer.close()

    run(dialogue())
