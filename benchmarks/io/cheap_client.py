"""The same cheap program for every server: a client in C, compiled on the spot, that asks, and drops or stores answers.

It is the limit for receivers too: recv into a buffer that stays in the cache, and pwrite, without a hash.
"""

import json
import socket
import struct
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.byte_figures import Turn
from benchmarks.io.c_program import compiled, output_of
from swarm.frames import PieceFrame, RequestFrame
from swarm.ids import Epoch, TaskId
from swarm.messages import PieceRecord
from swarm.pieces import PieceMap
from swarm.wire import encode

SOURCE = Path(__file__).with_name("cheap_client.c")
RECORD = struct.Struct("=III2sQQ")
"""A record of the plan, as the program reads it: socket, bytes of the request, of the head, its begin, body, place."""
PIECE = encode(PieceFrame(0, 1, PieceRecord(0, bytes(16), Epoch(0))))
"""What comes before a piece's bytes, but for its numbers."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One request on socket number `socket`: its bytes, and the answer's body and place in a file."""

    socket: int
    request: bytes
    body_bytes: int
    place: int = 0
    is_frame: bool = False

    def encode(self) -> bytes:
        """Return it as the program reads it."""
        head, begin = (len(PIECE), PIECE[:2]) if self.is_frame else (0, b"\0\0")
        fixed = (self.socket, len(self.request), head, begin, self.body_bytes, self.place)
        return RECORD.pack(*fixed) + self.request


@dataclass(frozen=True, slots=True)
class Piece:
    """One piece of a blob that a registry has at `path`."""

    task: TaskId
    path: str
    pieces: PieceMap
    index: int

    @property
    def start(self) -> int:
        """The offset of its first byte."""
        return self.pieces.start(self.index)

    @property
    def length(self) -> int:
        """Its bytes."""
        return self.pieces.length(self.index)


def pieces_plan(wanted: Iterable[Piece], sockets: int) -> list[Asked]:
    """Ask for pieces over the peer wire, in turn over so many sockets."""
    return [
        Asked(
            number % sockets,
            encode(RequestFrame(number // sockets + 1, piece.task, piece.index)),
            piece.length,
            piece.start,
            is_frame=True,
        )
        for number, piece in enumerate(wanted)
    ]


def ranges_plan(wanted: Iterable[Piece], sockets: int) -> list[Asked]:
    """Ask for the same pieces by HTTP, a Range each."""
    return [
        Asked(
            number % sockets,
            _get(piece.path, f"Range: bytes={piece.start}-{piece.start + piece.length - 1}\r\n"),
            piece.length,
            piece.start,
        )
        for number, piece in enumerate(wanted)
    ]


def whole_plan(path: str, size: int, times: int, sockets: int) -> list[Asked]:
    """Ask for the whole of a file so many times on each socket."""
    return [Asked(number % sockets, _get(path), size) for number in range(times * sockets)]


def _get(path: str, headers: str = "") -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: bench\r\n{headers}\r\n".encode()


def http_sockets(address: str, count: int) -> list[socket.socket]:
    """Connect so many times to host:port; blocks."""
    host, _, port = address.rpartition(":")
    return [socket.create_connection((host, int(port))) for _ in range(count)]


class CheapClient:
    """The compiled program."""

    def __init__(self, program: Path) -> None:
        self._program = program

    @classmethod
    async def compile(cls, folder: Path) -> "CheapClient":
        """Compile it into a folder; raises CProgramFailed without a C compiler."""
        return cls(await compiled(SOURCE, folder))

    async def run(
        self,
        sockets: Sequence[socket.socket],
        plan: Sequence[Asked],
        store: Path | None = None,
        core: int | None = None,
    ) -> Turn:
        """Carry a plan out and close the sockets. `store`: the file that bodies go to; None drops them.

        `core`: the only one that it may use. Raises CProgramFailed.
        """
        for each in sockets:
            each.setblocking(True)
        fds = tuple(each.fileno() for each in sockets)
        with tempfile.NamedTemporaryFile(dir=self._program.parent) as file:
            file.write(b"".join([asked.encode() for asked in plan]))
            file.flush()
            pinned = [] if core is None else ["taskset", "-c", str(core)]
            words = [*pinned, str(self._program), file.name, str(store or "-"), *map(str, fds)]
            try:
                return Turn(**json.loads(await output_of(words, fds)))
            finally:
                for each in sockets:
                    each.close()
