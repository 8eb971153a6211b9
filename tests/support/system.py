"""Parts of the system that answer as a test says: what real ones do too seldom to wait for."""

import errno
import os
import resource
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

    def setsockopt(self, level: int, option: int, value: int) -> None:
        """Set an option of the socket below."""
        self._sock.setsockopt(level, option, value)

    def recv_into(self, room: memoryview, count: int = 0) -> int:
        """Read as listed; after the list as the socket below does."""
        read = next(self._reads, None)
        if isinstance(read, OSError):
            raise read
        most = min(count or len(room), len(room))
        return self._sock.recv_into(room, most if read is None else min(read, most)) if read != 0 else 0


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    """Return both ends of a connection over loopback: TCP, where options of TCP matter."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        one = socket.create_connection(listener.getsockname())
        return one, listener.accept()[0]


def full_disk(pieces: PieceMap) -> PieceFile:
    """Return a file every write to which fails with ENOSPC."""
    return PieceFile(os.open("/dev/full", os.O_RDWR), pieces)


def mark_of(sock: socket.socket) -> int:
    """Return the low-water mark of a socket."""
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT)


INTERRUPTIONS = (BlockingIOError(errno.EAGAIN, "again"), InterruptedError(errno.EINTR, "interrupted"))


@contextmanager
def wires() -> Iterator[tuple[socket.socket, socket.socket]]:
    """A sender's end, which blocks, and a receiver's end, which does not."""
    sender, receiver = socket.socketpair()
    with sender, receiver:
        receiver.setblocking(False)
        sender.settimeout(10)
        yield sender, receiver


@contextmanager
def tcp_wires() -> Iterator[tuple[socket.socket, socket.socket]]:
    """The same over TCP, which heeds the low-water mark; what is sent is there when the call returns."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        sender = socket.create_connection(listener.getsockname())
        receiver, _ = listener.accept()
    with sender, receiver:
        sender.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        receiver.setblocking(False)
        sender.settimeout(10)
        yield sender, receiver


@contextmanager
def no_descriptors() -> Iterator[None]:
    """Let this process open nothing more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.dup(0)
    os.close(lowest_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
