"""The child's end of a data connection, against a parent that follows a script."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from dfdaemon.events import PeerFault
from dfdaemon.io import piece_connection
from dfdaemon.io.piece_connection import Answer, PieceConnection, Taken, Wish
from swarm.frames import (
    REQUESTS,
    AbsentFrame,
    BusyFrame,
    Frame,
    OpenFrame,
    PieceFrame,
    PingFrame,
    RefusedFrame,
    RequestFrame,
)
from swarm.ids import HostId
from swarm.pieces import PIECE_BYTES_MIN
from swarm.wire import Decoder, encode
from tests.support.peers import Blob, quick, read_piece, receivers
from tests.support.system import full_disk

BLOB = Blob(4 * PIECE_BYTES_MIN + 5)
RECORD = BLOB.records[4]
PIECE = PieceFrame(1, 5, RECORD)


class Script:
    """A connection with a request on its way for the blob's last piece, of 5 bytes, and the parent's end of it."""

    def __init__(
        self, parent: socket.socket, connection: PieceConnection, answers: "asyncio.Queue[Answer]"
    ) -> None:
        self.parent, self.connection, self.answers = parent, connection, answers
        self.file = BLOB.empty_file()

    def ask(self) -> None:
        self.connection.ask(Wish(BLOB.task, 4, False, self.file, 0.0))

    async def request(self) -> RequestFrame:
        """Ask, and return what the parent reads."""
        self.ask()
        data = await asyncio.get_running_loop().sock_recv(self.parent, 1000)
        (frame,) = Decoder(REQUESTS).feed(data)
        assert isinstance(frame, RequestFrame)
        return frame

    def reply(self, data: bytes) -> None:
        self.parent.sendall(data)


@asynccontextmanager
async def scripted(opening: bytes = b"") -> AsyncIterator[Script]:
    parent, child = socket.socketpair()
    child.setblocking(False)
    parent.setblocking(False)
    answers: asyncio.Queue[Answer] = asyncio.Queue()
    async with receivers(1) as pool:
        connection = PieceConnection(
            child,
            opening,
            pool,
            quick(),
            None,
            lambda _, wish, answer: answers.put_nowait(answer),
            lambda _: answers.put_nowait(PeerFault.CLOSED),
        )
        with parent:
            script = Script(parent, connection, answers)
            yield script
        if not connection.closed:
            await answers.get()
        assert connection.closed, "it notices that the parent went away"
    script.file.release()


async def test_an_opening_goes_out_once_with_the_first_request() -> None:
    opening = OpenFrame(HostId("child"), 1, bytes(32))
    async with scripted(encode(opening)) as script:
        for number in (1, 2):
            script.ask()
            data = await asyncio.get_running_loop().sock_recv(script.parent, 1000)
            request = RequestFrame(number, BLOB.task, 4)
            assert Decoder({OpenFrame, RequestFrame}).feed(data) == [opening, request][number - 1 :]
            script.reply(encode(BusyFrame(number)))
            assert await script.answers.get() == BusyFrame(number)


async def test_a_piece_comes_and_the_connection_is_good_for_another() -> None:
    async with scripted() as script:
        for number in (1, 2):
            assert await script.request() == RequestFrame(number, BLOB.task, 4)
            script.reply(encode(PieceFrame(number, 5, RECORD)) + BLOB.piece(4))
            assert await script.answers.get() == Taken(RECORD, RECORD.digest)
            assert read_piece(script.file, 4) == BLOB.piece(4)


async def test_while_a_piece_comes_its_bytes_are_the_receivers_alone() -> None:
    """A call for bytes that were pending may come late."""
    async with scripted() as script:
        await script.request()
        script.reply(encode(PIECE) + BLOB.piece(4)[:2])
        await asyncio.sleep(0.05)
        assert script.connection._transfer is not None
        script.reply(BLOB.piece(4)[2:])
        for _ in range(100):
            script.connection._readable()
        assert await script.answers.get() == Taken(RECORD, RECORD.digest)
        assert read_piece(script.file, 4) == BLOB.piece(4)


async def test_an_answer_may_come_byte_by_byte() -> None:
    async with scripted() as script:
        await script.request()
        for byte in encode(PIECE) + BLOB.piece(4):
            script.reply(bytes((byte,)))
            await asyncio.sleep(0)
        assert await script.answers.get() == Taken(RECORD, RECORD.digest)


async def test_an_answer_that_is_there_is_read_at_once() -> None:
    async with scripted() as script:
        await script.request()
        script.reply(encode(BusyFrame(1)))
        turns = 0
        while script.answers.empty():
            await asyncio.sleep(0)
            turns += 1
        assert turns == 2, "it is heard of in one, and read in the next"
        assert script.answers.get_nowait() == BusyFrame(1)


async def test_refusals_leave_the_connection_open() -> None:
    async with scripted() as script:
        await script.request()
        script.reply(encode(BusyFrame(1)))
        assert await script.answers.get() == BusyFrame(1)
        await script.request()
        script.reply(encode(AbsentFrame(2)))
        assert await script.answers.get() is PeerFault.GONE
        assert not script.connection.closed


@pytest.mark.parametrize(
    ("reply", "fault"),
    [
        (PieceFrame(2, 5, RECORD), PeerFault.PROTOCOL),
        (PieceFrame(1, 6, RECORD), PeerFault.PROTOCOL),
        (PieceFrame(1, 4, RECORD), PeerFault.PROTOCOL),
        (PieceFrame(1, 5, BLOB.records[3]), PeerFault.PROTOCOL),
        (BusyFrame(7), PeerFault.PROTOCOL),
        (AbsentFrame(0), PeerFault.PROTOCOL),
        (PingFrame(), PeerFault.PROTOCOL),
        (RefusedFrame(3, "no more children"), PeerFault.UNREACHABLE),
    ],
    ids=str,
)
async def test_wrong_answers_end_the_connection(reply: Frame, fault: PeerFault) -> None:
    async with scripted() as script:
        await script.request()
        script.reply(encode(reply))
        assert await script.answers.get() is fault
        assert script.connection.closed


async def test_noise_ends_the_connection() -> None:
    async with scripted() as script:
        await script.request()
        script.reply(b"HTTP/1.1 200 OK\r\n")
        assert await script.answers.get() is PeerFault.PROTOCOL


async def test_an_answer_that_nobody_asked_for_ends_the_connection() -> None:
    async with scripted() as script:
        script.reply(encode(BusyFrame(0)))
        assert await script.answers.get() is PeerFault.CLOSED
        assert script.connection.closed


@pytest.mark.parametrize("sent", [b"", encode(PIECE)[:20], encode(PIECE), encode(PIECE) + b"abc"])
async def test_a_parent_that_goes_away_ends_the_request(sent: bytes) -> None:
    async with scripted() as script:
        await script.request()
        script.reply(sent)
        script.parent.close()
        assert await script.answers.get() is PeerFault.CLOSED


async def test_a_full_disk_is_told_apart_from_the_parents_faults() -> None:
    async with scripted() as script:
        script.file.release()
        script.file = full_disk(BLOB.pieces)
        await script.request()
        script.reply(encode(PIECE) + BLOB.piece(4))
        assert await script.answers.get() is PeerFault.DISK


async def test_a_request_to_a_dead_parent_fails() -> None:
    async with scripted() as script:
        script.parent.close()
        script.ask()
        assert script.answers.empty(), "never from inside the call"
        assert await script.answers.get() is PeerFault.CLOSED


@pytest.mark.parametrize("sent", [b"", encode(PIECE)[:20], encode(PIECE) + b"abc"])
async def test_a_request_is_taken_back(sent: bytes) -> None:
    async with scripted() as script:
        await script.request()
        script.reply(sent)
        await asyncio.sleep(0)
        script.connection.cancel(PeerFault.CANCELLED)
        script.connection.cancel(PeerFault.CANCELLED)
        assert script.answers.empty(), "never from inside the call"
        assert await script.answers.get() is PeerFault.CANCELLED
        assert script.connection.closed
        assert script.answers.empty()


async def test_a_transfer_under_way_is_taken_back() -> None:
    async with scripted() as script:
        await script.request()
        script.reply(encode(PIECE) + b"abc")
        while read_piece(script.file, 4) != b"abc\0\0":  # noqa: ASYNC110 - a thread writes, and tells nobody
            await asyncio.sleep(0)
        script.connection.cancel(PeerFault.CLOSED)
        assert await script.answers.get() is PeerFault.CLOSED


async def test_a_parent_that_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(piece_connection, "REPLY_S", 0.01)
    async with scripted() as script:
        await script.request()
        assert await script.answers.get() is PeerFault.TIMEOUT


@pytest.mark.parametrize("left", [PIECE, BusyFrame(1)])
async def test_an_answer_that_waits_unread_is_in_time(monkeypatch: pytest.MonkeyPatch, left: Frame) -> None:
    """A loop may look at the clock before it looks at its sockets, after a turn that took long."""
    monkeypatch.setattr(piece_connection, "REPLY_S", 0.01)
    async with scripted() as script:
        await script.request()
        script.reply(encode(left))
        time.sleep(0.02)  # noqa: ASYNC251 - the loop is busy
        script.connection._look()
        if left is PIECE:
            script.reply(BLOB.piece(4))
        assert await script.answers.get() == (Taken(RECORD, RECORD.digest) if left is PIECE else left)
        assert not script.connection.closed


async def test_a_parent_that_stops_in_the_middle_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(piece_connection, "SILENCE_S", 0.01)
    async with scripted() as script:
        await script.request()
        script.reply(encode(PIECE) + b"abc")
        assert await script.answers.get() is PeerFault.TIMEOUT


async def test_an_unused_connection_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(piece_connection, "IDLE_S_MAX", 0.01)
    async with scripted() as script:
        assert await script.answers.get() is PeerFault.CLOSED
        assert script.connection.closed
