"""Open files that hold a blob's pieces. Reference counted: a file is closed when nobody sends from it any more.

sendfile hands references to its pages to the socket: the range of a piece is never written while it is on its way.
"""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock, local

from swarm.errors import StoreBroken, StoreError
from swarm.pieces import PieceMap

READ_BYTES = 256 * 1024
"""One read for a hash: large enough that its cost hides, small enough to stay in a core's cache."""

DISK_FAULTS = frozenset({errno.EIO, errno.ESTALE, errno.EBADMSG, errno.EUCLEAN})
"""What reading a file on a failing disk ends with; where a socket takes part, all other errors are the socket's."""

_kept = local()


@contextmanager
def disk_faults() -> Iterator[None]:
    """Raise StoreBroken for what reading a file on a failing disk ends with; every other error stays as it is."""
    try:
        yield
    except OSError as error:
        if error.errno not in DISK_FAULTS:
            raise
        text = f"a file of the store cannot be read: {error.strerror}; check the disk"
        raise StoreBroken(text) from error


def _room() -> memoryview:
    """Return this thread's buffer: a new one for every piece would cost more than the read."""
    if not hasattr(_kept, "room"):
        _kept.room = memoryview(bytearray(READ_BYTES))
    room: memoryview = _kept.room
    return room


class PieceFile:
    """An open file of a blob's pieces: on disk, each at its place in the blob, or in memory, a ring of `slots` pieces.

    It starts with one reference, its maker's. `fd` is valid while a reference is held; any thread may retain and
    release.
    """

    __slots__ = ("_lock", "_references", "fd", "pieces", "slots")

    def __init__(self, fd: int, pieces: PieceMap, slots: int | None = None) -> None:
        self.fd = fd
        self.pieces = pieces
        self.slots = slots
        self._references = 1
        self._lock = Lock()

    @classmethod
    def on_disk(cls, path: Path, pieces: PieceMap) -> "PieceFile":
        """Open a blob's data for reading and writing."""
        return cls(os.open(path, os.O_RDWR | os.O_CLOEXEC), pieces)

    @classmethod
    def ring(cls, size: int, slots: int) -> "PieceFile":
        """Make room in memory for `slots` pieces of a blob of `size` bytes; piece i lies in place i modulo `slots`."""
        assert slots >= 1, "a ring needs room for a piece"
        pieces = PieceMap.of(size)
        fd = os.memfd_create("damselfly-ring", os.MFD_CLOEXEC)
        os.ftruncate(fd, min(size, slots * pieces.piece_bytes))
        return cls(fd, pieces, slots)

    @property
    def references(self) -> int:
        """How many hold it; 0 means closed."""
        return self._references

    def place(self, index: int) -> int:
        """Return the offset in the file at which a piece starts."""
        return (index if self.slots is None else index % self.slots) * self.pieces.piece_bytes

    def retain(self) -> "PieceFile":
        """Hold it too."""
        assert self.try_retain(), "only a file that somebody holds can be retained"
        return self

    def try_retain(self) -> bool:
        """Hold it too, unless it is closed."""
        with self._lock:
            if self._references == 0:
                return False
            self._references += 1
            return True

    def release(self) -> None:
        """Let go; the last one closes the file."""
        with self._lock:
            assert self._references > 0, "a file is released once for each time that it was retained"
            self._references -= 1
            if self._references:
                return
            fd, self.fd = self.fd, -1
        os.close(fd)

    def feed(self, index: int, take: Callable[[memoryview], object]) -> None:
        """Read a piece from front to back and hand its bytes on; blocks. Raises StoreError when it cannot be read."""
        room = _room()
        start, length = self.place(index), self.pieces.length(index)
        done = 0
        while done < length:
            try:
                count = os.preadv(self.fd, [room[: length - done]], start + done)
            except OSError as error:
                raise StoreError(f"piece {index} cannot be read: {error.strerror}") from error
            if count == 0:
                raise StoreError(f"piece {index} ends after {done} of {length} bytes")
            take(room[:count])
            done += count

    def copy_piece(self, index: int, target: "PieceFile") -> None:
        """Copy a piece to its place in another file of the same blob; blocks. Raises StoreError."""
        place = target.place(index)

        def write(data: memoryview) -> None:
            nonlocal place
            while data:
                count = os.pwrite(target.fd, data, place)
                place += count
                data = data[count:]

        try:
            self.feed(index, write)
        except OSError as error:
            raise StoreError(f"piece {index} cannot be written: {error.strerror}") from error
