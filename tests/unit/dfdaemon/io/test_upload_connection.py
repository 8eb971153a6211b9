"""The parent's end of a data connection, against a child that follows a script."""

import asyncio
import contextlib
import errno
import os
import signal
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from dfdaemon.io import send_rounds, upload_connection
from dfdaemon.io.piece_file import PieceFile
from dfdaemon.io.token_bucket import BURST_S, TokenBucket
from dfdaemon.io.upload_connection import Sent, UploadConnection
from swarm.frames import REPLIES, AbsentFrame, BusyFrame, Frame, PieceFrame, PingFrame, RequestFrame
from swarm.pieces import PIECE_BYTES_MIN
from swarm.wire import Decoder, encode
from tests.support.peers import Blob, quick
from tests.support.system import tcp_pair

BLOB = Blob(24 * PIECE_BYTES_MIN, seed=3)


class Script:
    """The child's end, and what the connection reports."""

    def __init__(self, child: socket.socket, parent: socket.socket, limit: TokenBucket | None = None) -> None:
        self.child = child
        self.requests: asyncio.Queue[RequestFrame] = asyncio.Queue()
        self.closings: asyncio.Queue[str] = asyncio.Queue()
        self.ends: asyncio.Queue[Sent] = asyncio.Queue()
        self.file = BLOB.file()
        self.connection = UploadConnection(
            parent,
            quick(),
            limit,
            lambda _, frame: self.requests.put_nowait(frame),
            lambda _, reason: self.closings.put_nowait(reason),
        )

    async def asked(self, number: int = 1, index: int = 0) -> None:
        self.child.sendall(encode(RequestFrame(number, BLOB.task, index)))
        assert await self.requests.get() == RequestFrame(number, BLOB.task, index)

    def send(self, index: int = 0) -> None:
        self.connection.send(BLOB.records[index], self.file, BLOB.pieces.length(index), self.ends.put_nowait)

    async def closed(self) -> str:
        """Wait for the end, and leave it to be counted."""
        reason = await self.closings.get()
        self.closings.put_nowait(reason)
        return reason

    def read(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            part = self.child.recv(count - len(data))
            assert part, "the connection was closed"
            data += part
        return data

    def reply(self) -> Frame:
        decoder, frames = Decoder(REPLIES), list[Frame]()
        while not frames:
            frames = decoder.feed(self.read(decoder.wanted_bytes))
        return frames[0]


@asynccontextmanager
async def scripted(limit: TokenBucket | None = None) -> AsyncIterator[Script]:
    child, parent = tcp_pair()
    child.settimeout(10)
    parent.setblocking(False)
    for sock, option in ((parent, socket.SO_SNDBUF), (child, socket.SO_RCVBUF)):
        sock.setsockopt(socket.SOL_SOCKET, option, 32 * 1024)  # so that a piece does not fit at once
    with child:
        script = Script(child, parent, limit)
        yield script
        script.connection.close("the test is over")
        assert script.closings.qsize() == 1, "the end is reported once"
        assert script.file.references == 1
        script.file.release()


@pytest.mark.parametrize("bytes_per_s", [0, 100_000_000])
async def test_pieces_are_sent_one_after_another(bytes_per_s: int) -> None:
    async with scripted(TokenBucket.of(bytes_per_s)) as script:
        for number, index in ((1, 0), (9, 23)):
            await script.asked(number, index)
            script.send(index)
            length = BLOB.pieces.length(index)
            assert await asyncio.to_thread(script.reply) == PieceFrame(number, length, BLOB.records[index])
            assert await asyncio.to_thread(script.read, length) == BLOB.piece(index)
            ended = await script.ends.get()
            assert (ended.sent_bytes, ended.failed) == (length, False)
            assert script.connection._sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_CORK) == 0, (
                "nothing is held back"
            )


async def is_reset(script: Script) -> bool:
    """Tell whether the rest of what was sent is lost to the child."""
    assert await script.closed() == "the piece was dropped while it was sent"
    try:
        while await asyncio.to_thread(script.child.recv, 1 << 20):
            pass
    except ConnectionResetError:
        return True
    return False


async def test_a_dropped_piece_under_way_is_taken_back() -> None:
    async with scripted() as script:
        await script.asked()
        script.send()
        script.connection.stop_sending(BLOB.task, 0b10)
        script.connection.stop_sending(Blob(1).task, 0b1)
        assert script.ends.empty()
        script.connection.stop_sending(BLOB.task, 0b101)
        assert (await script.ends.get()).failed
        assert await is_reset(script)


