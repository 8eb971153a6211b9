"""The blobs on disk, by task, and what changes the set of them: found at the start, made, damaged, evicted.

Whoever makes, verifies or deletes a blob holds its lock; room is made by one at a time.
"""

import asyncio
import errno
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from dfdaemon.config import StoreConfig
from dfdaemon.eviction import Entry, choose
from dfdaemon.io.blob_hasher import BlobHasher
from dfdaemon.io.disk_blob import DiskBlob, reread
from dfdaemon.io.journal import Header
from dfdaemon.io.piece_file import PieceFile
from dfdaemon.io.store_folder import StoreFolder
from dfdaemon.io.store_workers import StoreWorkers
from swarm.digest import Digest
from swarm.errors import StoreBroken, StoreBusy, StoreError, StoreFull
from swarm.facts import Note
from swarm.ids import TaskId
from swarm.messages import PieceRecord
from swarm.pieces import PieceMap

T = TypeVar("T")
OPEN_MAX = 64
"""Data files that stay open between uses: to open and close one for each piece is a fifteenth of an upload. More
blobs are hardly busy at once, and a process may have 1,024 descriptors where nobody raised that."""
NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
PASSING = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
"""What opening a file ends with where descriptors or memory are used up just now."""
ROOM_ATTEMPTS = 3
"""The file system may refuse what it said was free: then other blobs make room, this often."""
BARREN_S = 60.0
"""If that was of no use, nothing is evicted for its sake for a while: each blob that comes would cost others."""
PROBLEMS_MAX = 256
"""Problems that are remembered until somebody reads them; a broken disk would have no end of them."""


