"""Connections to origins that are kept between two downloads, and one download over one of them."""

import asyncio
import contextlib
import socket
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from functools import partial

import h11
from multidict import CIMultiDict

from dfdaemon.io.origin_channel import Channel, receive
from dfdaemon.io.origin_dialing import Dialer, Route
from dfdaemon.io.origin_errors import mapped_errors
from dfdaemon.io.origin_framing import Inflater, SilentEnd, ask, framing_of
from dfdaemon.io.token_bucket import TokenBucket
from swarm.errors import OriginError

IDLE_S_MAX = 15.0
"""A connection that nobody uses is closed after this; servers wait longer."""
IDLE_MAX = 64
"""Connections kept for all origins together."""
DRAIN_BYTES_MAX = 64 * 1024
DRAIN_S_MAX = 1.0
"""A refusal's body is read so far and so long, for the sake of its connection."""
CHUNK_BYTES_MAX = 256 * 1024


@dataclass(frozen=True, slots=True)
class Terms:
    """How an answer is taken. `silence_s`: when it is given up; `limit` on the bytes of its body.

    `over` is called once, when nothing more of it comes.
    """

    target: str
    silence_s: float
    limit: TokenBucket | None = None
    over: Callable[[], None] = field(default=lambda: None, repr=False)


class Download:
    """An open answer: its head, and its body either as `chunks`, or taken from `channel` by a receiver's thread."""

    def __init__(
        self,
        channel: Channel,
        connection: h11.Connection,
        response: h11.Response,
        terms: Terms,
        on_idle: Callable[[Channel], None],
    ) -> None:
        self.status = response.status_code
        self.headers: CIMultiDict[str] = CIMultiDict(
            (name.decode(), value.decode("utf-8", "surrogateescape")) for name, value in response.headers
        )
        self.channel = channel
        self.terms = terms
        self._on_idle = on_idle
        self._released = False
        self._inflater: Inflater | None = None
        with mapped_errors(terms.target):
            self._framing, first = framing_of(connection, response)
        self.first = deque(first)
        """Content that came with the head."""
        if terms.limit is not None:
            terms.limit.take(sum(map(len, first)), time.monotonic())
        if self.ended:
            terms.over()

    @property
    def ended(self) -> bool:
        """Whether nothing more of the body is to be taken from the channel."""
        return self._framing.ended

    @property
    def released(self) -> bool:
        """Whether the answer was let go of: its channel may be closed, or serve another one."""
        return self._released

    def inflate(self) -> None:
        """Undo the gzip encoding of the body; raises OriginContent and OriginCut."""
        self._inflater = Inflater(self.terms.target)
        self.first = deque(self._inflated(list(self.first)))

    def wanted(self, most: int) -> int:
        """Return how many bytes to take next from the channel."""
        return self._framing.wanted(most)

    def expect(self, most: int) -> None:
        """Let waits for the channel end when many bytes are there, or `most`, or the last."""
        self.channel.expect(min(most, self._framing.coming))

    def take(self, data: memoryview) -> list[memoryview]:
        """Return the content of bytes that were taken from the channel, none of which mean that it was closed.

        Raises OriginCut, OriginContent.
        """
        with mapped_errors(self.terms.target):
            if data:
                content = self._framing.take(data)
            else:
                content = []
                self._framing.closed()
        return self._inflated(content)

    def _inflated(self, content: list[memoryview]) -> list[memoryview]:
        if self._inflater is None:
            return content
        inflated = list(self._inflater.take(content))
        if self.ended:
            self._inflater.end()
        return inflated

    async def chunks(self) -> AsyncIterator[bytes]:
        """Give the content as it comes; raises OriginCut, OriginTimeout, OriginContent."""
        while self.first:
            yield bytes(self.first.popleft())
        room = memoryview(bytearray(0 if self.ended else CHUNK_BYTES_MAX))
        while not self.ended:
            for part in self.take(room[: await self._receive(room)]):
                yield bytes(part)
            await asyncio.sleep(0)
        self.release()

    async def drain(self) -> None:
        """Take the body of a refusal, which nobody reads, and let go of the answer."""
        self.first.clear()
        count, room = 0, memoryview(bytearray(DRAIN_BYTES_MAX))
        try:
            async with asyncio.timeout(DRAIN_S_MAX):
                while not self.ended and count < DRAIN_BYTES_MAX:
                    data = room[: await self._receive(room)]
                    count += len(data)
                    self.take(data)
        except (OriginError, TimeoutError):
            pass  # the connection is not kept, and that is all
        finally:
            self.release()

    async def _receive(self, room: memoryview) -> int:
        limit = self.terms.limit
        if limit is not None:
            await asyncio.sleep(max(0.0, limit.wait_s(time.monotonic())))
            room = room[: limit.step_bytes]
        with mapped_errors(self.terms.target):
            async with asyncio.timeout(self.terms.silence_s):
                count = await receive(self.channel, room[: self.wanted(len(room))])
        if limit is not None:
            limit.take(count, time.monotonic())
        return count

    def release(self) -> None:
        """Let go of the answer: its connection is kept if the body was read to its end; more calls do nothing."""
        if self._released:
            return
        self._released = True
        if self._framing.clean:
            self._on_idle(self.channel)
        else:
            self.channel.sock.close()
        self.terms.over()


