"""The body of an origin's answer on its way to a run of pieces, as a receiver's thread moves it."""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from functools import partial

from dfdaemon.io.origin_connections import Download
from dfdaemon.io.origin_errors import mapped_errors
from dfdaemon.io.piece_file import PieceFile
from dfdaemon.io.piece_transfer import write_all
from dfdaemon.io.receiver import Step, Transfer, call_on
from swarm.errors import DamselflyError, OriginCut, OriginTimeout
from swarm.piece_digest import PieceHash

Outcome = DamselflyError | OSError | asyncio.CancelledError | None
"""None: the whole run is written."""


class PieceRun:
    """Writes pieces [start, end) in order, each hashed on its way to the disk.

    `limit`: the first piece that finds no room yet; the loop's thread may raise it. `skip`: bytes that come before.
    """

    def __init__(
        self, file: PieceFile, make_hash: Callable[[], PieceHash], start: int, end: int, limit: int, skip: int
    ) -> None:
        self.limit = limit
        self.received_bytes = 0
        self._file = file
        self._make_hash = make_hash
        self._index = start
        self._end = end
        self._skip = skip
        self._done = 0
        self._hash = make_hash()

    @property
    def missing_bytes(self) -> int:
        """Bytes of the run that are not written yet."""
        return self._bytes_to(self._end)

    @property
    def room_bytes(self) -> int:
        """Bytes that find room now."""
        return self._skip + self._bytes_to(min(self.limit, self._end))

    def _bytes_to(self, end: int) -> int:
        return self._file.pieces.span_bytes(self._index, end) - self._done if end > self._index else 0

    def take(self, data: memoryview, on_piece: Callable[[int, bytes], None]) -> memoryview:
        """Write what finds room, and return the rest; raises OSError. Tells of each piece that is whole."""
        skipped = min(self._skip, len(data))
        self._skip -= skipped
        data = data[skipped:]
        while data and self.room_bytes:
            length = self._file.pieces.length(self._index)
            part = data[: length - self._done]
            data = data[len(part) :]
            self._hash.update(part)
            write_all(self._file.fd, part, self._file.place(self._index) + self._done)
            self.received_bytes += len(part)
            self._done += len(part)
            if self._done == length:
                digest = self._hash.digest()
                self._hash, self._done = self._make_hash(), 0
                self._index += 1
                on_piece(self._index - 1, digest)
        return data


class BodyTransfer(Transfer[Outcome]):
    """Takes the body of a download to its pieces; the download belongs to the thread until the outcome was told."""

    def __init__(
        self, download: Download, run: PieceRun, silence_s_max: float, on_piece: Callable[[int, bytes], None]
    ) -> None:
        """`on_piece(index, digest)` is called on this loop, before the outcome is told."""
        super().__init__(download.channel.sock.fileno(), silence_s_max, download.terms.limit)
        self._download = download
        self._run = run
        self._held = deque(download.first)
        """Content that was taken from the channel, and found no room yet."""
        self._on_piece = partial(call_on, asyncio.get_running_loop(), on_piece)

    @property
    def pending(self) -> bool:
        """Whether bytes wait that the socket will not tell of."""
        return bool(self._held) or self._download.channel.pending

    @property
    def cancelled(self) -> Outcome:
        """Nobody wants it any more."""
        return asyncio.CancelledError()

    @property
    def timed_out(self) -> Outcome:
        """The origin sent nothing."""
        return OriginTimeout(f"the origin was silent for {self.silence_s_max:g} s")

    def step(self, room: memoryview) -> Step | Outcome:
        """Read once, hash and store it."""
        if not self._run.room_bytes:
            return Step.PAUSE
        if not self._held and self._download.ended:
            return OriginCut(
                f"the origin closed the connection {self._run.missing_bytes} bytes before the end"
            )
        try:
            if not self._held and not self._read(room):
                self._download.expect(self._run.room_bytes)
                return Step.WAIT
            while self._held and self._run.room_bytes:
                rest = self._run.take(self._held.popleft(), self._on_piece)
                if rest:
                    self._held.appendleft(memoryview(bytes(rest)))
        except (DamselflyError, OSError) as error:
            return error
        self._download.expect(self._run.room_bytes)
        return Step.READ if self._run.missing_bytes else None

    def _read(self, room: memoryview) -> bool:
        """Take bytes from the channel; False when there are none. Raises OriginCut, OriginContent."""
        room = room[: self._download.wanted(min(len(room), self._run.room_bytes))]
        with mapped_errors(self._download.terms.target):
            try:
                count = self._download.channel.recv_into(room)
            except (BlockingIOError, InterruptedError):
                return False
        self.touched = time.monotonic()
        if self.limit is not None:
            self.granted -= count
        self._held.extend(self._download.take(room[:count]))
        return True
