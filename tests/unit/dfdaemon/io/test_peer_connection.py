"""Control connections: frames, heartbeat, and the ends they come to."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from dfdaemon.events import PeerFault
from dfdaemon.io import peer_connection
from dfdaemon.io.peer_connection import CHILD_PING_AFTER_S, ControlConnection
from swarm.frames import FROM_CHILD, Frame, GoneFrame, PingFrame, PongFrame, SubscribeFrame
from swarm.ids import TaskId
from swarm.wire import Decoder, encode

TASK = TaskId("sha256:" + "ab" * 32)


class Talk:
    """A control connection, and the other end of its socket."""

    def __init__(self, other: socket.socket, ping_after_s: float | None) -> None:
        self.other = other
        self.frames: asyncio.Queue[Frame] = asyncio.Queue()
        self.ends: asyncio.Queue[tuple[PeerFault, str]] = asyncio.Queue()
        self.connection = ControlConnection(
            FROM_CHILD,
            self.frames.put_nowait,
            lambda fault, reason: self.ends.put_nowait((fault, reason)),
            ping_after_s,
        )

    async def say(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self.other, data)

    async def hear(self, frame: Frame) -> None:
        decoder = Decoder({type(frame)})
        heard: list[Frame] = []
        while not heard:
            data = await asyncio.get_running_loop().sock_recv(self.other, decoder.wanted_bytes)
            assert data, "the connection was closed"
            heard = decoder.feed(data)
        assert heard == [frame]


@asynccontextmanager
async def talking(ping_after_s: float | None = None) -> AsyncIterator[Talk]:
    other, ours = socket.socketpair()
    ours.setblocking(False)
    other.setblocking(False)
    with other:
        talk = Talk(other, ping_after_s)
        await asyncio.get_running_loop().connect_accepted_socket(lambda: talk.connection, ours)
        try:
            yield talk
        finally:
            talk.connection.close()


async def test_frames_go_both_ways() -> None:
    async with talking() as talk:
        await talk.say(encode(SubscribeFrame(TASK)))
        assert await talk.frames.get() == SubscribeFrame(TASK)
        talk.connection.send(GoneFrame(TASK))
        await talk.hear(GoneFrame(TASK))


async def test_a_ping_is_answered_and_nobody_else_hears_it() -> None:
    async with talking() as talk:
        await talk.say(encode(PingFrame()) + encode(PongFrame()) + encode(SubscribeFrame(TASK)))
        await talk.hear(PongFrame())
        assert await talk.frames.get() == SubscribeFrame(TASK)


async def test_silence_is_met_with_a_ping_and_then_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer_connection, "PING_AFTER_S", 0.01)
    monkeypatch.setattr(peer_connection, "PONG_S", 0.01)
    async with talking() as talk:
        await talk.hear(PingFrame())
        assert (await talk.ends.get())[0] is PeerFault.TIMEOUT


async def test_who_is_suspected_is_asked_at_once_and_given_up_without_an_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(peer_connection, "PONG_S", 0.01)
    async with talking() as talk:
        talk.connection.suspect()
        await talk.hear(PingFrame())
        await talk.say(encode(PongFrame()))
        await talk.say(encode(SubscribeFrame(TASK)))
        await talk.frames.get()
        assert talk.ends.empty()
        talk.connection.suspect()
        talk.connection.suspect()
        assert (await talk.ends.get())[0] is PeerFault.TIMEOUT
        talk.connection.suspect()
        sent = await asyncio.get_running_loop().sock_recv(talk.other, 1000)
        assert sent == peer_connection.PINGS_MAX * encode(PingFrame())


async def test_a_parent_leaves_the_asking_to_its_child(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer_connection, "PING_AFTER_S", 0.01)
    monkeypatch.setattr(peer_connection, "PONG_S", 0.01)
    async with talking(CHILD_PING_AFTER_S) as talk:
        for _ in range(2 * peer_connection.PINGS_MAX):  # longer than it takes to give up who says nothing
            await asyncio.sleep(0.02)
            await talk.say(encode(PingFrame()))
            await talk.hear(PongFrame())  # and no PING, which the decoder would refuse
        assert talk.ends.empty()


@pytest.mark.parametrize("nonsense", [b"GET / HTTP/1.1\r\n\r\n", encode(GoneFrame(TASK))])
async def test_what_breaks_the_protocol_ends_the_connection(nonsense: bytes) -> None:
    async with talking() as talk:
        await talk.say(nonsense)
        fault, reason = await talk.ends.get()
        assert fault is PeerFault.PROTOCOL
        assert reason
        assert await asyncio.get_running_loop().sock_recv(talk.other, 1) == b""


async def test_the_other_side_closes() -> None:
    async with talking() as talk:
        talk.other.close()
        assert (await talk.ends.get())[0] is PeerFault.CLOSED
        talk.connection.send(PingFrame())
        assert talk.ends.empty()


async def test_closing_here_is_not_a_loss() -> None:
    async with talking() as talk:
        talk.connection.send(GoneFrame(TASK))
        talk.connection.close()
        await talk.hear(GoneFrame(TASK))
        assert await asyncio.get_running_loop().sock_recv(talk.other, 1) == b""
        talk.connection.fail(PeerFault.CLOSED, "too late")
        assert talk.ends.empty()


async def test_a_peer_that_does_not_read_is_given_up() -> None:
    async with talking() as talk:
        for _ in range(peer_connection.BACKLOG_BYTES_MAX // 1024 + 1024):
            talk.connection.write(bytes(1024))
            if not talk.ends.empty():
                break
        fault, reason = talk.ends.get_nowait()
        assert fault is PeerFault.TIMEOUT
        assert "unread" in reason


async def test_a_peer_that_does_not_read_the_last_frames_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer_connection, "FAREWELL_S_MAX", 0.01)
    async with talking() as talk:
        lost = asyncio.Event()
        monkeypatch.setattr(talk.connection, "connection_lost", lambda _: lost.set())
        talk.connection.write(bytes(peer_connection.BACKLOG_BYTES_MAX))
        talk.connection.close()
        await asyncio.wait_for(lost.wait(), 5)
