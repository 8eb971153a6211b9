"""One blob on disk: its data, preallocated, and its state. Used by the loop's thread; what blocks says so."""

import errno
import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event

from dfdaemon.io.journal import Header, Journal, begin_state, read_state, write_state
from dfdaemon.io.piece_file import PieceFile
from dfdaemon.io.piece_hash import piece_hash
from swarm import availability
from swarm.digest import Digest
from swarm.errors import StoreBroken, StoreError
from swarm.ids import UNGRANTED, TaskId
from swarm.messages import PieceRecord
from swarm.piece_digest import DIGEST_BYTES

TOUCH_INTERVAL_S = 60.0
"""The time of last use is written at most this often: losing a minute of it spoils no eviction."""
LOOK_S = 1.0
"""A data file that is open is looked for on the disk at most this often: it is asked for with every piece."""


@dataclass(frozen=True, slots=True)
class StoredBlob:
    """What the disk holds of a blob. `verified`: false where a crash may have damaged it: verify() first."""

    task: TaskId
    size: int
    records: tuple[PieceRecord, ...]
    complete: bool
    media_type: str
    verified: bool = True


class DiskBlob:
    """A blob's folder, its records in memory, its data file while somebody uses it."""

    def __init__(self, path: Path, header: Header, last_used: float) -> None:
        self.header = header
        self.pieces = header.pieces
        self.bits = availability.NONE
        self.complete = False
        self.verified = True
        self.is_followed = True
        """Its own digest is computed behind the download."""
        self.last_used = last_used
        self._path = path
        self._data = path / "data"
        """Kept: every upload opens it, and to put a path together costs more than that."""
        self._touched = last_used
        self._records: list[PieceRecord | None] = [None] * self.pieces.count
        self._journal: Journal | None = None
        self._file: PieceFile | None = None
        self._kept: PieceFile | None = None
        self._look_at = 0.0
        self._stored: StoredBlob | None = None

    @classmethod
    def create(cls, path: Path, header: Header, now: float) -> "DiskBlob":
        """Make the folder of a new blob with room for all of it; blocks. Raises OSError and leaves nothing."""
        blob = cls(path, header, now)
        try:
            path.mkdir(parents=True, exist_ok=True)
            _preallocate(path / "data", header.pieces.size)
            begin_state(path / "state", header)
        except OSError:
            with suppress(OSError):
                blob.delete()
            raise
        return blob

    @classmethod
    def load(cls, path: Path, digest: Digest) -> "DiskBlob":
        """Read a blob's folder; blocks. Raises StoreBroken, or OSError, when it is of no use."""
        state = read_state(path / "state")
        size = (path / "data").stat().st_size
        if state.header.digest != digest or size != state.header.pieces.size:
            raise StoreBroken(
                f"holds {size} bytes, the header says {state.header.pieces.size} of another blob"
            )
        blob = cls(path, state.header, (path / "state").stat().st_mtime)
        blob._remember(state.records, state.complete)
        if state.torn:
            blob.rewrite(state.records, state.complete)
        return blob

    @property
    def task(self) -> TaskId:
        """The name of the swarm's work on this blob."""
        return self.header.digest.task

    @property
    def is_whole(self) -> bool:
        """Whether all pieces are recorded."""
        return self.bits == availability.full(self.pieces.count)

    @property
    def in_use(self) -> bool:
        """Whether anybody but us holds its data file."""
        return self._file is not None and self._file.references > (self._kept is not None)

    @property
    def records(self) -> tuple[PieceRecord, ...]:
        """The recorded pieces, lowest first."""
        return tuple(record for record in self._records if record is not None)

    def stored(self) -> StoredBlob:
        """Return what is there, as a value; kept until it changes, since every upload asks."""
        kept = self._stored
        if kept is None or (kept.complete, kept.verified) != (self.complete, self.verified):
            size, media_type = self.pieces.size, self.header.media_type
            kept = StoredBlob(self.task, size, self.records, self.complete, media_type, self.verified)
            self._stored = kept
        return kept

    def file(self) -> PieceFile:
        """Return its data file, held once more, for the caller to release; raises OSError, also when it was deleted."""
        if self._file is None or not self._file.try_retain():
            self._file = self.file_apart()
        elif (now := time.monotonic()) >= self._look_at:
            if os.fstat(self._file.fd).st_nlink == 0:
                self._file.release()
                raise FileNotFoundError(errno.ENOENT, "it was deleted while it was open", str(self._data))
            self._look_at = now + LOOK_S
        return self._file

    def keep_open(self) -> None:
        """Leave its data file open between uses, until let_go(); raises OSError."""
        if self._kept is None:
            self._kept = self.file()

    def let_go(self) -> None:
        """Close its data file, or leave that to who uses it now."""
        if self._kept is not None:
            self._kept.release()
            self._kept = None

    def file_apart(self) -> PieceFile:
        """Open its data once more, for work that does not count as use: it may be evicted meanwhile."""
        return PieceFile.on_disk(self._data, self.pieces)

    def commit(self, record: PieceRecord) -> None:
        """Record a piece; raises StoreError, and then nothing is recorded."""
        if not 0 <= record.index < self.pieces.count:
            raise StoreError(f"{self.task} has {self.pieces.count} pieces, there is no piece {record.index}")
        if len(record.digest) != DIGEST_BYTES[self.header.kind]:
            raise StoreError(f"the digest of piece {record.index} of {self.task} is not {self.header.kind}")
        if self._records[record.index] == record:
            return
        try:
            self._open_journal().append(record)
        except OSError as error:
            raise StoreError(f"piece {record.index} of {self.task} cannot be recorded: {error}") from error
        self._records[record.index] = record
        self.bits |= 1 << record.index
        self._stored = None

    def mark_complete(self) -> None:
        """Record that the blob's own digest was checked; raises OSError, but is complete in memory then too."""
        assert self.is_whole, f"{self.task} lacks pieces and cannot be complete"
        if self.complete:
            return
        self.complete = True
        try:
            self._open_journal().append_complete()
        finally:
            self.rest()

    def finish(self, records: tuple[PieceRecord, ...]) -> None:
        """Record all pieces at once, and that the blob's own digest was checked; raises OSError."""
        try:
            self._open_journal().append_all(records)
        finally:
            self.rest()
        self._remember(records, complete=True)

    def rewrite(self, records: tuple[PieceRecord, ...], complete: bool, header: Header | None = None) -> None:
        """Replace all records, and the header; raises OSError, and holds in memory all the same."""
        self.rest()
        self.header = header or self.header
        self._remember(records, complete)
        write_state(self._path / "state", self.header, self.records, self.complete)

    def touch(self, now: float) -> None:
        """It is used now; raises OSError when that cannot be written."""
        self.last_used = now
        if now - self._touched >= TOUCH_INTERVAL_S:
            self._touched = now
            os.utime(self._path / "state", (now, now))

    def drop_pages(self) -> None:
        """Write its data to the disk, and take it out of the page cache; blocks, in any thread. Raises OSError."""
        file = self.file_apart()
        try:
            os.fdatasync(file.fd)  # the kernel keeps what it has not written
            os.posix_fadvise(file.fd, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            file.release()

    def rest(self) -> None:
        """Close what is open for writing records."""
        if self._journal is not None:
            self._journal.close()
            self._journal = None

    def delete(self) -> None:
        """Remove it from the disk; blocks. Open files stay readable. The next start removes what a crash left."""
        for name in ("state", "state.new", "data"):
            (self._path / name).unlink(missing_ok=True)
        if self._path.exists():
            self._path.rmdir()

    def _remember(self, records: tuple[PieceRecord, ...], complete: bool) -> None:
        self._records = [None] * self.pieces.count
        self.bits = availability.NONE
        self._stored = None
        for record in records:
            self._records[record.index] = record
            self.bits |= 1 << record.index
        self.complete = complete and self.is_whole

    def _open_journal(self) -> Journal:
        if self._journal is None:
            self._journal = Journal(self._path / "state", self.header.kind)
        return self._journal


def _preallocate(path: Path, size: int) -> None:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        if size:
            os.posix_fallocate(fd, 0, size)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
            raise
        os.ftruncate(fd, size)  # a file system that cannot reserve: writes find out
    finally:
        os.close(fd)


def reread(
    file: PieceFile, records: tuple[PieceRecord, ...], known: str, kind: str, stopped: Event
) -> dict[int, PieceRecord]:
    """Hash recorded pieces; blocks. Returns those whose bytes have their digest of kind `known`, as `kind`.

    Raises StoreError when `stopped` is set before all are read.
    """
    good: dict[int, PieceRecord] = {}
    for record in records:
        if stopped.is_set():
            raise StoreError("the daemon stopped while a blob was read again; the next start goes on with it")
        try:
            if digest_of(file, record.index, known) == record.digest:
                digest = record.digest if kind == known else digest_of(file, record.index, kind)
                good[record.index] = PieceRecord(record.index, digest, record.epoch)
        except StoreError:
            continue  # it cannot be read: it is as lost as a wrong one
    return good


def digest_of(file: PieceFile, index: int, kind: str) -> bytes:
    """Return the digest of a piece's bytes; blocks. Raises StoreError when they cannot be read."""
    hasher = piece_hash(kind)()
    file.feed(index, hasher.update)
    return hasher.digest()


def fill(file: PieceFile, content: bytes, kind: str) -> tuple[PieceRecord, ...]:
    """Write all bytes of a blob; blocks. Returns the records of its pieces; raises OSError."""
    records = []
    for index in range(file.pieces.count):
        data = memoryview(content)[file.pieces.start(index) : file.pieces.end(index)]
        hasher = piece_hash(kind)()
        hasher.update(data)
        records.append(PieceRecord(index, hasher.digest(), UNGRANTED))
        place = file.place(index)
        while data:
            count = os.pwrite(file.fd, data, place)
            data, place = data[count:], place + count
    return tuple(records)
