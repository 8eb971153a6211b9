"""Range of a request (RFC 9110, section 14.2), as far as a registry mirror serves it: one range of bytes."""

import re
from dataclasses import dataclass

from swarm.errors import BadRange

_ONE_RANGE = re.compile(r"\s*(\d{0,18})\s*-\s*(\d{0,18})\s*")


@dataclass(frozen=True, slots=True)
class ByteRange:
    """Bytes [start, end) of a blob; `partial`: the client asked for a part, the answer is 206."""

    start: int
    end: int
    partial: bool


def requested_range(header: str | None, size: int) -> ByteRange:
    """Return what to send of a blob of `size` bytes; raises BadRange when nothing of it was asked for.

    What is not one range of bytes (several, another unit, malformed) may be ignored, and is: the answer is whole.
    """
    whole = ByteRange(0, size, False)
    unit, _, text = (header or "").partition("=")
    found = _ONE_RANGE.fullmatch(text)
    if unit.strip().lower() != "bytes" or found is None or found[1] == found[2] == "":
        return whole
    if found[1] == "":
        start, end = max(0, size - int(found[2])), size
    else:
        start = int(found[1])
        end = min(size, int(found[2]) + 1) if found[2] else size
        if found[2] and int(found[2]) < start:
            return whole
    if start >= size:
        raise BadRange(text[:80], size)
    return ByteRange(start, end, True)