class Connections:
    """Opens downloads over kept connections, or new ones. Made inside a running event loop."""

    def __init__(self, dialer: Dialer) -> None:
        self._dialer = dialer
        self._idle: dict[Route, list[tuple[Channel, asyncio.TimerHandle]]] = {}
        self._closed = False

    def close(self) -> None:
        """Close what is kept."""
        self._closed = True
        for kept in self._idle.values():
            for channel, timer in kept:
                timer.cancel()
                channel.sock.close()
        self._idle.clear()

    async def open(self, route: Route, request: h11.Request, terms: Terms) -> Download:
        """Send a GET and return its answer; raises NotAllowed, OriginUnreachable, OriginTimeout, OriginCut,
        OriginContent. `terms.over` is not called when it raises.
        """
        with mapped_errors(terms.target):
            kept = self._reuse(route)
            if kept is not None:
                with contextlib.suppress(SilentEnd):  # closed while nobody used it
                    return await self._ask(kept, route, request, terms)
            channel = await self._dialer.dial(route, terms.target)
            return await self._ask(channel, route, request, terms)

    async def _ask(self, channel: Channel, route: Route, request: h11.Request, terms: Terms) -> Download:
        try:
            async with asyncio.timeout(terms.silence_s):
                connection, response = await ask(channel, request)
            return Download(channel, connection, response, terms, partial(self._keep, route))
        except BaseException:
            channel.sock.close()
            raise

    def _reuse(self, route: Route) -> Channel | None:
        kept = self._idle.get(route, [])
        while kept:
            channel, timer = kept.pop()
            timer.cancel()
            if _is_quiet(channel):
                return channel
            channel.sock.close()
        self._idle.pop(route, None)
        return None

    def _keep(self, route: Route, channel: Channel) -> None:
        if self._closed or sum(map(len, self._idle.values())) >= IDLE_MAX:
            channel.sock.close()
            return
        timer = asyncio.get_running_loop().call_later(IDLE_S_MAX, self._expire, route, channel)
        self._idle.setdefault(route, []).append((channel, timer))

    def _expire(self, route: Route, channel: Channel) -> None:
        channel.sock.close()
        left = [each for each in self._idle.pop(route, []) if each[0] is not channel]
        if left:
            self._idle[route] = left


def _is_quiet(channel: Channel) -> bool:
    """Tell whether a kept connection is still open, and silent as it ought to be."""
    try:
        channel.sock.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return not channel.pending
    except OSError:
        pass
    return False