async def test_a_dropped_piece_is_taken_back_out_of_the_socket() -> None:
    """All of it is in the socket, and the child's kernel has it not yet: the socket shares the file's pages."""
    async with scripted() as script:
        await script.asked()
        script.send()
        sock = script.connection._sock
        assert isinstance(sock, socket.socket)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, 4 << 20)
        assert not (await script.ends.get()).failed
        script.connection.stop_sending(BLOB.task, 0b1)
        assert await is_reset(script)


async def test_a_dropped_piece_that_arrived_closes_nothing() -> None:
    async with scripted() as script:
        await script.asked()
        script.send()
        await asyncio.to_thread(script.reply)
        assert await asyncio.to_thread(script.read, BLOB.pieces.length(0)) == BLOB.piece(0)
        await script.ends.get()
        while script.connection._queued_bytes():  # noqa: ASYNC110 - the kernel tells nobody
            await asyncio.sleep(0)
        script.connection.stop_sending(BLOB.task, 0b1)
        await script.asked(2)
        assert script.closings.empty()


async def test_a_file_that_is_too_short_is_told() -> None:
    async with scripted() as script:
        os.ftruncate(script.file.fd, 1000)
        await script.asked()
        script.send()
        ended = await script.ends.get()
        assert (ended.sent_bytes, ended.failed) == (1000, True)
        assert ended.unreadable == await script.closed() == "the file ends inside the piece"


@pytest.mark.parametrize(("number", "told"), [(errno.EIO, True), (errno.ECONNRESET, False)])
async def test_a_fault_of_the_disk_is_told_from_one_of_the_child(
    monkeypatch: pytest.MonkeyPatch, number: int, told: bool
) -> None:
    def fail(*_: int) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "sendfile", fail)
    async with scripted() as script:
        await script.asked()
        script.send()
        ended = await script.ends.get()
        assert (ended.sent_bytes, ended.failed, bool(ended.unreadable)) == (0, True, told)


async def test_refusals_leave_the_connection_open() -> None:
    async with scripted() as script:
        await script.asked(1)
        script.connection.refuse(gone=False)
        assert script.reply() == BusyFrame(1)
        await script.asked(2)
        script.connection.refuse(gone=True)
        assert script.reply() == AbsentFrame(2)
        await script.asked(3)


@pytest.mark.parametrize("while_sending", [False, True])
async def test_a_second_request_before_the_answer_ends_the_connection(while_sending: bool) -> None:
    async with scripted() as script:
        await script.asked(1)
        if while_sending:
            script.send()
        script.child.sendall(encode(RequestFrame(2, BLOB.task, 0)))
        await script.closed()
        assert script.ends.qsize() == int(while_sending)
        if while_sending:
            assert script.ends.get_nowait().failed


@pytest.mark.parametrize("noise", [b"GET / HTTP/1.1\r\n", encode(PingFrame())])
async def test_noise_ends_the_connection(noise: bytes) -> None:
    async with scripted() as script:
        script.child.sendall(noise)
        await script.closed()


async def test_a_child_that_goes_away_fails_its_upload() -> None:
    async with scripted() as script:
        await script.asked()
        script.send()
        script.child.close()
        ended = await script.ends.get()
        assert ended.failed
        assert ended.sent_bytes < BLOB.pieces.length(0)


async def test_a_child_that_resets_the_connection_fails_its_upload() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        child = socket.create_connection(server.getsockname())
        parent, _ = server.accept()
    parent.setblocking(False)
    parent.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 32 * 1024)
    script = Script(child, parent)
    await script.asked()
    script.send()
    child.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # close() resets
    child.close()
    assert (await script.ends.get()).failed
    assert "reset" in await script.closed() or "pipe" in await script.closed()
    script.file.release()


async def test_a_disk_that_cannot_be_read_fails_the_upload() -> None:
    unreadable = PieceFile(os.open("/proc/self/mem", os.O_RDONLY), BLOB.pieces, 1)
    async with scripted() as script:
        await script.asked()
        script.connection.send(BLOB.records[0], unreadable, BLOB.pieces.length(0), script.ends.put_nowait)
        ended = await script.ends.get()
        assert (ended.failed, ended.sent_bytes) == (True, 0)
        assert await script.closed()
        assert unreadable.references == 1
        unreadable.release()


async def test_a_blob_that_is_deleted_meanwhile_is_sent_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.write_bytes(BLOB.content)
    async with scripted() as script:
        file, length = PieceFile.on_disk(path, BLOB.pieces), BLOB.pieces.length(0)
        await script.asked()
        script.connection.send(BLOB.records[0], file, length, script.ends.put_nowait)
        file.release()
        path.unlink()
        await asyncio.to_thread(script.reply)
        assert await asyncio.to_thread(script.read, length) == BLOB.piece(0)
        assert not (await script.ends.get()).failed


