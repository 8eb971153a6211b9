"""Clients that say nothing, and too many of them."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from dfdaemon.io.loopback import LOOPBACK_CONGESTION
from dfdaemon.io.mirror_server import REFUSED_SHARE, MirrorServer


@asynccontextmanager
async def serving(connections_max: int, first_request_s: float) -> AsyncIterator[tuple[MirrorServer, int]]:
    """A server whose answers say whether it is full."""

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        server.spoke(request.transport)
        return web.Response(text="full" if server.is_full else "fine")

    server = MirrorServer(handle, connections_max, first_request_s)
    runner = web.ServerRunner(server, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield server, runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def say(port: int, text: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect and send something."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(text)
    return reader, writer


async def close(writer: asyncio.StreamWriter) -> None:
    """Hang up."""
    writer.close()
    await asyncio.gather(writer.wait_closed(), return_exceptions=True)


@pytest.mark.parametrize("text", [b"", b"GET /v2/ HTTP/1.1\r\nHost: m"])
async def test_who_does_not_finish_a_first_request_is_let_go(text: bytes) -> None:
    async with serving(10, 0.05) as (server, port):
        reader, writer = await say(port, text)
        assert await reader.read() == b""
        assert not server.connections
        await close(writer)


async def test_who_spoke_may_be_silent_then() -> None:
    async with serving(10, 0.05) as (_, port):
        reader, writer = await say(port, b"GET / HTTP/1.1\r\nHost: m\r\n\r\n")
        assert (await reader.readuntil(b"fine")).startswith(b"HTTP/1.1 200")
        silent_reader, silent = await say(port, b"")
        assert await silent_reader.read() == b""
        writer.write(b"GET / HTTP/1.1\r\nHost: m\r\n\r\n")
        assert await reader.readuntil(b"fine"), "older than the silent one, and still there"
        await close(writer)
        await close(silent)


async def test_connections_are_bounded() -> None:
    async with serving(1, 10.0) as (server, port):
        clients = [await say(port, b"") for _ in range(REFUSED_SHARE)]
        reader, writer = clients[-1]
        writer.write(b"GET / HTTP/1.1\r\nHost: m\r\n\r\n")
        assert await reader.readuntil(b"full")
        refused, last = await say(port, b"")
        assert await refused.read() == b""
        assert len(server.connections) <= REFUSED_SHARE
        for _, writer in [*clients, (refused, last)]:
            await close(writer)


async def test_a_client_on_this_host_is_sent_to_cheaply() -> None:
    used: list[bytes] = []

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        assert request.transport is not None
        sock = request.transport.get_extra_info("socket")
        used.append(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16).rstrip(b"\0"))
        return web.Response()

    runner = web.ServerRunner(MirrorServer(handle, 10))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    reader, writer = await say(runner.addresses[0][1], b"GET / HTTP/1.1\r\nHost: m\r\n\r\n")
    assert (await reader.readline()).startswith(b"HTTP/1.1 200")
    await close(writer)
    await runner.cleanup()
    assert used == [LOOPBACK_CONGESTION]