class BlobTable:
    """Finds what an earlier daemon left, when it is made. Raises StoreTooNew, StoreBroken."""

    def __init__(self, config: StoreConfig, kind: str, workers: StoreWorkers) -> None:
        self.blobs: dict[TaskId, DiskBlob] = {}
        """The least recently used first."""
        self.pins: Counter[TaskId] = Counter()
        self.problems: list[Note] = []
        self.kind = kind
        self.hasher = BlobHasher(workers.hashing)
        self.on_evicted: Callable[[TaskId], None] = lambda task: None
        self.clock: Callable[[], float] = time.time
        self._config = config
        self._workers = workers
        self._locks: WeakValueDictionary[TaskId, asyncio.Lock] = WeakValueDictionary()
        self._room = asyncio.Lock()
        self._barren_until = 0.0
        self._faithful = True
        self._stopped = Event()
        self._usage_bytes = 0
        self._open: dict[TaskId, DiskBlob] = {}
        """Blobs whose files stay open, the one that was used last at the end."""
        self._folder = StoreFolder(config.directory)
        for digest, path in self._folder.scan():
            self._load(digest, path)
        self.blobs = dict(sorted(self.blobs.items(), key=lambda item: item[1].last_used))

    def present(self, task: TaskId) -> DiskBlob:
        """Return a blob; raises StoreError when it is not there."""
        blob = self.blobs.get(task)
        if blob is None:
            raise StoreError(f"{task} is not in the store any more")
        return blob

    def usage_bytes(self) -> int:
        """Return the bytes that our blobs take; a blob in part takes its full size."""
        return self._usage_bytes

    def lock(self, task: TaskId) -> asyncio.Lock:
        """Return the lock of one blob; while it is held the blob is not evicted."""
        return self._locks.setdefault(task, asyncio.Lock())

    def file(self, blob: DiskBlob) -> PieceFile:
        """Return a blob's data file, held for the caller; raises StoreError when it cannot be opened, StoreBusy now."""
        self.touch(blob)
        try:
            file = blob.file()
            self._keep_open(blob)
            return file
        except FileNotFoundError as error:
            self.vanished(blob)
            raise StoreError(f"the data of {blob.task} is gone from the disk") from error
        except OSError as error:
            kind = StoreBusy if error.errno in PASSING else StoreError
            raise kind(f"the data of {blob.task} cannot be opened: {error}") from error

    def _keep_open(self, blob: DiskBlob) -> None:
        self._open.pop(blob.task, None)
        if len(self._open) >= OPEN_MAX:
            self._open.pop(next(iter(self._open))).let_go()
        self._open[blob.task] = blob
        blob.keep_open()

    def touch(self, blob: DiskBlob) -> None:
        """It is used now."""
        if self.blobs.get(blob.task) is blob:
            del self.blobs[blob.task]
            self.blobs[blob.task] = blob
        with suppress(OSError):
            blob.touch(self.clock())

    def is_current(self, blob: DiskBlob) -> bool:
        """Tell whether its records are of the kind that the peers of this run know."""
        return blob.header.kind == self.kind

    async def verified(self, task: TaskId) -> DiskBlob | None:
        """Return a blob whose records can be trusted, hashing what they are for first; None when it is not there."""
        blob = self.blobs.get(task)
        if blob is not None and not (blob.verified and self.is_current(blob)):
            await self.verify(blob)
        return self.blobs.get(task)

    async def verify(self, blob: DiskBlob) -> None:
        """Read every recorded piece again, and drop what is wrong. Raises StoreError when it cannot be opened."""
        before, was_complete = blob.records, blob.complete
        try:
            file = self.file(blob)
        except StoreError:
            if blob.task not in self.blobs:
                return  # its data is gone
            raise
        try:
            known, threads = blob.header.kind, self._workers.checking
            job = asyncio.get_running_loop().run_in_executor(
                threads, reread, file, before, known, self.kind, self._stopped
            )
            good = await job
        finally:
            file.release()
        blob.verified = True
        wrong = {r.index for r in before if r.index not in good and r in blob.records}
        if wrong:
            self.hasher.forget(blob.task)
            self.report("pieces_damaged", blob.task, f"{len(wrong)} of {len(before)} pieces")
        if wrong or not self.is_current(blob):
            kept = tuple(good.get(r.index, r) for r in blob.records if r.index not in wrong)
            header = replace(blob.header, kind=self.kind)
            self.rewrite(blob, kept, was_complete and not wrong, header)

    async def create(self, header: Header) -> DiskBlob:
        """Make a blob with room for all its bytes; raises StoreFull, StoreError, and leaves nothing."""
        path, size = self._folder.place(header.digest), header.pieces.size
        async with self._room:
            attempts = ROOM_ATTEMPTS if time.monotonic() >= self._barren_until else 1
            for attempt in range(attempts):
                await self._make_room(size, refused=attempt > 0)
                try:
                    blob = await self.in_disk_thread(DiskBlob.create, path, header, self.clock())
                except OSError as error:
                    if error.errno not in NO_ROOM:
                        raise StoreError(f"{path} cannot be made: {error}") from error
                else:
                    self._put_in(blob)
                    return blob
            if attempts > 1:
                self._barren_until = time.monotonic() + BARREN_S
        raise StoreFull(f"the file system of {self._folder.path} has no room for {size} bytes")

    async def delete(self, blob: DiskBlob) -> None:
        """Take a blob out of the table, then off the disk."""
        self._take_out(blob)
        try:
            await self.in_disk_thread(blob.delete)
        except OSError as error:
            self.report("delete_failed", blob.task, error)

    async def drop_pages(self, blob: DiskBlob) -> None:
        """Write a blob to the disk and take it out of the page cache."""
        try:
            await asyncio.get_running_loop().run_in_executor(self._workers.syncing, blob.drop_pages)
        except OSError as error:
            self.report("sync_failed", blob.task, error)

    def vanished(self, blob: DiskBlob) -> None:
        """Its data is gone, not by our hand."""
        if blob.task not in self.blobs:
            return
        self.report("blob_unusable", blob.task, "its data file cannot be opened")
        self._take_out(blob)
        with suppress(OSError):
            blob.delete()
        self.on_evicted(blob.task)

    def rewrite(
        self, blob: DiskBlob, records: tuple[PieceRecord, ...], complete: bool, header: Header | None = None
    ) -> None:
        """Replace a blob's records. If the disk does not take that, nothing is trusted at the next start."""
        try:
            blob.rewrite(records, complete, header)
        except OSError as error:
            self._faithful = False
            self.report("record_failed", blob.task, error)

    def report(self, name: str, task: TaskId | None, reason: object) -> None:
        """Remember a problem for the log."""
        if len(self.problems) < PROBLEMS_MAX:
            self.problems.append(Note(f"store_{name}", task, fields=(("reason", str(reason)),)))

    async def in_disk_thread(self, work: Callable[..., T], *arguments: Any) -> T:
        """Run what blocks."""
        return await asyncio.get_running_loop().run_in_executor(self._workers.disk, work, *arguments)

    def stop_reading(self) -> None:
        """Read no blob again any more; who waits for that gets StoreError."""
        self._stopped.set()

    def close(self) -> None:
        """Unlock the folder. The next start trusts it, but for the blobs that were not verified in this run."""
        for blob in self.blobs.values():
            blob.let_go()
            blob.rest()
        try:
            doubtful = [blob.header.digest for blob in self.blobs.values() if not blob.verified]
            self._folder.close(self._faithful, doubtful)
        except OSError as error:
            self.report("close_failed", None, error)

    async def _make_room(self, size: int, refused: bool) -> None:
        over_quota = self.usage_bytes() + size - self._config.quota_bytes
        under_floor = self._under_floor() + size
        chosen, lacking = self._choose(max(over_quota, under_floor, size if refused else 0))
        if lacking:
            raise StoreFull(f"no room for {size} bytes: {lacking} more would have to go than are out of use")
        await self._evict(chosen)

    async def keep_floor(self) -> None:
        """Others filled the disk: evict until `free_bytes_min` is free again, as far as blobs are out of use.

        Raises StoreError when the folder cannot be used.
        """
        async with self._room:
            chosen, _ = self._choose(self._under_floor())
            await self._evict(chosen)

    def _under_floor(self) -> int:
        """Return the bytes by which less is free than there should be; negative where it is more."""
        try:
            return self._config.free_bytes_min - self._folder.free_bytes()
        except OSError as error:  # the folder is gone, or its disk fails
            raise StoreError(f"the store folder {self._folder.path} cannot be used: {error}") from error

    def _choose(self, needed: int) -> tuple[tuple[TaskId, ...], int]:
        return choose((self._entry(blob) for blob in self.blobs.values()), needed)

    async def _evict(self, chosen: tuple[TaskId, ...]) -> None:
        for task in chosen:
            blob = self.blobs.get(task)
            if blob is not None and not self._entry(blob).active:  # it may be used since it was chosen
                self.on_evicted(task)
                await self.delete(blob)

    def _entry(self, blob: DiskBlob) -> Entry:
        lock = self._locks.get(blob.task)
        active = blob.in_use or self.pins[blob.task] > 0 or (lock is not None and lock.locked())
        return Entry(blob.task, blob.pieces.size, active)

    def _put_in(self, blob: DiskBlob) -> None:
        assert blob.task not in self.blobs, "a blob is made once"
        self.blobs[blob.task] = blob
        self._usage_bytes += blob.pieces.size

    def _take_out(self, blob: DiskBlob) -> None:
        self._usage_bytes -= self.blobs.pop(blob.task).pieces.size
        self.hasher.forget(blob.task)
        self._open.pop(blob.task, None)
        blob.let_go()
        blob.rest()

    def _load(self, digest: Digest, path: Path) -> None:
        """Take in a blob as it was found; one that is of no use is removed: the swarm has it too.

        One that cannot be read now stays for the next start, unless it is wanted before: then it is made anew.
        """
        try:
            blob = DiskBlob.load(path, digest)
        except (StoreBroken, OSError) as error:
            self.report("blob_unusable", digest.task, error)
            if isinstance(error, StoreBroken | FileNotFoundError):
                with suppress(OSError):
                    DiskBlob(path, Header(digest, PieceMap.of(0), self.kind), 0.0).delete()
            return
        blob.verified = self._folder.trusts(digest) and self.is_current(blob)
        self._put_in(blob)
