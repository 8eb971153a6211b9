import asyncio
import socket
from collections import deque
from collections.abc import Iterator
from functools import partial

import grpc
import pytest

from swarm.io import event_loop

WAKE_UPS = 200


class PollerCompletionQueue:
    """Wakes the loop as grpc.aio does: a byte for each event, of which each call takes one and handles all events."""

    def __init__(self) -> None:
        self.reader, self.writer = socket.socketpair()
        self.reader.setblocking(False)
        self.writer.setblocking(False)
        self.events: deque[int] = deque()
        self.handled: list[int] = []
        self.calls = 0
        self.all_handled = asyncio.Event()

    def push(self, event: int) -> None:
        self.events.append(event)
        self.writer.send(b"1")

    def handle(self, loop: asyncio.AbstractEventLoop) -> None:
        assert self.reader.recv(1) == b"1"
        self.calls += 1
        self.handled += self.events
        self.events.clear()
        self.all_handled.set()

    def waiting(self) -> int:
        try:
            return len(self.reader.recv(10_000, socket.MSG_PEEK))
        except BlockingIOError:
            return 0


@pytest.fixture
def queue() -> Iterator[PollerCompletionQueue]:
    queue = PollerCompletionQueue()
    yield queue
    queue.reader.close()
    queue.writer.close()


async def hear(queue: PollerCompletionQueue) -> None:
    loop = asyncio.get_running_loop()
    loop.add_reader(queue.reader, partial(queue.handle, loop))
    for event in range(WAKE_UPS):
        queue.push(event)
    await asyncio.wait_for(queue.all_handled.wait(), 5)
    loop.remove_reader(queue.reader)


def test_all_wake_ups_of_grpc_are_taken_in_one_turn(queue: PollerCompletionQueue) -> None:
    event_loop.run(hear(queue))
    assert queue.handled == list(range(WAKE_UPS))
    assert queue.calls == 1
    assert queue.waiting() == 0


def test_without_that_each_turn_takes_one(queue: PollerCompletionQueue) -> None:
    asyncio.run(hear(queue))
    assert queue.handled == list(range(WAKE_UPS))
    assert queue.waiting() == WAKE_UPS - queue.calls > 0


def test_other_readers_are_called_as_ever() -> None:
    async def read() -> bytes:
        one, other = socket.socketpair()
        with one, other:
            heard: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
            asyncio.get_running_loop().add_reader(one, lambda size: heard.set_result(one.recv(size)), 10)
            other.send(b"abc")
            try:
                return await asyncio.wait_for(heard, 5)
            finally:
                asyncio.get_running_loop().remove_reader(one)

    assert event_loop.run(read()) == b"abc"


def test_grpc_waits_for_wake_ups_where_the_loop_takes_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """If grpc.aio comes to do it in another way, this tells."""
    found: list[object] = []
    is_of_grpc = event_loop._is_of_grpc

    def look(callback: object) -> bool:
        found.append(is_of_grpc(callback))  # type: ignore[arg-type]
        return is_of_grpc(callback)  # type: ignore[arg-type]

    monkeypatch.setattr(event_loop, "_is_of_grpc", look)

    async def connect() -> None:
        async with grpc.aio.insecure_channel("127.0.0.1:1"):
            pass

    event_loop.run(connect())
    assert True in found
