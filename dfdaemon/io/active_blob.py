"""The I/O side of one download: its file, where the origin has it, its fetches, and the clients that read
it."""

import asyncio
from dataclasses import dataclass, field
from typing import Protocol

from dfdaemon.io.blobs import Span
from dfdaemon.io.ledger import Account, Ledger
from dfdaemon.io.origin_client import OriginSource
from dfdaemon.io.origin_fetch import OriginFetch
from dfdaemon.io.piece_file import PieceFile
from dfdaemon.io.ring_check import RingCheck
from swarm import availability
from swarm.digest import Digest
from swarm.errors import DamselflyError
from swarm.ids import Epoch, HostId, ReaderId, TaskId
from swarm.pieces import PieceMap

PATIENCE_S = 120.0
"""How long a reader waits while nothing at all arrives of its blob. containerd gives a pull up after 300 s without a
byte: ended by then, it still has time to get the rest from the registry itself."""
SOURCES_MAX = 4
"""Credentials and repositories remembered per download; the newest is tried first."""


class ReaderMoves(Protocol):
    """Where readers report to; the driver turns it into events."""

    def advanced(self, task: TaskId, reader: ReaderId, offset: int) -> None:
        """A reader finished a piece."""

    def closed(self, task: TaskId, reader: ReaderId) -> None:
        """A reader is done."""


class DownloadFailed(DamselflyError):
    """The swarm cannot finish a download; the client should go to the origin itself."""


class DownloadDenied(DownloadFailed):
    """The origin refused every credential that there was for it."""


@dataclass(slots=True)
class ActiveBlob:
    """What the driver keeps for a task from the first BlobWanted until CloseTask."""

    task: TaskId
    digest: Digest
    """Of the content; the task's name is another where copies are not shared with all (dfdaemon/trust.py)."""
    pieces: PieceMap
    media_type: str
    account: Account
    hold: bool = False
    """Readers wait until its own digest is checked."""
    file: PieceFile | None = None
    ring: bool = False
    pinned: bool = False
    whole: bool = False
    """Its own digest was checked."""
    from_disk: bool = False
    """It was whole already when it was asked for."""
    released: int = availability.NONE
    """Bitmap of the pieces that readers may have."""
    failure: DamselflyError | None = None
    denied: bool = False
    """The origin refused the credentials that were there: a client that comes next may have a better one."""
    sources: list[OriginSource] = field(default_factory=list)
    fetches: dict[tuple[Epoch, int], tuple[OriginFetch, asyncio.Task[None]]] = field(default_factory=dict)
    scratch: dict[int, tuple[HostId, PieceFile]] = field(default_factory=dict)
    """Second copies on their way, by piece, with the parent that sends them."""
    readers: dict[ReaderId, "Reader"] = field(default_factory=dict)

    @property
    def scope(self) -> str:
        """With whom copies are shared; empty: with all. All sources of a task have the same."""
        return self.sources[0].scope if self.sources else ""

    def add_source(self, source: OriginSource) -> None:
        """Remember where the origin has it, newest first."""
        if source in self.sources:
            self.sources.remove(source)
        self.sources.insert(0, source)
        del self.sources[SOURCES_MAX:]

    def release(self, bits: int) -> None:
        """Let readers have these pieces."""
        self.released = bits
        self.wake()

    def retract(self, bits: int) -> None:
        """These pieces are dropped: nobody gets them any more, and who got one already is told that it was wrong."""
        self.released &= ~bits
        for reader in self.readers.values():
            reader.retract(bits)

    def give_up(self, reason: str) -> None:
        """The download failed: end all readers, and refuse new ones for a moment, unless it was for a credential."""
        if self.denied:
            self.fail(DownloadDenied(reason))
            return
        self.account.fail(reason)
        self.fail(DownloadFailed(reason))

    def has_place_for(self, start: int) -> bool:
        """Tell whether a reader may begin at offset `start`.

        A ring that went back would overwrite what those further on are being sent, and what lies ahead of it comes
        when those behind have read on, which may be never.
        """
        if not self.ring or not self.readers:
            return True
        lowest = min(reader.piece for reader in self.readers.values())
        slots = self.file.slots if self.file is not None else None
        return 0 <= self.pieces.index_at(start) - lowest < (slots or self.pieces.count)

    def fail(self, failure: DamselflyError) -> None:
        """End all readers with this error."""
        self.failure = failure
        self.wake()

    def wake(self) -> None:
        """Let every waiting reader look again."""
        for reader in self.readers.values():
            reader.wake()

    def span_at(self, offset: int, end: int) -> tuple[int, int] | None:
        """Return (place, length) of the released bytes at `offset`, up to `end`, that lie together in the
        file."""
        if self.file is None or (self.hold and not self.whole):
            return None
        first = self.pieces.index_at(offset)
        run = availability.first_missing(self.released >> first)
        if run == 0:
            return None
        if self.ring:
            run = 1
        length = min(end, self.pieces.end(first + run - 1)) - offset
        return self.file.place(first) + offset - self.pieces.start(first), length

    def whole_end(self) -> int:
        """Return where a client that reads all of it must wait: before the last piece, until its digest is checked.

        A client that finds too late that a blob is wrong may have kept it by then (containerd #3974).
        """
        return self.pieces.size if self.whole or self.ring else self.pieces.start(self.pieces.count - 1)

    def drop_scratch(self, index: int, parent: HostId | None = None) -> None:
        """Free the scratch space of a second copy: nobody wants it, or its `parent` will not send it any more."""
        if index in self.scratch and parent in (None, self.scratch[index][0]):
            self.scratch.pop(index)[1].release()

    def close(self) -> None:
        """Stop the fetches, let go of the file and the scratch files."""
        for _, job in self.fetches.values():
            job.cancel()
        for _, file in self.scratch.values():
            file.release()
        self.scratch.clear()
        if self.file is not None:
            self.file.release()
            self.file = None


