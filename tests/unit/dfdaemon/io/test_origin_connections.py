"""Downloads over kept connections: one after another, and whatever may end them."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator

import aiohttp
import h11
import pytest

from dfdaemon.io import origin_connections
from dfdaemon.io.origin_connections import Connections, Download, Terms
from dfdaemon.io.origin_dialing import Dialer, Route
from dfdaemon.io.token_bucket import BURST_S, TokenBucket
from swarm.errors import OriginCut, OriginTimeout

REQUEST = h11.Request(method="GET", target="/", headers=[("Host", "r.test")])
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"


class Origin:
    """Answers the requests of each connection with the next texts; then it closes."""

    def __init__(self, *connections: list[bytes]) -> None:
        self.connections = list(connections)
        self.accepted = 0
        self.serving: set[asyncio.Task[None] | None] = set()
        self.closed = asyncio.Queue[int]()
        self.route = Route("", 0, False, None)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection."""
        self.serving.add(asyncio.current_task())
        number = self.accepted = self.accepted + 1
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            for answer in self.connections.pop(0):
                await reader.readuntil(b"\r\n\r\n")
                writer.write(answer)
            if not self.connections:
                await reader.read()
        writer.close()
        self.closed.put_nowait(number)


@contextlib.asynccontextmanager
async def asking(*connections: list[bytes]) -> AsyncIterator[tuple[Connections, Origin]]:
    origin = Origin(*connections)
    server = await asyncio.start_server(origin.serve, "127.0.0.1", 0)
    origin.route = Route("127.0.0.1", server.sockets[0].getsockname()[1], False, None)
    resolver = aiohttp.ThreadedResolver()
    made = Connections(Dialer(resolver, resolver, ssl.create_default_context(), 5.0))
    try:
        yield made, origin
    finally:
        made.close()
        server.close()
        await asyncio.gather(*filter(None, origin.serving))


async def open_one(
    connections: Connections, origin: Origin, silence_s: float = 5.0, limit: TokenBucket | None = None
) -> Download:
    return await connections.open(origin.route, REQUEST, Terms("x", silence_s, limit))


async def body_of(download: Download) -> bytes:
    try:
        return b"".join([chunk async for chunk in download.chunks()])
    finally:
        download.release()


async def test_a_connection_whose_body_was_read_carries_the_next_download() -> None:
    async with asking([OK, OK, OK]) as (connections, origin):
        for _ in range(3):
            assert await body_of(await open_one(connections, origin)) == b"abc"
        assert origin.accepted == 1


async def test_one_whose_body_was_not_read_is_closed() -> None:
    async with asking([OK[:-1]], [OK]) as (connections, origin):
        (await open_one(connections, origin)).release()
        assert await origin.closed.get() == 1
        assert await body_of(await open_one(connections, origin)) == b"abc"
        assert origin.accepted == 2


async def test_one_that_was_closed_meanwhile_is_not_used() -> None:
    async with asking([OK], [OK]) as (connections, origin):
        assert await body_of(await open_one(connections, origin)) == b"abc"
        assert await origin.closed.get() == 1
        assert await body_of(await open_one(connections, origin)) == b"abc"


async def test_one_that_is_closed_instead_of_an_answer_is_replaced_once() -> None:
    async with asking([OK, b""], [b""]) as (connections, origin):
        assert await body_of(await open_one(connections, origin)) == b"abc"
        origin.connections.append([OK])
        with pytest.raises(OriginCut):
            await open_one(connections, origin)
        assert origin.accepted == 2


async def test_one_that_breaks_inside_an_answer_is_not_replaced() -> None:
    async with asking([OK, b"HTTP/1.1 200"], [OK]) as (connections, origin):
        assert await body_of(await open_one(connections, origin)) == b"abc"
        with pytest.raises(OriginCut):
            await open_one(connections, origin)
        assert origin.accepted == 1


async def test_another_route_has_connections_of_its_own() -> None:
    async with asking([OK, OK], [OK]) as (connections, origin):
        await body_of(await open_one(connections, origin))
        guarded = Route(origin.route.host, origin.route.port, True, None)
        await body_of(await connections.open(guarded, REQUEST, Terms("x", 5.0)))
        assert origin.accepted == 2


async def test_a_kept_connection_is_closed_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(origin_connections, "IDLE_S_MAX", 0.01)
    async with asking([OK, OK]) as (connections, origin):
        await body_of(await open_one(connections, origin))
        assert await origin.closed.get() == 1


async def test_no_more_connections_are_kept_than_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(origin_connections, "IDLE_MAX", 1)
    async with asking([OK, OK], [OK, OK]) as (connections, origin):
        both = [await open_one(connections, origin) for _ in range(2)]
        for download in both:
            await body_of(download)
        assert await origin.closed.get() == 2


async def test_silence_within_head_or_body() -> None:
    for answer in (b"HTTP/1.1 200 OK\r\n", OK[:-1]):
        async with asking([answer, OK]) as (connections, origin):
            with pytest.raises(OriginTimeout):
                await body_of(await open_one(connections, origin, silence_s=0.05))
            assert await origin.closed.get() == 1


async def test_a_refusals_body_is_taken_so_that_its_connection_is_kept() -> None:
    refusal = b"HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\n\r\n"
    async with asking([refusal + b"oh", OK]) as (connections, origin):
        first = await open_one(connections, origin)
        draining = asyncio.create_task(first.drain())
        await asyncio.sleep(0)
        assert not draining.done()
        draining.cancel()
        await asyncio.wait([draining])
    async with asking([refusal + b"oh no", OK]) as (connections, origin):
        first = await open_one(connections, origin)
        await first.drain()
        assert (first.status, await body_of(await open_one(connections, origin))) == (404, b"abc")
        assert origin.accepted == 1


async def test_a_refusal_that_goes_on_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(origin_connections, "DRAIN_S_MAX", 0.05)
    endless = b"HTTP/1.1 500 Oh\r\nContent-Length: 500\r\n\r\n"
    long = b"HTTP/1.1 500 Oh\r\nContent-Length: 500000\r\n\r\n" + bytes(400_000)
    for answer in (endless, long):
        async with asking([answer, OK]) as (connections, origin):
            await (await open_one(connections, origin)).drain()
            assert await origin.closed.get() == 1


async def test_an_answers_turn_is_over_with_its_last_byte_or_when_it_is_let_go() -> None:
    ended: list[str] = []
    async with asking([OK], [OK[:-1]]) as (connections, origin):
        whole = await connections.open(
            origin.route, REQUEST, Terms("x", 5.0, None, lambda: ended.append("whole"))
        )
        assert ended == ["whole"]
        cut = await connections.open(
            origin.route, REQUEST, Terms("x", 5.0, None, lambda: ended.append("cut"))
        )
        assert ended == ["whole"]
        cut.release()
        cut.release()
        assert ended == ["whole", "cut"]
        whole.release()


async def test_a_limit_holds_chunks_back() -> None:
    limit, count = TokenBucket(2_000_000), 200_000
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % count + bytes(count)
    async with asking([answer, OK]) as (connections, origin):
        began = asyncio.get_running_loop().time()
        assert await body_of(await open_one(connections, origin, limit=limit)) == bytes(count)
        took_s = asyncio.get_running_loop().time() - began
        assert took_s >= (count - 2 * limit.step_bytes) / 2_000_000 - BURST_S
