"""The blobs on disk: makes room, records verified pieces, knows what can be trusted, evicts what was not used.

Called on the event loop's thread. What may wait for the disk runs in a few threads (async methods); recording a piece
is one small append, inline. A call that is cancelled is carried out to its end all the same. Every blob is a folder of
its own (disk_blob.py); nothing else in the store's folder is counted, read or deleted.
"""

import asyncio
import errno
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from dfdaemon.config import StoreConfig
from dfdaemon.eviction import Entry, choose
from dfdaemon.io.blob_hasher import BlobHasher
from dfdaemon.io.disk_blob import DiskBlob, StoredBlob, fill, reread
from dfdaemon.io.journal import Header
from dfdaemon.io.piece_file import PieceFile
from dfdaemon.io.store_folder import StoreFolder
from dfdaemon.io.store_workers import StoreWorkers
from swarm import availability
from swarm.digest import Digest
from swarm.errors import StoreBroken, StoreError, StoreFull
from swarm.facts import Note
from swarm.ids import TaskId
from swarm.messages import PieceRecord
from swarm.pieces import PieceMap

__all__ = ["BlobStore", "StoredBlob"]

T = TypeVar("T")
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
ROOM_ATTEMPTS = 3
"""The file system may refuse what it said was free: then other blobs make room, this often."""
PROBLEMS_MAX = 256
"""Problems that are remembered until somebody reads them; a broken disk would have no end of them."""


