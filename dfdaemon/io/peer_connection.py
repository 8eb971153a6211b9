"""A control connection after its handshake: frames both ways, and a heartbeat. The same at both ends.

That a machine is gone the kernel notices (peer_stream.probe_when_silent): a ping is for a process that hangs. It comes
when something waited for too long, and else seldom.
"""

import asyncio
from collections.abc import Callable, Collection
from typing import cast

from dfdaemon.events import PeerFault
from swarm.errors import WireError
from swarm.frames import Frame, PingFrame, PongFrame
from swarm.wire import Decoder, encode

PING_AFTER_S = 30.0
"""Silence after which a child asks its parent whether it is there. Seldom: in a crowd most links are silent for longer
than a piece takes, and at 5 s more than half of all that was said was pings (docs/decisions/0087)."""
CHILD_PING_AFTER_S = 45.0
"""Silence after which a parent asks a child: one that lives has pinged, so that each connection has one pinger."""
PONG_S = 5.0
"""How long a ping may go without any word in return."""
PINGS_MAX = 2
"""Pings without any word in return after which the other side is dead. Counted rather than timed: while we were not
running ourselves, nobody could be heard."""
BACKLOG_BYTES_MAX = 1 << 20
"""Frames that wait for a peer that does not read, before it is given up: 16 of the largest bitmaps."""
FAREWELL_S_MAX = 5.0
"""How long a peer may take to read what was sent before the end."""


class ControlConnection(asyncio.Protocol):
    """Hands frames to `on_frame`. `on_lost(fault, reason)` comes once, unless close() was called before."""

    def __init__(
        self,
        expected: Collection[type[Frame]],
        on_frame: Callable[[Frame], None],
        on_lost: Callable[[PeerFault, str], None],
        ping_after_s: float | None = None,
    ) -> None:
        """`ping_after_s`: PING_AFTER_S unless given."""
        self._decoder = Decoder(expected)
        self._on_frame = on_frame
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._closed = False
        self._heard = self._loop.time()
        self._pings = 0
        self._ping_after_s = ping_after_s or PING_AFTER_S
        self._timer = self._loop.call_later(self._ping_after_s, self._watch)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin; called by the loop."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one without inheriting from it
        if self._closed:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Take bytes; called by the loop."""
        self._heard = self._loop.time()
        self._pings = 0
        try:
            received = self._decoder.feed(data)
        except WireError as error:
            self.fail(PeerFault.PROTOCOL, str(error))
            return
        for frame in received:
            if self._closed:
                return
            if isinstance(frame, PingFrame):
                self.send(PongFrame())
            elif not isinstance(frame, PongFrame):
                self._on_frame(frame)

    def connection_lost(self, exc: Exception | None) -> None:
        """End; called by the loop."""
        self._timer.cancel()
        self.fail(PeerFault.CLOSED, str(exc) if exc else "it closed the connection")

    def send(self, frame: Frame) -> None:
        """Send a frame; before the beginning and after the end nothing happens."""
        self.write(encode(frame))

    def write(self, data: bytes) -> None:
        """Send encoded frames."""
        if self._closed or self._transport is None:
            return
        self._transport.write(data)
        if self._transport.get_write_buffer_size() > BACKLOG_BYTES_MAX:
            self.fail(PeerFault.TIMEOUT, f"it left {BACKLOG_BYTES_MAX} bytes of frames unread")

    def close(self) -> None:
        """End the connection from this side, quietly; what was sent still goes out, if the peer reads it soon."""
        if self._end() and self._transport is not None:
            self._transport.close()
            self._timer = self._loop.call_later(FAREWELL_S_MAX, self._transport.abort)

    def fail(self, fault: PeerFault, reason: str) -> None:
        """End the connection at once and report it lost."""
        if self._end():
            if self._transport is not None:
                self._transport.abort()
            self._on_lost(fault, reason)

    def _end(self) -> bool:
        if self._closed:
            return False
        self._closed = True
        self._timer.cancel()
        return True

    def suspect(self) -> None:
        """It let something wait for too long: ask at once whether it is there."""
        if not self._closed and not self._pings:
            self._timer.cancel()
            self._ask()

    def _watch(self) -> None:
        wait_s = self._ping_after_s - (self._loop.time() - self._heard)
        if self._pings or wait_s <= 0:
            self._ask()
        else:
            self._timer = self._loop.call_later(wait_s, self._watch)

    def _ask(self) -> None:
        if self._pings >= PINGS_MAX:
            self.fail(PeerFault.TIMEOUT, f"it answered none of {PINGS_MAX} pings")
            return
        self.send(PingFrame())
        self._pings += 1
        if not self._closed:
            self._timer = self._loop.call_later(PONG_S, self._watch)
