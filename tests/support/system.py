"""Parts of the system that answer as a test says: what real ones do too seldom to wait for."""

import errno
import os
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from dfdaemon.io.piece_file import PieceFile
from swarm.pieces import PieceMap


class ScriptedSocket:
    """A socket whose reads go as listed: so many bytes of its peer's, an error, or nothing (0: closed)."""

    def __init__(self, sock: socket.socket, reads: Iterable[int | OSError]) -> None:
        self._sock = sock
        self._reads = iter(reads)

    def fileno(self) -> int:
        """Return the descriptor of the socket below."""
        return self._sock.fileno()

    def recv_into(self, room: memoryview, count: int = 0) -> int:
        """Read as listed; after the list as the socket below does."""
        read = next(self._reads, None)
        if isinstance(read, OSError):
            raise read
        most = min(count or len(room), len(room))
        return self._sock.recv_into(room, most if read is None else min(read, most)) if read != 0 else 0


def full_disk(pieces: PieceMap) -> PieceFile:
    """Return a file every write to which fails with ENOSPC."""
    return PieceFile(os.open("/dev/full", os.O_RDWR), pieces)


INTERRUPTIONS = (BlockingIOError(errno.EAGAIN, "again"), InterruptedError(errno.EINTR, "interrupted"))


@contextmanager
def wires() -> Iterator[tuple[socket.socket, socket.socket]]:
    """A sender's end, which blocks, and a receiver's end, which does not."""
    sender, receiver = socket.socketpair()
    with sender, receiver:
        receiver.setblocking(False)
        sender.settimeout(10)
        yield sender, receiver
