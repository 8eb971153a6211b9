"""Which pieces a peer holds, as an integer used as a bitmap: bit i is piece i.

Integers are values: they are shared without copies, compared in one step, and counted at C speed.
On the wire a bitmap is little-endian bytes of fixed length, piece 0 in the lowest bit of the first byte.
"""

from collections.abc import Iterator

from swarm.errors import WireError

NONE = 0
"""The bitmap of a peer that holds nothing."""


def full(count: int) -> int:
    """Return the bitmap of a peer that holds all `count` pieces."""
    return (1 << count) - 1


def span(start: int, end: int) -> int:
    """Return the bitmap of pieces [start, end)."""
    return ((1 << (end - start)) - 1) << start if end > start else 0


def has(bits: int, index: int) -> bool:
    """Tell whether piece `index` is held."""
    return bool(bits >> index & 1)


def indexes(bits: int) -> Iterator[int]:
    """Yield the numbers of the pieces held, lowest first."""
    while bits:
        lowest = bits & -bits
        yield lowest.bit_length() - 1
        bits ^= lowest


def first_missing(bits: int) -> int:
    """Return the number of the first piece that is not held; the count of pieces if all are."""
    inverted = ~bits
    return (inverted & -inverted).bit_length() - 1


def runs(bits: int) -> Iterator[tuple[int, int]]:
    """Yield the contiguous ranges [start, end) of pieces held, lowest first."""
    offset = 0
    while bits:
        skip = (bits & -bits).bit_length() - 1
        bits >>= skip
        length = first_missing(bits)
        yield offset + skip, offset + skip + length
        bits >>= length
        offset += skip + length


def encode(bits: int, count: int) -> bytes:
    """Return the bitmap of `count` pieces as ceil(count / 8) bytes."""
    return bits.to_bytes((count + 7) // 8, "little")


def decode(data: bytes, count: int) -> int:
    """Read a bitmap of `count` pieces; raises WireError when the length or a bit is out of range."""
    if len(data) != (count + 7) // 8:
        raise WireError(f"a bitmap of {count} pieces needs {(count + 7) // 8} bytes, got {len(data)}")
    bits = int.from_bytes(data, "little")
    if bits >> count:
        raise WireError(f"a bitmap of {count} pieces names piece {bits.bit_length() - 1}")
    return bits
