"""The parent's side against children that follow a script."""

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from typing import Any

import pytest

from dfdaemon.data_opening import Opener
from dfdaemon.events import ChildLost, ChildSubscribed, PieceRequested, UploadEnded
from dfdaemon.io import newcomers, peer_connection, peer_server
from dfdaemon.io.peer_handshake import Identity, greet
from dfdaemon.io.peer_server import PeerServer
from dfdaemon.io.piece_file import PieceFile
from swarm.frames import (
    FROM_PARENT,
    REPLIES,
    BusyFrame,
    Frame,
    GoneFrame,
    PieceFrame,
    PingFrame,
    Purpose,
    ReadyFrame,
    Refusal,
    RefusedFrame,
    RequestFrame,
    SubscribeFrame,
)
from swarm.ids import HostId, TaskId
from swarm.messages import Address
from swarm.pieces import MIB
from swarm.wire import MAGIC, Decoder, encode
from tests.support.peers import CHILD, PARENT, TOKEN, Blob, Inbox, quick, serving
from tests.support.system import no_descriptors

BLOB = Blob(3 * MIB)
RECEIVE_BUFFER_BYTES = 16 * 1024


class RawChild:
    """A host that opens connections of its own."""

    def __init__(self, at: Address, host: HostId = CHILD) -> None:
        self.at, self.me = at, Identity(host, TOKEN)
        self.open = ExitStack()
        self.key = b""
        """Of the last handshake."""

    async def connect(self, purpose: Purpose) -> socket.socket:
        sock = await self.dial()
        self.key = (await greet(sock, self.me, PARENT, purpose, quick())).key
        return sock

    async def dial(self) -> socket.socket:
        """Open a connection and say nothing."""
        sock = self.open.enter_context(socket.socket())
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, (self.at.host, self.at.port))
        return sock

    async def control(self, task: TaskId = BLOB.task) -> socket.socket:
        """Open a control connection, and subscribe."""
        sock = await self.connect(Purpose.CONTROL)
        await say(sock, encode(SubscribeFrame(task)))
        return sock


def mute(at: Address) -> socket.socket:
    """Return a connection that said one byte, and says no more."""
    sock = socket.create_connection((at.host, at.port))
    sock.sendall(bytes((MAGIC,)))
    return sock


async def say(sock: socket.socket, data: bytes) -> None:
    await asyncio.get_running_loop().sock_sendall(sock, data)


async def hear(sock: socket.socket, expected: frozenset[type[Frame]]) -> Frame:
    decoder, heard = Decoder(expected), list[Frame]()
    while not heard:
        data = await asyncio.get_running_loop().sock_recv(sock, decoder.wanted_bytes)
        assert data, "the connection was closed"
        heard = decoder.feed(data)
    return heard[0]


async def closed(sock: socket.socket) -> bool:
    try:
        return await asyncio.get_running_loop().sock_recv(sock, 1) == b""
    except ConnectionError:
        return True


@asynccontextmanager
async def served(children_max: int = 8) -> AsyncIterator[tuple[PeerServer, Inbox, RawChild]]:
    inbox = Inbox()
    async with serving(inbox, children_max=children_max) as (server, at):
        child = RawChild(at)
        with child.open:
            yield server, inbox, child


async def start_upload(server: PeerServer, inbox: Inbox, child: RawChild) -> socket.socket:
    """Let a child ask for a piece and read only its header."""
    await child.control()
    await inbox.next(ChildSubscribed)
    sock = await child.connect(Purpose.DATA)
    await say(sock, encode(RequestFrame(5, BLOB.task, 2)))
    asked = await inbox.next(PieceRequested)
    file = BLOB.file()
    server.start_upload(CHILD, asked.request, BLOB.task, BLOB.records[2], file, BLOB.pieces.length(2))
    file.release()
    assert await hear(sock, REPLIES) == PieceFrame(5, BLOB.pieces.length(2), BLOB.records[2])
    return sock


async def test_a_data_connection_needs_a_control_connection() -> None:
    async with served() as (server, _, child):
        sock = await child.connect(Purpose.DATA)
        refused = await hear(sock, REPLIES)
        assert isinstance(refused, RefusedFrame)
        assert refused.reason == Refusal.STRANGER
        assert await closed(sock)
        assert server.stats().refused == 1


