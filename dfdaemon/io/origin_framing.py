"""HTTP/1.1 (RFC 9112) on a channel: a request out, the head of its answer in, and where its body ends.

h11 writes requests, reads heads and chunked bodies; of a body with a length every byte is content, and passes through
untouched.
"""

import zlib
from collections.abc import Iterator
from typing import Protocol

import h11

from dfdaemon.descriptors import MANIFEST_BYTES_MAX
from dfdaemon.io.origin_channel import Channel, receive
from swarm.errors import OriginContent, OriginCut

HEAD_BYTES_MAX = 64 * 1024
"""An answer's whole head; signed storage addresses take up to 4 KiB."""
HEAD_STEP_BYTES = 16 * 1024
"""What is read at once while a head is awaited: the body's first bytes that come along are copied."""
BODILESS = frozenset({204, 304})
_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS
"""Tells zlib to look at the header."""


class SilentEnd(ConnectionError):
    """A connection was closed before the first byte of an answer, as a kept one may be at any time."""


async def ask(channel: Channel, request: h11.Request) -> tuple[h11.Connection, h11.Response]:
    """Send a request without a body and read the head of its answer; raises h11.ProtocolError and OSError."""
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD_BYTES_MAX)
    out = [connection.send(request), connection.send(h11.EndOfMessage())]
    room, came = memoryview(bytearray(HEAD_STEP_BYTES)), False
    try:
        await channel.send(b"".join(filter(None, out)))
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Response):
                return connection, event
            if event is h11.NEED_DATA:
                count = await receive(channel, room)
                if not count:
                    raise ConnectionError("closed before the end of a head")
                came = True
                connection.receive_data(bytes(room[:count]))
    except ConnectionError as error:
        if came:
            raise
        raise SilentEnd("closed before an answer") from error


def _is_kept(connection: h11.Connection, response: h11.Response) -> bool:
    """Tell whether the other side takes another request after this answer."""
    words = [value.lower() for name, value in response.headers if name == b"connection"]
    closes = any(b"close" in (word.strip() for word in value.split(b",")) for value in words)
    return connection.their_http_version == b"1.1" and not closes


class Framing(Protocol):
    """Tells a body's content from what is around it."""

    @property
    def ended(self) -> bool:
        """Whether all of it was taken."""

    @property
    def clean(self) -> bool:
        """Whether what comes next on the connection is the next answer."""

    @property
    def coming(self) -> int:
        """How many bytes still come for certain."""

    def wanted(self, most: int) -> int:
        """Return how many bytes to read next, so that none of the next answer comes along."""

    def take(self, data: memoryview) -> list[memoryview]:
        """Return the content among the next bytes; raises h11.ProtocolError."""

    def closed(self) -> None:
        """The connection has ended; raises ConnectionError when the body has not."""


def framing_of(connection: h11.Connection, response: h11.Response) -> tuple[Framing, list[memoryview]]:
    """Return how a body is framed, and what of it came with its head; raises h11.ProtocolError."""
    headers = dict(response.headers)
    rest = memoryview(connection.trailing_data[0])
    kept = _is_kept(connection, response)
    if b"transfer-encoding" in headers and response.status_code not in BODILESS:
        chunked = Chunked(connection, kept)
        return chunked, chunked.take(memoryview(b""))
    if b"content-length" in headers or response.status_code in BODILESS:
        length = 0 if response.status_code in BODILESS else int(headers[b"content-length"])
        of_length = OfLength(length, kept and len(rest) <= length)
        return of_length, of_length.take(rest[: of_length.wanted(len(rest))])
    return UntilClosed(), [rest] if rest else []


class OfLength:
    """A body with a Content-Length."""

    def __init__(self, length: int, kept: bool) -> None:
        """`kept`: the connection outlives this body."""
        self._left = length
        self._kept = kept

    @property
    def ended(self) -> bool:
        """Whether nothing is missing."""
        return self._left == 0

    @property
    def clean(self) -> bool:
        """Whether what comes next is the next answer."""
        return self.ended and self._kept

    @property
    def coming(self) -> int:
        """How many bytes still come for certain."""
        return self._left

    def wanted(self, most: int) -> int:
        """Return how many bytes to read next."""
        return min(most, self._left)

    def take(self, data: memoryview) -> list[memoryview]:
        """Return the content, which all of it is."""
        self._left -= len(data)
        return [data] if data else []

    def closed(self) -> None:
        """The connection has ended."""
        raise ConnectionError(f"closed {self._left} bytes before the end of a body")


class UntilClosed:
    """A body that ends with its connection."""

    ended = False
    clean = False
    coming = 0

    def wanted(self, most: int) -> int:
        """Return how many bytes to read next."""
        return most

    def take(self, data: memoryview) -> list[memoryview]:
        """Return the content, which all of it is."""
        return [data]

    def closed(self) -> None:
        """The connection has ended."""
        self.ended = True


class Chunked:
    """A body in chunks; its content is copied."""

    ended = False
    coming = 0

    def __init__(self, connection: h11.Connection, kept: bool) -> None:
        """`kept`: the connection outlives this body."""
        self._connection = connection
        self._kept = kept

    @property
    def clean(self) -> bool:
        """Whether what comes next is the next answer."""
        return self.ended and self._kept and not self._connection.trailing_data[0]

    def wanted(self, most: int) -> int:
        """Return how many bytes to read next."""
        return most

    def take(self, data: memoryview) -> list[memoryview]:
        """Return the content of what arrived."""
        if data:
            self._connection.receive_data(bytes(data))
        content = []
        while True:
            event = self._connection.next_event()
            if isinstance(event, h11.Data):
                content.append(memoryview(event.data))
                continue
            self.ended = isinstance(event, h11.EndOfMessage)
            return content

    def closed(self) -> None:
        """The connection has ended."""
        raise ConnectionError("closed before the last chunk of a body")


class Inflater:
    """Undoes gzip, up to the largest manifest."""

    def __init__(self, target: str) -> None:
        self._inflater = zlib.decompressobj(_GZIP_OR_ZLIB)
        self._left = MANIFEST_BYTES_MAX + 1
        self._target = target

    def take(self, content: list[memoryview]) -> Iterator[memoryview]:
        """Give the inflated bytes; raises OriginContent."""
        for part in content:
            try:
                data = self._inflater.decompress(part, self._left)
            except zlib.error as error:
                reason = f"the origin sent {self._target} with a broken gzip encoding"
                raise OriginContent(reason) from error
            self._left -= len(data)
            if self._left <= 0:
                raise OriginContent(f"{self._target} is larger than a manifest may be")
            if data:
                yield memoryview(data)

    def end(self) -> None:
        """The body has ended; raises OriginCut when the encoding has not."""
        if not self._inflater.eof:
            raise OriginCut(f"the origin ended its answer to {self._target} before it was whole")
