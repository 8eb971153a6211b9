"""Sends several ranges of a blob in one answer, each as soon as its bytes are there.

The ranges are small (a file of an eStargz or zstd:chunked layer), so their bytes are copied: a part's head and its
bytes leave in the order in which they were written.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack

from aiohttp import web

from dfdaemon.http_range import ByteRange, Multipart
from dfdaemon.io.blobs import BlobReader, Span
from dfdaemon.io.body_sender import CLIENT_TIMEOUT_S, BodySender
from swarm.errors import DamselflyError

AHEAD = 8
"""Ranges that are waited for at once: what the later ones need is on its way while the first is sent."""

Open = Callable[[ByteRange], Awaitable[BlobReader]]


class PartsSender:
    """Sends the ranges `parts` of one blob, each read by a reader of its own that `open_reader` makes."""

    def __init__(
        self, request: web.BaseRequest, parts: Sequence[ByteRange], body: Multipart, open_reader: Open
    ) -> None:
        self._request = request
        self._parts = parts
        self._body = body
        self._open = open_reader
        self._readers: deque[BlobReader] = deque()
        self.sent = 0
        """Bytes of the blob that were handed to the kernel."""

    async def first(self) -> BlobReader:
        """Open the first readers, and return the one whose bytes come first."""
        await self._look_ahead(0)
        return self._readers[0]

    async def send(self, response: web.StreamResponse, first: Span | None) -> DamselflyError | None:
        """Send headers and body; return the error that ended the body early, if one did.

        Raises ConnectionError when the client is gone.
        """
        transport = self._request.transport
        if transport is None:
            raise ConnectionResetError("the client is gone")
        writer = await response.prepare(self._request)
        assert writer is not None, "a response is sent once"
        try:
            for index, part in enumerate(self._parts):
                await self._look_ahead(index)
                await writer.write(self._body.heads[index])
                with ExitStack() as closing:
                    reader = self._readers.popleft()
                    closing.callback(reader.close)
                    sender = BodySender(self._request, reader, part.start, part.end)
                    await sender.copy(writer, first if index == 0 else None)
                self.sent += part.size
            async with asyncio.timeout(CLIENT_TIMEOUT_S):
                await writer.write(self._body.tail)
        except DamselflyError as error:
            transport.close()
            return error
        except TimeoutError as error:
            transport.abort()
            raise ConnectionResetError(f"the client took nothing for {CLIENT_TIMEOUT_S:g} s") from error
        return None

    async def _look_ahead(self, index: int) -> None:
        while len(self._readers) < min(AHEAD, len(self._parts) - index):
            self._readers.append(await self._open(self._parts[index + len(self._readers)]))

    def close(self) -> None:
        """Close the readers that are still open."""
        while self._readers:
            self._readers.popleft().close()
