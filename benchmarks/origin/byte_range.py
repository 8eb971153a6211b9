"""A single Range of bytes (RFC 9110, section 14)."""

import re
from dataclasses import dataclass

_SINGLE = re.compile(r"bytes=\s*(\d*)-(\d*)\s*", re.ASCII)


class RangeNotSatisfiable(ValueError):
    """The range begins beyond the end: the answer is 416."""


@dataclass(frozen=True, slots=True)
class ByteRange:
    """The bytes from `start` to before `stop`; `partial` if the answer is a 206."""

    start: int
    stop: int
    partial: bool

    @property
    def length(self) -> int:
        """How many bytes it holds."""
        return self.stop - self.start


def requested_range(header: str | None, size: int) -> ByteRange:
    """What a Range header asks for of `size` bytes.

    No header, several ranges, and a header that cannot be understood ask for everything, as RFC 9110 allows.
    Raises RangeNotSatisfiable.
    """
    whole = ByteRange(0, size, partial=False)
    match = _SINGLE.fullmatch(header or "")
    if match is None or match.groups() == ("", ""):
        return whole
    first, last = match.groups()
    if not first:
        return _suffix(int(last), size)
    start, stop = int(first), min(int(last) + 1, size) if last else size
    if last and int(last) < start:
        return whole
    if start >= size:
        raise RangeNotSatisfiable(f"the range begins at byte {start} of {size}")
    return ByteRange(start, stop, partial=True)


def _suffix(length: int, size: int) -> ByteRange:
    if length == 0 or size == 0:
        raise RangeNotSatisfiable(f"the last {length} bytes of {size}")
    return ByteRange(max(size - length, 0), size, partial=True)