REQUEST = encode(RequestFrame(5, BLOB.task, 2))


async def refusal(sock: socket.socket) -> int:
    """Return why this connection is refused, once it is closed."""
    refused = await hear(sock, REPLIES)
    assert isinstance(refused, RefusedFrame)
    assert await closed(sock)
    return refused.reason


async def test_a_request_comes_right_behind_an_open() -> None:
    async with served() as (server, inbox, child):
        await child.control()
        await inbox.next(ChildSubscribed)
        opener = Opener(CHILD, child.key)
        for pause in (False, True):  # with a pause the parent begins before the frame is whole
            sock, opening = await child.dial(), encode(opener.open())
            await say(sock, opening[:20])
            if pause:
                await asyncio.to_thread(lambda: None)
            await say(sock, opening[20:] + REQUEST)
            asked = await inbox.next(PieceRequested)
            assert (asked.child, asked.task, asked.index) == (CHILD, BLOB.task, 2)
            server.refuse(CHILD, asked.request, False)
            assert await hear(sock, REPLIES) == BusyFrame(5)


async def test_an_open_is_good_for_one_connection() -> None:
    async with served() as (server, inbox, child):
        await child.control()
        await inbox.next(ChildSubscribed)
        overheard = encode(Opener(CHILD, child.key).open()) + REQUEST
        sock = await child.dial()
        await say(sock, overheard)
        await inbox.next(PieceRequested)
        again = await child.dial()
        await say(again, overheard)
        assert await refusal(again) == Refusal.OPENING
        assert inbox.unread == []
        assert server.stats().refused == 1


@pytest.mark.parametrize("host", [CHILD, HostId("stranger")])
async def test_an_open_of_another_control_connection_is_refused(host: HostId) -> None:
    async with served() as (_, inbox, child):
        await child.control()
        old = child.key
        await child.control()  # with a new key
        sock = await child.dial()
        await say(sock, encode(Opener(host, old).open()) + REQUEST)
        assert await refusal(sock) == (Refusal.OPENING if host == CHILD else Refusal.STRANGER)
        assert not [event for event in inbox.events if isinstance(event, PieceRequested)]


async def test_a_flood_of_wrong_opens_leaves_others_their_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(newcomers, "HANDSHAKES_MAX", 2)
    async with served() as (server, _, child):
        listener = server._newcomers._listener
        assert listener is not None
        for _ in range(3):
            sock = child.open.enter_context(socket.create_connection((child.at.host, child.at.port)))
            sock.sendall(encode(Opener(CHILD, b"wrong").open()))
        for refused in (2, 3):
            server._newcomers._accept(listener)
            assert server.stats().refused == refused


async def test_a_key_ends_with_its_control_connection() -> None:
    async with served() as (_, inbox, child):
        sock = await child.control()
        await inbox.next(ChildSubscribed)
        opening = encode(Opener(CHILD, child.key).open())
        sock.close()
        await inbox.next(ChildLost)
        late = await child.dial()
        await say(late, opening + REQUEST)
        assert await refusal(late) == Refusal.STRANGER


async def test_data_connections_of_one_child_are_limited() -> None:
    async with served() as (_, inbox, child):
        await child.control()
        await inbox.next(ChildSubscribed)
        socks = [await child.connect(Purpose.DATA) for _ in range(peer_server.UPLOAD_CONNECTIONS_MAX)]
        for number, sock in enumerate(socks):  # once each of them is known
            await say(sock, encode(RequestFrame(number, BLOB.task, 0)))
            await inbox.next(PieceRequested)
        assert await refusal(await child.connect(Purpose.DATA)) == Refusal.CONNECTIONS
        await child.control()  # one that replaces the first, and its eight
        opener = Opener(CHILD, child.key)
        for _ in range(peer_server.UPLOAD_CONNECTIONS_MAX):
            await say(await child.dial(), encode(opener.open()) + REQUEST)
        one_more = await child.dial()
        await say(one_more, encode(opener.open()) + REQUEST)
        assert await refusal(one_more) == Refusal.CONNECTIONS


