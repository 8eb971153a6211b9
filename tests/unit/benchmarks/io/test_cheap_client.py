"""The client in C: it asks in order, takes exactly what it asked for, and says when it is refused."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from benchmarks.io.c_program import CProgramFailed
from benchmarks.io.cheap_client import CheapClient, Piece, http_sockets, pieces_plan, ranges_plan, whole_plan
from swarm.frames import REQUESTS, BusyFrame, PieceFrame, RequestFrame
from swarm.ids import Epoch, TaskId
from swarm.messages import PieceRecord
from swarm.pieces import PIECE_BYTES_MIN, PieceMap
from swarm.wire import Decoder, encode

pytestmark = pytest.mark.needs("build-essential")
TASK = TaskId("sha256:" + "5a" * 32)
PIECES = PieceMap.of(3 * PIECE_BYTES_MIN + 1000)
CONTENT = b"".join(bytes([1 + index]) * PIECES.length(index) for index in range(PIECES.count))


@asynccontextmanager
async def server(answers: bytes, seen: list[bytes]) -> AsyncIterator[str]:
    """An HTTP server that gives this answer to everybody."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n") if not reader.at_eof() else b"":
            seen.append(head)
            writer.write(answers)

    async def quietly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            writer.close()

    listening = await asyncio.start_server(quietly, "127.0.0.1", 0)
    async with listening:
        yield f"127.0.0.1:{listening.sockets[0].getsockname()[1]}"


async def test_bodies_are_dropped_and_counted(tmp_path: Path) -> None:
    client, seen = await CheapClient.compile(tmp_path), list[bytes]()
    async with server(b"HTTP/1.1 200 OK\r\n\r\n" + bytes(70_000), seen) as address:
        turn = await client.run(http_sockets(address, 2), whole_plan("/file", 70_000, 3, 2))
    assert turn.bytes == 6 * 70_000
    assert turn.seconds > 0
    assert seen == [b"GET /file HTTP/1.1\r\nHost: bench\r\n\r\n"] * 6


async def test_a_refusal_is_told(tmp_path: Path) -> None:
    client = await CheapClient.compile(tmp_path)
    async with server(b"HTTP/1.1 404 Not Found\r\n\r\n", []) as address:
        with pytest.raises(CProgramFailed, match="404"):
            await client.run(http_sockets(address, 1), whole_plan("/file", 1, 1, 1))


def piece(index: int) -> Piece:
    return Piece(TASK, "/file", PIECES, index)


def test_ranges_are_those_of_the_pieces() -> None:
    asked = ranges_plan([piece(1), piece(3)], 2)
    assert [each.socket for each in asked] == [0, 1]
    assert b"Range: bytes=1048576-2097151\r\n" in asked[0].request
    assert f"-{PIECES.size - 1}\r\n".encode() in asked[1].request
    assert asked[1].body_bytes == PIECES.length(3)


async def _serve_pieces(sock: socket.socket, busy: bool) -> None:
    """A parent that sends what it is asked for."""
    loop, decoder = asyncio.get_running_loop(), Decoder(REQUESTS)
    sock.setblocking(False)
    while data := await loop.sock_recv(sock, decoder.wanted_bytes):
        for frame in decoder.feed(data):
            assert isinstance(frame, RequestFrame)
            if busy:
                await loop.sock_sendall(sock, encode(BusyFrame(frame.request)))
                continue
            start, end = PIECES.start(frame.index), PIECES.end(frame.index)
            record = PieceRecord(frame.index, bytes(16), Epoch(1))
            await loop.sock_sendall(sock, encode(PieceFrame(frame.request, end - start, record)))
            await loop.sock_sendall(sock, CONTENT[start:end])


async def test_pieces_are_stored_at_their_places(tmp_path: Path) -> None:
    client, store = await CheapClient.compile(tmp_path), tmp_path / "store"
    store.write_bytes(bytes(PIECES.size))
    pairs = [socket.socketpair() for _ in range(2)]
    serving = [asyncio.create_task(_serve_pieces(theirs, False)) for _, theirs in pairs]
    plan = pieces_plan(map(piece, range(PIECES.count)), 2)
    turn = await client.run([ours for ours, _ in pairs], plan, store)
    await asyncio.gather(*serving)
    assert store.read_bytes() == CONTENT
    assert turn.bytes == PIECES.size
    for _, theirs in pairs:
        theirs.close()


async def test_a_parent_that_says_busy_ends_the_run(tmp_path: Path) -> None:
    client = await CheapClient.compile(tmp_path)
    ours, theirs = socket.socketpair()
    serving = asyncio.create_task(_serve_pieces(theirs, True))
    with pytest.raises(CProgramFailed, match="refused"):
        await client.run([ours], pieces_plan([piece(0)], 1))
    with suppress(ConnectionError):  # it left without reading all
        await serving
    theirs.close()
