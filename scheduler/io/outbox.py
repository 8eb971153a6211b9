"""What waits to be sent on one daemon's stream, and how the stream ends."""

import asyncio
from dataclasses import dataclass

import grpc

from swarm.io.attach_codec import FromScheduler

MESSAGES_MAX = 10_000
"""Messages for one daemon that does not read; more mean that it never will, and it must attach again."""


@dataclass(eq=False)
class StreamEnd(Exception):
    """Why a stream ends: a gRPC status, and a text that helps whoever reads the daemon's log."""

    code: grpc.StatusCode
    reason: str

    def __str__(self) -> str:
        return self.reason


class Outbox:
    """Messages in order, from the single writer to one stream. All of one turn of the loop leave together."""

    def __init__(self, messages_max: int = MESSAGES_MAX) -> None:
        self.ended: asyncio.Future[StreamEnd] = asyncio.get_running_loop().create_future()
        """Resolved when the scheduler wants the stream to end."""
        self._messages_max = messages_max
        self._messages: list[FromScheduler] = []
        self._filled = asyncio.Event()

    def put(self, message: FromScheduler, wake: bool = True) -> None:
        """Add a message; a stream that has ended, or that ends because of this one, drops it.

        Without `wake` it may wait for `wake()`, or for the next message.
        """
        if self.ended.done():
            return
        if len(self._messages) >= self._messages_max:
            reason = f"{self._messages_max} messages wait and the daemon does not read them; attach again"
            self.end(StreamEnd(grpc.StatusCode.RESOURCE_EXHAUSTED, reason))
            return
        self._messages.append(message)
        if wake:
            self._filled.set()

    def wake(self) -> None:
        """Send what waits."""
        if self._messages:
            self._filled.set()

    async def take(self) -> list[FromScheduler]:
        """Wait for messages and return them all."""
        await self._filled.wait()
        self._filled.clear()
        messages, self._messages = self._messages, []
        return messages

    def end(self, why: StreamEnd) -> None:
        """Let the stream end; only the first reason counts."""
        if not self.ended.done():
            self.ended.set_result(why)
            self._messages.clear()