async def test_the_same_number_on_two_connections_makes_two_requests() -> None:
    async with served() as (_, inbox, child):
        await child.control()
        await inbox.next(ChildSubscribed)
        for _ in range(2):
            await say(await child.connect(Purpose.DATA), encode(RequestFrame(1, BLOB.task, 0)))
        first, second = await inbox.next(PieceRequested), await inbox.next(PieceRequested)
        assert first.request != second.request


async def test_subscriptions_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer_server, "SUBSCRIPTIONS_MAX", 2)
    async with served() as (_, inbox, child):
        sock = await child.control()
        tasks = [TaskId(f"sha256:{number:064}") for number in (1, 2)]
        await say(sock, b"".join(encode(SubscribeFrame(task)) for task in [BLOB.task, *tasks]))
        for _ in range(3):
            await inbox.next(ChildSubscribed)
        assert await inbox.next(ChildLost) == ChildLost(CHILD)
        assert await closed(sock)


async def test_a_subscription_that_is_answered_with_gone_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer_server, "SUBSCRIPTIONS_MAX", 1)
    async with served() as (server, inbox, child):
        sock = await child.connect(Purpose.CONTROL)
        for number in range(3):
            task = TaskId(f"sha256:{number:064}")
            await say(sock, encode(SubscribeFrame(task)))
            await inbox.next(ChildSubscribed)
            server.send_gone(CHILD, task)
            server.send_gone(HostId("nobody"), task)
            assert await hear(sock, FROM_PARENT) == GoneFrame(task)
        await asyncio.sleep(0)
        assert inbox.unread == []


@pytest.mark.parametrize(
    "noise", [b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", encode(SubscribeFrame(BLOB.task))]
)
async def test_whoever_does_not_greet_gets_nothing(noise: bytes) -> None:
    async with served() as (server, inbox, child):
        with socket.create_connection((child.at.host, child.at.port)) as sock:
            sock.setblocking(False)
            await say(sock, noise)
            assert await closed(sock)
        assert inbox.events == []
        assert [note.name for note in inbox.notes] == ["child_refused"]
        assert server.stats().refused == 1


async def test_the_zone_of_a_child_is_known() -> None:
    async with served() as (_, inbox, child):
        child.me = Identity(CHILD, TOKEN, "eu-1")
        await child.control()
        assert await inbox.next(ChildSubscribed) == ChildSubscribed(CHILD, BLOB.task, "eu-1")


async def test_when_enough_are_greeted_others_wait_for_their_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(newcomers, "HANDSHAKES_MAX", 2)
    async with served() as (_, inbox, child):
        silent = [mute(child.at) for _ in range(2)]
        subscribing = asyncio.create_task(child.control())
        for sock in silent:
            sock.close()
        await subscribing
        assert await inbox.next(ChildSubscribed) == ChildSubscribed(CHILD, BLOB.task)


async def test_whoever_proves_nothing_makes_room_for_those_who_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(newcomers, "HANDSHAKES_MAX", 2)
    monkeypatch.setattr(newcomers, "HANDSHAKE_S", 0.02)
    async with served() as (_, inbox, child):
        silent = [mute(child.at) for _ in range(2)]
        await child.control()
        assert await inbox.next(ChildSubscribed) == ChildSubscribed(CHILD, BLOB.task)
        for sock in silent:
            with sock:
                assert await asyncio.to_thread(sock.recv, 1) == b"", "it was closed"


async def test_a_flood_of_strangers_sets_one_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(newcomers, "HANDSHAKES_MAX", 2)
    loop, timers = asyncio.get_running_loop(), list[str]()
    call_later = loop.call_later

    def counted(delay: float, callback: Callable[..., object], *arguments: Any) -> asyncio.TimerHandle:
        timers.append(getattr(callback, "__name__", ""))
        return call_later(delay, callback, *arguments)

    async with served() as (server, _, child):
        monkeypatch.setattr(loop, "call_later", counted)
        silent = [mute(child.at) for _ in range(2)]
        for number in range(10):
            while len(server._newcomers) < 2 or server.stats().refused < number:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0)
            silent.pop(0).close()
            silent.append(mute(child.at))
        for sock in silent:
            sock.close()
        assert timers.count("_make_room") == 1