async def test_interruptions_and_full_buffers_only_delay_an_upload() -> None:
    """Signals arrive while a piece is sent through a small buffer: no byte is lost or doubled."""
    signals = []
    before = signal.signal(signal.SIGALRM, lambda number, frame: signals.append(number))
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    try:
        async with scripted() as script:
            await script.asked()
            script.send()
            length = BLOB.pieces.length(0)
            await asyncio.to_thread(script.reply)
            assert await asyncio.to_thread(script.read, length) == BLOB.piece(0)
            assert not (await script.ends.get()).failed
        assert signals, "it took longer than half a millisecond"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


async def test_an_answer_to_a_child_that_went_away_does_nothing() -> None:
    async with scripted() as script:
        await script.asked()
        script.child.close()
        await script.closed()
        script.connection.refuse(gone=False)


async def test_a_child_that_takes_nothing_loses_its_slot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload_connection, "LOOK_S", 0.01)
    monkeypatch.setattr(upload_connection, "STALL_S", 0.03)
    async with scripted() as script:
        await script.asked()
        script.send()
        ended = await script.ends.get()
        assert ended.failed
        assert "took nothing" in await script.closed()


async def test_a_slow_child_keeps_its_slot_as_long_as_it_takes_something(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loop = asyncio.get_running_loop()
    now = loop.time()
    monkeypatch.setattr(loop, "time", lambda: now)
    async with scripted() as script:
        began = now
        await script.asked()
        script.send()
        script.reply()
        script.child.setblocking(False)
        taken = b""
        while script.ends.empty():
            with contextlib.suppress(BlockingIOError):
                taken += script.child.recv(64 * 1024)
            now += upload_connection.LOOK_S
            for _ in range(3):  # the child's room is noticed, filled, and looked at
                await asyncio.sleep(0)
        assert now - began > 3 * upload_connection.STALL_S
        assert not script.ends.get_nowait().failed
        assert BLOB.piece(0).startswith(taken)


async def test_a_file_that_is_too_short_fails_the_upload() -> None:
    async with scripted() as script:
        await script.asked()
        script.connection.send(
            BLOB.records[23], script.file, 2 * BLOB.pieces.length(23), script.ends.put_nowait
        )
        script.reply()
        await asyncio.to_thread(script.read, BLOB.pieces.length(23))
        assert (await script.ends.get()).failed


async def test_an_unused_connection_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload_connection, "IDLE_S_MAX", 0.01)
    async with scripted() as script:
        assert "unused" in await script.closed()


async def test_a_limit_holds_uploads_back() -> None:
    loop, length = asyncio.get_running_loop(), BLOB.pieces.length(0)
    limit = TokenBucket(10_000_000)
    async with scripted(limit) as script:
        began = loop.time()
        await script.asked()
        script.send()
        await asyncio.to_thread(script.reply)
        assert await asyncio.to_thread(script.read, length) == BLOB.piece(0)
        assert not (await script.ends.get()).failed
        assert loop.time() - began >= (length - limit.step_bytes) / 10_000_000 - BURST_S


async def test_an_upload_that_is_held_back_can_be_ended() -> None:
    async with scripted(TokenBucket(1)) as script:
        await script.asked()
        script.send()
        script.reply()
        script.connection.close("its slot was taken back")
        assert (await script.ends.get()).failed


async def test_uploads_wait_for_each_other_when_a_round_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(send_rounds, "ROUND_S", 0.0)
    async with scripted() as one, scripted() as other:
        for script in (one, other):
            await script.asked()
        for script in (one, other):
            script.send()
        one.connection.close("its slot was taken back")
        assert (await one.ends.get()).sent_bytes == 0
        await asyncio.to_thread(other.reply)
        assert await asyncio.to_thread(other.read, BLOB.pieces.length(0)) == BLOB.piece(0)


async def test_an_upload_that_waits_for_its_round_is_not_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload_connection, "LOOK_S", 0.01)
    monkeypatch.setattr(upload_connection, "STALL_S", 0.03)
    async with scripted() as script:
        waiting: list[Callable[[], None]] = []
        monkeypatch.setattr(script.connection._rounds, "run", waiting.append)
        await script.asked()
        script.send()
        await asyncio.sleep(0.1)
        assert script.ends.empty()
        assert len(waiting) == 1