class Reader:
    """One client's read of an active blob (BlobReader of dfdaemon/io/blobs.py)."""

    def __init__(self, blob: ActiveBlob, reader: ReaderId, start: int, end: int, moves: ReaderMoves) -> None:
        self.number = reader
        self._blob = blob
        self._was_whole = blob.whole
        self._start = self._sent = self._given = start
        self._end = end
        self._wrong: DamselflyError | None = None
        self._moves = moves
        self._ring_check: RingCheck | None = None
        self._changed = asyncio.Event()
        self._file: PieceFile | None = None
        self._piece = -1
        self._closed = False

    def wake(self) -> None:
        """Something about the blob changed."""
        self._changed.set()

    async def span(self, offset: int) -> Span:
        """Wait until the byte at `offset` may be sent; raises DownloadFailed when the download cannot go
        on."""
        while True:
            self._changed.clear()
            failure = self._blob.failure or self._wrong
            if failure is not None:
                raise failure
            end = min(self._end, self._blob.whole_end()) if self._reads_all else self._end
            found = self._blob.span_at(offset, end) if offset < end else None
            if found is not None:
                await self._check_ring(offset, *found)
                self._given = max(self._given, offset + found[1])
                return Span(self._held_file(), *found)
            try:
                async with asyncio.timeout(PATIENCE_S):
                    await self._changed.wait()
            except TimeoutError:
                raise self._stalled() from None

    async def _check_ring(self, offset: int, place: int, length: int) -> None:
        """Hold the end of a blob that no store checks back if it is wrong; raises DownloadFailed."""
        blob = self._blob
        if not blob.ring or not self._reads_all:
            return
        if self._ring_check is None:
            self._ring_check = RingCheck(blob.digest, blob.pieces.size)
        if not await self._ring_check.passes(self._held_file(), place, offset, length):
            reason = f"the content that streamed by does not have the digest {blob.digest}"
            blob.give_up(reason)
            raise DownloadFailed(reason)

    def _stalled(self) -> DownloadFailed:
        """Nothing arrived for so long that the client had better ask the registry, now and for a moment."""
        reason = f"nothing of {self._blob.task} arrived for {PATIENCE_S:g} s"
        self._blob.account.fail(reason)
        return DownloadFailed(f"{reason}: dfctl explain and the log say what it waits for")

    @property
    def _reads_all(self) -> bool:
        return self._start == 0 and self._end == self._blob.pieces.size

    @property
    def piece(self) -> int:
        """The piece that it is being sent."""
        return self._blob.pieces.index_at(self._sent)

    def retract(self, bits: int) -> None:
        """Pieces are dropped: fail if one of them was sent, or is being sent."""
        pieces = self._blob.pieces
        if self._given > self._start:
            first, last = pieces.index_at(self._start), pieces.index_at(self._given - 1)
            if bits & availability.span(first, last + 1):
                self._wrong = DownloadFailed(
                    f"a piece of {self._blob.task} was wrong, and was sent: ask again"
                )
                self.wake()

    def _held_file(self) -> PieceFile:
        if self._file is None:
            assert self._blob.file is not None, "released pieces lie in a file"
            self._file = self._blob.file.retain()
        return self._file

    def advance(self, offset: int) -> None:
        """Everything before `offset` was sent; tells the machine when that finished a piece."""
        if self._was_whole or self._blob.from_disk:
            self._blob.account.disk_bytes += offset - self._sent
        self._sent, self._given = offset, max(self._given, offset)
        piece = self._blob.pieces.index_at(offset)
        if piece != self._piece or offset >= self._end:
            self._piece = piece
            self._moves.advanced(self._blob.task, self.number, offset)

    def close(self) -> None:
        """End the read; more calls do nothing."""
        if self._closed:
            return
        self._closed = True
        if self._file is not None:
            self._file.release()
        self._blob.readers.pop(self.number, None)
        self._moves.closed(self._blob.task, self.number)


class ActiveBlobs:
    """All active blobs of the daemon, and the accounts of these and earlier ones."""

    def __init__(self) -> None:
        self.active: dict[TaskId, ActiveBlob] = {}
        self.ledger = Ledger()

    def close(self) -> None:
        """Let go of every file."""
        for blob in self.active.values():
            blob.close()
        self.active.clear()
