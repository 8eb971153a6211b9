"""Range of a request (RFC 9110, section 14.2): which bytes of a blob it asks for, and how several are answered."""

import re
from dataclasses import dataclass

from swarm.errors import BadRange

RANGES_MAX = 1024
"""Ranges of one request: more than a reader of zstd:chunked or eStargz layers asks for at once."""

_ONE_RANGE = re.compile(r"\s*(\d{0,18})\s*-\s*(\d{0,18})\s*")


@dataclass(frozen=True, slots=True)
class ByteRange:
    """Bytes [start, end) of a blob; `partial`: the client asked for a part, the answer is 206."""

    start: int
    end: int
    partial: bool

    @property
    def size(self) -> int:
        """Bytes in it."""
        return self.end - self.start


def requested_ranges(header: str | None, size: int) -> tuple[ByteRange, ...]:
    """Return what to send of a blob of `size` bytes, in the order asked for; raises BadRange when that is nothing.

    What is malformed, in another unit, too much or more than the blob itself may be ignored, and is: the answer is
    the whole.
    """
    whole = (ByteRange(0, size, False),)
    unit, _, text = (header or "").partition("=")
    if unit.strip().lower() != "bytes" or text.count(",") >= RANGES_MAX:
        return whole
    asked = [_one(part, size) for part in text.split(",") if part.strip()]
    if not asked or None in asked:
        return whole
    found = tuple(part for part in asked if part is not None and part.size > 0)
    if not found:
        raise BadRange(text[:80], size)
    if len(found) > 1 and sum(part.size for part in found) > size:
        return whole
    return found


def _one(text: str, size: int) -> ByteRange | None:
    """Return one range, empty if it lies beyond the blob; None if it is malformed."""
    found = _ONE_RANGE.fullmatch(text)
    if found is None or found[1] == found[2] == "":
        return None
    if found[1] == "":
        return ByteRange(max(0, size - int(found[2])), size, True)
    start, last = int(found[1]), int(found[2] or size)
    if last < start and found[2]:
        return None
    return ByteRange(min(start, size), min(size, last + 1), True)


class Multipart:
    """The body of an answer with several ranges: multipart/byteranges (RFC 9110, section 14.6)."""

    def __init__(self, parts: tuple[ByteRange, ...], size: int, media_type: str, boundary: str) -> None:
        self.content_type = f"multipart/byteranges; boundary={boundary}"
        self.heads = [
            f"\r\n--{boundary}\r\nContent-Type: {media_type}\r\n"
            f"Content-Range: bytes {part.start}-{part.end - 1}/{size}\r\n\r\n".encode()
            for part in parts
        ]
        """What goes before each part."""
        self.tail = f"\r\n--{boundary}--\r\n".encode()
        self.length = sum(map(len, self.heads)) + sum(part.size for part in parts) + len(self.tail)
