"""A piece on its way from a parent to its place, as a receiver's thread moves it."""

import os
import time
from dataclasses import dataclass

from dfdaemon.events import PeerFault
from dfdaemon.io.peer_stream import PeerStream, expectation, pending
from dfdaemon.io.piece_file import PieceFile
from dfdaemon.io.receiver import Step, Transfer
from dfdaemon.io.token_bucket import TokenBucket
from swarm.piece_digest import PieceHash


@dataclass(frozen=True, slots=True)
class Received:
    """A whole piece is written; `digest` was made from its bytes."""

    digest: bytes
    seconds: float


Outcome = Received | PeerFault


class PieceTransfer(Transfer[Outcome]):
    """Takes piece `index` from a socket, at its first byte, to its place in `file`.

    After a Received the socket stands behind the piece.
    """

    cancelled = PeerFault.CANCELLED
    timed_out = PeerFault.TIMEOUT

    def __init__(
        self,
        sock: PeerStream,
        file: PieceFile,
        index: int,
        piece_hash: PieceHash,
        silence_s_max: float,
        limit: TokenBucket | None,
    ) -> None:
        super().__init__(sock.fileno(), silence_s_max, limit)
        self._sock = sock
        self._expect = expectation(sock)
        self._file_fd = file.fd
        self._place = file.place(index)
        self._left = file.pieces.length(index)
        self._hash = piece_hash
        self._started = self.touched

    @property
    def pending(self) -> bool:
        """Whether bytes wait that the socket will not tell of."""
        return pending(self._sock)

    def step(self, room: memoryview) -> Step | Outcome:
        """Read once, hash and store it."""
        try:
            count = self._sock.recv_into(room, min(self._left, len(room)))
        except (BlockingIOError, InterruptedError):
            self._expect(self._left)
            return Step.WAIT
        except OSError:
            count = 0
        if count == 0:
            return PeerFault.CLOSED
        self.touched = time.monotonic()
        if self.limit is not None:
            self.granted -= count
        try:
            self._store(room[:count])
        except OSError:
            return PeerFault.DISK
        self._expect(self._left)
        if self._left:
            return Step.READ
        return Received(self._hash.digest(), self.touched - self._started)

    def _store(self, data: memoryview) -> None:
        self._hash.update(data)
        write_all(self._file_fd, data, self._place)
        self._place += len(data)
        self._left -= len(data)
        self.touched = time.monotonic()


def write_all(fd: int, data: memoryview, place: int) -> None:
    """Write bytes at an offset of a file; raises OSError."""
    while data:
        count = os.pwrite(fd, data, place)
        place += count
        data = data[count:]
