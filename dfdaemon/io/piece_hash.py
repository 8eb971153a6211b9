"""Piece digests as fast as this machine can make them.

The wheel of xxhash is compiled for any x86-64 processor. The system's libxxhash, which apt, rsync and others bring
along, looks at the processor when it runs, and uses AVX2 or AVX-512: four times as fast in the cache. Where it is found
and gives the same digests it is used, else the wheel.
"""

import ctypes
import random
from collections.abc import Callable
from functools import cache

from swarm.piece_digest import PieceHash, piece_digest

LIBRARY = "libxxhash.so.0"
UPDATE = "XXH3_128bits_update_dispatch"
"""Looks at the processor; x86-64 alone has it."""
SAMPLE_BYTES = 300_001
"""Hashed at the start in unequal parts, to compare: long enough for each way that the library has."""
SPARE_MAX = 32
"""States kept for the next pieces, 576 bytes each."""


class _Digest(ctypes.Structure):
    """XXH128_hash_t; its canonical form is big-endian, the high half first."""

    _fields_ = (("low", ctypes.c_uint64), ("high", ctypes.c_uint64))


class _Library:
    """The functions of libxxhash that make 128-bit digests of streams. Raises OSError and AttributeError."""

    def __init__(self, name: str, update: str = UPDATE) -> None:
        found = ctypes.CDLL(name)  # each call lets other threads run
        pointer, size, status = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
        self.create = found.XXH3_createState
        self.create.restype, self.create.argtypes = pointer, ()
        self.free = found.XXH3_freeState
        self.free.restype, self.free.argtypes = status, (pointer,)
        self.reset = found.XXH3_128bits_reset
        self.reset.restype, self.reset.argtypes = status, (pointer,)
        self.update = found[update]
        self.update.restype, self.update.argtypes = status, (pointer, pointer, size)
        self.spare: list[int] = []
        """States that nobody uses: making one costs as much as hashing 20 KiB."""
        self.digest = found.XXH3_128bits_digest
        self.digest.restype, self.digest.argtypes = _Digest, (pointer,)


class SystemXxh3:
    """xxh3-128 of a stream, by the system's library."""

    __slots__ = ("_library", "_state")

    def __init__(self, library: _Library) -> None:
        self._library = library
        try:
            self._state = library.spare.pop()
        except IndexError:
            self._state = library.create()
        if self._state is None:
            raise MemoryError("no memory for the state of a piece digest")
        library.reset(self._state)

    def update(self, data: bytes | bytearray | memoryview, /) -> None:
        """Take in more bytes; a read-only view is copied."""
        if not data:
            return
        if isinstance(data, memoryview) and data.readonly:
            data = bytes(data)
        place = data if isinstance(data, bytes) else ctypes.byref(ctypes.c_char.from_buffer(data))
        self._library.update(self._state, place, len(data))

    def digest(self) -> bytes:
        """Return the digest of all bytes so far."""
        found = self._library.digest(self._state)
        return int.to_bytes((found.high << 64) | found.low, 16, "big")

    def __del__(self) -> None:
        """Leave the state to the next one, or free it."""
        if getattr(self, "_state", None) is None:
            return
        if len(self._library.spare) < SPARE_MAX:
            self._library.spare.append(self._state)
        else:
            self._library.free(self._state)


def piece_hash(kind: str) -> Callable[[], PieceHash]:
    """Return the maker of fresh hash objects of a kind, a key of swarm.piece_digest.DIGEST_BYTES."""
    library = system_library() if kind == "xxh3" else None
    return piece_digest(kind) if library is None else lambda: SystemXxh3(library)


@cache
def system_library(name: str = LIBRARY) -> _Library | None:
    """Return the system's library, if it is there, chooses by processor, and gives the digests that the wheel gives."""
    try:
        library = _Library(name)
    except (OSError, AttributeError):
        return None
    sample = random.Random(1).randbytes(SAMPLE_BYTES)  # noqa: S311 - any bytes will do
    ours, wheel = SystemXxh3(library), piece_digest("xxh3")()
    for begin, end in ((0, 1), (1, 240), (240, 241), (241, 70_000), (70_000, SAMPLE_BYTES)):
        for each in (ours, wheel):
            each.update(sample[begin:end])
        if ours.digest() != wheel.digest():
            return None
    return library
