"""TLS from memory against TLS on a socket: no byte is lost, whatever the cuts."""

import asyncio
import random
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from dfdaemon.io.origin_channel import PlainChannel, TlsChannel, receive
from tests.support.system import mark_of
from tests.support.tls import tls_pair

CONTENT = random.Random(3).randbytes(700_001)
Serve = Callable[[ssl.SSLSocket], None]


@contextmanager
def sockets() -> Iterator[tuple[socket.socket, socket.socket]]:
    server, client = socket.socketpair()
    with server, client:
        server.settimeout(10)
        client.setblocking(False)
        yield server, client


@asynccontextmanager
async def channel_to(directory: Path, serve: Serve) -> AsyncIterator[TlsChannel]:
    """A channel after its handshake with a server that runs in a thread."""
    server_context, client_context = tls_pair(directory)
    with sockets() as (server, client):

        def run() -> None:
            with server_context.wrap_socket(server, server_side=True) as secured:
                serve(secured)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            channel = TlsChannel(PlainChannel(client), client_context, "127.0.0.1")
            await channel.handshake()
            yield channel
        finally:
            client.close()
            await asyncio.to_thread(thread.join)


def swallow(secured: ssl.SSLSocket) -> None:
    try:
        while secured.recv(1000):
            pass
    except OSError:
        pass


@pytest.mark.parametrize("room_bytes", [1000, 20_000, 512 * 1024])
async def test_content_arrives_as_it_was_sent(tmp_path: Path, room_bytes: int) -> None:
    room, came = memoryview(bytearray(room_bytes)), bytearray()
    async with channel_to(tmp_path, lambda secured: secured.sendall(CONTENT)) as channel:
        while len(came) < len(CONTENT):
            came += room[: await receive(channel, room)]
        assert came == CONTENT
        assert await receive(channel, room) == 0


async def test_what_is_taken_from_the_socket_and_not_yet_read_is_pending(tmp_path: Path) -> None:
    sent = threading.Event()

    def serve(secured: ssl.SSLSocket) -> None:
        secured.sendall(CONTENT[:9000])
        sent.set()
        swallow(secured)

    async with channel_to(tmp_path, serve) as channel:
        await asyncio.to_thread(sent.wait)
        room, came = memoryview(bytearray(4096)), bytearray()
        assert not channel.pending
        while len(came) < 9000:
            came += room[: await receive(channel, room)]
            assert channel.pending == (len(came) < 9000)
        with pytest.raises(BlockingIOError):
            channel.recv_into(room)


async def test_sealed_bytes_are_told_of_as_they_come(tmp_path: Path) -> None:
    async with channel_to(tmp_path, swallow) as channel:
        channel.expect(len(CONTENT))
        assert mark_of(channel.sock) == 1


async def test_both_ways(tmp_path: Path) -> None:
    def serve(secured: ssl.SSLSocket) -> None:
        secured.sendall(secured.recv(100) + secured.recv(100))

    async with channel_to(tmp_path, serve) as channel:
        await channel.send(b"question ")
        channel.send_now(b"and more")
        room, came = memoryview(bytearray(100)), bytearray()
        while count := await receive(channel, room):
            came += room[:count]
        assert came == b"question and more"


async def test_an_end_without_a_farewell_is_an_end(tmp_path: Path) -> None:
    def serve(secured: ssl.SSLSocket) -> None:
        secured.sendall(b"some")
        secured.shutdown(socket.SHUT_RDWR)

    async with channel_to(tmp_path, serve) as channel:
        room = memoryview(bytearray(100))
        assert await receive(channel, room) == 4
        assert await receive(channel, room) == 0


async def test_bytes_that_are_no_tls(tmp_path: Path) -> None:
    _, context = tls_pair(tmp_path)
    with sockets() as (server, client):
        server.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        with pytest.raises(ssl.SSLError):
            await TlsChannel(PlainChannel(client), context, "127.0.0.1").handshake()


async def test_a_certificate_for_another_name(tmp_path: Path) -> None:
    server_context, context = tls_pair(tmp_path, "127.0.0.2")
    with sockets() as (server, client):
        greeting = asyncio.create_task(TlsChannel(PlainChannel(client), context, "127.0.0.1").handshake())
        with pytest.raises(ssl.SSLCertVerificationError):
            await asyncio.gather(greeting, asyncio.to_thread(_greet, server_context, server))


def _greet(context: ssl.SSLContext, server: socket.socket) -> None:
    try:
        context.wrap_socket(server.dup(), server_side=True).close()
    except OSError:
        pass


async def test_a_message_that_finds_no_room_is_an_error() -> None:
    with sockets() as (_, client), pytest.raises(ConnectionError, match="takes nothing"):
        PlainChannel(client).send_now(bytes(10_000_000))