class BlobStore:
    """All blobs of one daemon on disk. Constructing it reads the state of every blob: blocks for a moment.

    Raises StoreTooNew, or StoreBroken. `on_evicted` hears of each blob that leaves the disk to make room, or because
    its bytes are gone. `problems` collects what was found damaged, for the log.
    """

    def __init__(
        self,
        config: StoreConfig,
        piece_digest: str,
        on_evicted: Callable[[TaskId], None],
        *,
        workers: StoreWorkers | None = None,
        is_last_copy: Callable[[TaskId], bool] = lambda task: False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.problems: list[Note] = []
        self._config = config
        self._kind = piece_digest
        self._on_evicted = on_evicted
        self._is_last_copy = is_last_copy
        self._clock = clock
        self._folder = StoreFolder(config.directory)
        self._owns_workers = workers is None
        self._workers = workers or StoreWorkers()
        self._hasher = BlobHasher(self._workers.hashing)
        self._blobs: dict[TaskId, DiskBlob] = {}
        self._pins: Counter[TaskId] = Counter()
        self._locks: WeakValueDictionary[TaskId, asyncio.Lock] = WeakValueDictionary()
        self._room = asyncio.Lock()
        self._jobs: set[asyncio.Task[Any]] = set()
        self._clean = True
        self._closed = False
        for digest, path in self._folder.scan():
            self._load(digest, path)

    # --- what is there -----------------------------------------------------------------------------------------

    def inventory(self) -> list[StoredBlob]:
        """Return all blobs, whole or in part. What is not `verified` must not be served before verify()."""
        return [blob.stored() for blob in self._blobs.values()]

    def get(self, task: TaskId) -> StoredBlob | None:
        """Return what is there of one blob."""
        blob = self._blobs.get(task)
        return None if blob is None else blob.stored()

    def usage_bytes(self) -> int:
        """Return the bytes that our blobs take; a blob in part takes its full size."""
        return sum(blob.pieces.size for blob in self._blobs.values())

    def file(self, task: TaskId) -> PieceFile:
        """Return a blob's data file, retained for the caller to release; raises KeyError when it is not there."""
        blob = self._blobs[task]
        self._touch(blob)
        try:
            return blob.file()
        except FileNotFoundError as error:
            self._vanished(blob)
            raise KeyError(task) from error
        except OSError as error:
            raise StoreError(f"the data of {task} cannot be opened: {error}") from error

    def scratch(self, task: TaskId, index: int) -> PieceFile:
        """Make room in memory for a second copy of one piece; the caller releases it."""
        return PieceFile.ring(self._blobs[task].pieces.size, 1)

    # --- a download --------------------------------------------------------------------------------------------

    async def open(self, task: TaskId, size: int) -> StoredBlob:
        """Make room for a blob, or find what is there of it, verified. Raises StoreFull, StoreError, BadDigest.

        A complete blob keeps its true size, whatever `size` says; a part of another size is dropped.
        """
        return await self._to_the_end(self._open(task, size))

    def commit(self, task: TaskId, record: PieceRecord) -> None:
        """Record a piece whose verified bytes are at their place; raises StoreError."""
        blob = self._present(task)
        blob.commit(record)
        self._follow(blob)

    async def commit_scratch(self, task: TaskId, record: PieceRecord, scratch: PieceFile) -> None:
        """Move a verified second copy to its place and record it; raises StoreError."""
        await self._to_the_end(self._commit_scratch(task, record, scratch))

    def drop(self, task: TaskId, bits: int) -> None:
        """Forget recorded pieces; a complete blob is then in part again."""
        blob = self._blobs.get(task)
        if blob is None or not blob.bits & bits:
            return
        self._hasher.forget(task)
        kept = tuple(record for record in blob.records if not availability.has(bits, record.index))
        self._rewrite(blob, kept, complete=False)

    async def check(self, task: TaskId) -> bool:
        """Tell whether the whole blob, as it is on disk, has its own digest. False also when it cannot be read."""
        blob = self._present(task)
        if not blob.is_whole:
            raise StoreError(f"{task} lacks pieces: there is no digest to check")
        try:
            return await asyncio.wrap_future(self._hasher.finish(blob.header.digest, self.file(task)))
        except (StoreError, KeyError) as error:
            self._report("check_failed", task, error)
            return False
        finally:
            self._hasher.forget(task)

    def complete(self, task: TaskId) -> None:
        """Mark a blob whose check() was true. If that cannot be recorded, a later start checks it again."""
        blob = self._present(task)
        try:
            blob.mark_complete()
        except OSError as error:
            self._report("record_failed", task, error)

    async def put(self, task: TaskId, content: bytes, media_type: str = "") -> None:
        """Store a tiny blob whole, complete at once; raises StoreFull, StoreError (also for the wrong content)."""
        await self._to_the_end(self._put(task, content, media_type))

    def set_media_type(self, task: TaskId, media_type: str) -> None:
        """Remember what the origin calls this blob."""
        blob = self._blobs.get(task)
        if blob is not None and blob.header.media_type != media_type:
            digest, pieces, kind = blob.header.digest, blob.pieces, blob.header.kind
            self._rewrite(blob, blob.records, blob.complete, Header(digest, pieces, kind, media_type))

    def pin(self, task: TaskId) -> None:
        """It is in use: never evict it. Counts; may come before open()."""
        self._pins[task] += 1

    def unpin(self, task: TaskId) -> None:
        """Take one pin() back."""
        self._pins[task] -= 1
        if self._pins[task] <= 0:
            del self._pins[task]
            if task in self._blobs:
                self._blobs[task].rest()

    # --- care --------------------------------------------------------------------------------------------------

    async def verify(self, task: TaskId, again: bool = False) -> StoredBlob | None:
        """Hash what is recorded, unless it was verified since the start, and drop what is wrong. None: not there."""
        return await self._to_the_end(self._verify_one(task, again))

    async def remove(self, task: TaskId) -> None:
        """Delete a blob, in use or not; files that are open stay readable."""
        await self._to_the_end(self._remove(task))

    async def close(self) -> None:
        """Finish what runs, and leave the folder so that the next start may trust it."""
        if self._closed:
            return
        self._closed = True
        self._hasher.close()
        await asyncio.gather(*self._jobs, return_exceptions=True)
        if self._owns_workers:
            await asyncio.to_thread(self._workers.close)
        for blob in self._blobs.values():
            blob.rest()
        clean = self._clean and all(blob.verified for blob in self._blobs.values())
        try:
            self._folder.close(clean)
        except OSError as error:
            self._report("close_failed", None, error)

    # --- inside: one blob, under its lock ----------------------------------------------------------------------

    async def _open(self, task: TaskId, size: int) -> StoredBlob:
        async with self._lock(task):
            blob = await self._verified(task)
            if blob is not None and not blob.complete and blob.pieces.size != size:
                await self._delete(blob)
                blob = None
            if blob is None:
                blob = await self._create(Header(Digest.parse(task), PieceMap.of(size), self._kind))
            self._touch(blob)
            self._follow(blob)
            return blob.stored()

    async def _verified(self, task: TaskId) -> DiskBlob | None:
        """Return a blob whose records can be trusted, or None."""
        blob = self._blobs.get(task)
        if blob is not None and not (blob.verified and blob.header.kind == self._kind):
            await self._verify(blob)
        return self._blobs.get(task)

    async def _verify(self, blob: DiskBlob) -> None:
        """Read every recorded piece again, and drop what is wrong."""
        before, was_complete = blob.records, blob.complete
        try:
            file = blob.file()
        except OSError:
            self._vanished(blob)
            return
        try:
            good = await self._in_disk_thread(reread, file, before, blob.header.kind, self._kind)
        finally:
            file.release()
        blob.verified = True
        wrong = [record for record in before if record.index not in good and record in blob.records]
        if wrong:
            self._hasher.forget(blob.task)
            self._report("pieces_damaged", blob.task, f"{len(wrong)} of {len(before)} pieces")
        if wrong or blob.header.kind != self._kind:
            kept = tuple(good.get(record.index, record) for record in blob.records if record not in wrong)
            header = Header(blob.header.digest, blob.pieces, self._kind, blob.header.media_type)
            self._rewrite(blob, kept, was_complete and not wrong, header)

    async def _verify_one(self, task: TaskId, again: bool) -> StoredBlob | None:
        async with self._lock(task):
            blob = self._blobs.get(task)
            if blob is not None and again:
                await self._verify(blob)
            await self._verified(task)
            return self.get(task)

    async def _commit_scratch(self, task: TaskId, record: PieceRecord, scratch: PieceFile) -> None:
        async with self._lock(task):
            try:
                file = self.file(task)
            except KeyError as error:
                raise StoreError(f"{task} is not in the store any more") from error
            try:
                await self._in_disk_thread(scratch.copy_piece, record.index, file)
            finally:
                file.release()
            self.commit(task, record)

    async def _put(self, task: TaskId, content: bytes, media_type: str) -> None:
        digest = Digest.parse(task)
        if await self._in_disk_thread(Digest.of, content, digest.algorithm) != digest:
            raise StoreError(f"{len(content)} bytes given as {task} have another digest: nothing was stored")
        async with self._lock(task):
            blob = await self._verified(task)
            if blob is not None and blob.pieces.size != len(content):
                await self._delete(blob)
                blob = None
            header = Header(digest, PieceMap.of(len(content)), self._kind, media_type)
            if blob is None:
                blob = await self._create(header)
            self._touch(blob)
            if not blob.complete:
                await self._fill(blob, content, header)
            elif media_type:
                self.set_media_type(task, media_type)

    async def _fill(self, blob: DiskBlob, content: bytes, header: Header) -> None:
        try:
            file = blob.file()
            try:
                records = await self._in_disk_thread(fill, file, content, header.kind)
            finally:
                file.release()
            blob.rewrite(records, complete=True, header=header)
        except OSError as error:
            await self._delete(blob)
            raise StoreError(f"{blob.task} cannot be written: {error}") from error

    async def _remove(self, task: TaskId) -> None:
        async with self._lock(task):
            if task in self._blobs:
                await self._delete(self._blobs[task])

    # --- inside: room ------------------------------------------------------------------------------------------

    async def _create(self, header: Header) -> DiskBlob:
        """Make a blob's folder with room for all its bytes; raises StoreFull, StoreError, and leaves nothing."""
        path, size = self._folder.place(header.digest), header.pieces.size
        async with self._room:
            for attempt in range(ROOM_ATTEMPTS):
                await self._make_room(size, refused=attempt > 0)
                try:
                    blob = await self._in_disk_thread(DiskBlob.create, path, header, self._clock())
                except OSError as error:
                    if error.errno not in NO_ROOM:
                        raise StoreError(f"{path} cannot be made: {error}") from error
                else:
                    self._blobs[blob.task] = blob
                    return blob
        raise StoreFull(f"the file system of {self._folder.path} has no room for {size} bytes")

    async def _make_room(self, size: int, refused: bool) -> None:
        over_quota = self.usage_bytes() + size - self._config.quota_bytes
        under_floor = self._config.free_bytes_min + size - self._folder.free_bytes()
        needed = max(over_quota, under_floor, size if refused else 0)
        chosen = choose((self._entry(blob) for blob in self._blobs.values()), needed)
        if chosen is None:
            raise StoreFull(f"no room for {size} bytes: {needed} bytes more would have to go, and are in use")
        for task in chosen:
            self._on_evicted(task)
            await self._delete(self._blobs[task])

    def _entry(self, blob: DiskBlob) -> Entry:
        lock = self._locks.get(blob.task)
        active = blob.in_use or self._pins[blob.task] > 0 or (lock is not None and lock.locked())
        return Entry(blob.task, blob.pieces.size, blob.last_used, active, self._is_last_copy(blob.task))

    async def _delete(self, blob: DiskBlob) -> None:
        del self._blobs[blob.task]
        self._hasher.forget(blob.task)
        blob.rest()
        try:
            await self._in_disk_thread(blob.delete)
        except OSError as error:
            self._report("delete_failed", blob.task, error)

    # --- inside: the rest --------------------------------------------------------------------------------------

    def _load(self, digest: Digest, path: Path) -> None:
        """Take in a blob's folder as it was found; one that is of no use is removed, the swarm has it too."""
        try:
            blob = DiskBlob.load(path, digest)
        except (StoreBroken, OSError) as error:
            self._report("blob_unusable", digest.task, error)
            with suppress(OSError):
                DiskBlob(path, Header(digest, PieceMap.of(0), self._kind), 0.0).delete()
            return
        blob.verified = blob.verified and self._folder.was_clean
        self._blobs[blob.task] = blob

    def _present(self, task: TaskId) -> DiskBlob:
        blob = self._blobs.get(task)
        if blob is None:
            raise StoreError(f"{task} is not in the store any more")
        return blob

    def _vanished(self, blob: DiskBlob) -> None:
        """Its data is gone, not by our hand."""
        self._report("blob_unusable", blob.task, "its data file is gone")
        self._hasher.forget(blob.task)
        blob.rest()
        self._blobs.pop(blob.task, None)
        with suppress(OSError):
            blob.delete()
        self._on_evicted(blob.task)

    def _follow(self, blob: DiskBlob) -> None:
        """Let the hasher read what is recorded without a gap."""
        end = availability.first_missing(blob.bits)
        if not blob.complete and end > self._hasher.reached(blob.header.digest):
            with suppress(OSError):  # check() will tell
                self._hasher.advance(blob.header.digest, end, blob.file())

    def _rewrite(
        self, blob: DiskBlob, records: tuple[PieceRecord, ...], complete: bool, header: Header | None = None
    ) -> None:
        try:
            blob.rewrite(records, complete, header)
        except OSError as error:
            self._clean = False  # the disk says something else: verify at the next start
            self._report("record_failed", blob.task, error)

    def _touch(self, blob: DiskBlob) -> None:
        with suppress(OSError):
            blob.touch(self._clock())

    def _report(self, name: str, task: TaskId | None, reason: object) -> None:
        if len(self.problems) < PROBLEMS_MAX:
            self.problems.append(Note(f"store_{name}", task, fields=(("reason", str(reason)),)))

    def _lock(self, task: TaskId) -> asyncio.Lock:
        return self._locks.setdefault(task, asyncio.Lock())

    async def _in_disk_thread(self, work: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._workers.disk, work, *arguments)

    async def _to_the_end(self, work: Coroutine[Any, Any, T]) -> T:
        """Carry work out even if the caller is cancelled: half of it would leave the table and the disk apart."""
        if self._closed:
            work.close()
            raise StoreError("the store is closed")
        job = asyncio.ensure_future(work)
        self._jobs.add(job)
        job.add_done_callback(self._done)
        return await asyncio.shield(job)

    def _done(self, job: asyncio.Task[Any]) -> None:
        self._jobs.discard(job)
        if not job.cancelled():
            job.exception()  # who waited for it has it; nobody else needs to hear