async def test_a_child_is_pinged_late_since_it_pings_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer_connection, "PING_AFTER_S", 0.01)
    monkeypatch.setattr(peer_server, "CHILD_PING_AFTER_S", 0.15)
    async with served() as (_, inbox, child):
        sock = await child.control()
        await inbox.next(ChildSubscribed)
        began = time.monotonic()
        assert await asyncio.get_running_loop().sock_recv(sock, 100) == encode(PingFrame())
        assert time.monotonic() - began > 0.1


async def test_a_child_that_leaves_ends_its_uploads_first() -> None:
    async with served() as (server, inbox, child):
        await start_upload(server, inbox, child)
        child.open.close()
        ended = await inbox.next(UploadEnded)
        assert ended.failed
        assert await inbox.next(ChildLost) == ChildLost(CHILD)
        assert server.stats().uploads == 0


async def test_an_upload_lasts_until_its_child_took_it() -> None:
    async with served() as (server, inbox, child):
        sock = await start_upload(server, inbox, child)
        assert server.stats().uploads == 1
        assert inbox.unread == []
        await asyncio.get_running_loop().sock_recv(sock, 1)
        left = BLOB.pieces.length(2) - 1
        while left:
            left -= len(await asyncio.get_running_loop().sock_recv(sock, left))
        assert (await inbox.next(UploadEnded)).sent_bytes == BLOB.pieces.length(2)


async def test_a_file_that_cannot_be_read_is_told_and_its_upload_ends() -> None:
    async with served() as (server, inbox, child):
        told: list[tuple[TaskId, str]] = []
        server.on_unreadable = lambda task, reason: told.append((task, reason))
        await child.control()
        await inbox.next(ChildSubscribed)
        sock = await child.connect(Purpose.DATA)
        await say(sock, encode(RequestFrame(5, BLOB.task, 2)))
        asked = await inbox.next(PieceRequested)
        empty = PieceFile.ring(BLOB.pieces.size, 1)
        os.ftruncate(empty.fd, 0)
        server.start_upload(CHILD, asked.request, BLOB.task, BLOB.records[2], empty, BLOB.pieces.length(2))
        empty.release()
        assert (await inbox.next(UploadEnded)).failed
        assert told == [(BLOB.task, "the file ends inside the piece")]


async def test_an_upload_under_way_is_taken_back() -> None:
    async with served() as (server, inbox, child):
        await start_upload(server, inbox, child)
        (asked,) = [event for event in inbox.events if isinstance(event, PieceRequested)]
        server.abort(CHILD, asked.request)
        server.abort(CHILD, asked.request)
        assert (await inbox.next(UploadEnded)).failed
        assert inbox.unread == []


async def test_closing_lets_uploads_finish() -> None:
    async with served() as (server, inbox, child):
        sock = await start_upload(server, inbox, child)
        closing = asyncio.create_task(server.close(10))
        received = b""
        while len(received) < BLOB.pieces.length(2):
            received += await asyncio.get_running_loop().sock_recv(sock, 1 << 20)
        assert received == BLOB.piece(2)
        await closing
        assert not (await inbox.next(UploadEnded)).failed
        assert await inbox.next(ChildLost) == ChildLost(CHILD)


async def test_closing_does_not_wait_for_ever() -> None:
    async with served() as (server, inbox, child):
        sock = await start_upload(server, inbox, child)
        await server.close(0.01)
        assert (await inbox.next(UploadEnded)).failed
        assert await inbox.next(ChildLost) == ChildLost(CHILD)
        sock.close()
        with pytest.raises(ConnectionRefusedError):
            await child.control()


async def test_when_there_are_no_descriptors_it_tries_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(newcomers, "ACCEPT_PAUSE_S", 0.01)
    async with served() as (_, inbox, child):
        with mute(child.at), no_descriptors():
            while not inbox.notes:  # noqa: ASYNC110 - a note wakes nobody
                await asyncio.sleep(0)
        assert inbox.notes[0].name == "children_not_accepted"
        await child.control()
        assert await inbox.next(ChildSubscribed) == ChildSubscribed(CHILD, BLOB.task)


async def test_a_wake_up_reaches_its_child() -> None:
    async with served() as (server, inbox, child):
        sock = await child.control()
        await inbox.next(ChildSubscribed)
        server.wake(CHILD)
        server.wake(HostId("nobody"))
        assert await hear(sock, FROM_PARENT) == ReadyFrame()
