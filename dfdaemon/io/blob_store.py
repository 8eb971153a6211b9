"""The blob store: makes room, records verified pieces, knows what can be trusted, evicts what was not used.

Called on the event loop's thread. What may wait for the disk runs in a few threads (async methods), and is carried
out to its end even if the caller is cancelled; recording a piece is one small append, inline. Every blob is a folder
of its own (disk_blob.py); nothing else in the store's folder is counted, read or deleted.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import replace
from typing import Any, TypeVar

from dfdaemon.config import StoreConfig
from dfdaemon.io.blob_table import BlobTable
from dfdaemon.io.disk_blob import DiskBlob, StoredBlob, fill
from dfdaemon.io.journal import Header
from dfdaemon.io.piece_file import PieceFile
from dfdaemon.io.store_workers import StoreWorkers
from swarm import availability
from swarm.digest import Digest
from swarm.errors import PieceMismatch, StoreError
from swarm.facts import Note
from swarm.ids import TaskId
from swarm.messages import PieceRecord
from swarm.pieces import PieceMap

__all__ = ["BlobStore", "StoredBlob"]

T = TypeVar("T")
FLOOR_LOOK_S = 30.0
"""How often the free bytes of the disk are looked at: others fill it too, and kubelet evicts pods where it is full."""
FOLLOW_BYTES = 4 << 20
"""Bytes in order before the hasher is told: waking its thread for each piece would cost more. check() does the rest."""


class BlobStore:
    """All blobs of one daemon on disk. Making it reads the state of every blob, and blocks for a moment.

    Raises StoreTooNew, StoreBroken. `on_evicted` hears, on the loop, of each blob that leaves the disk to make room,
    or because its bytes are gone. `workers` may be shared by the stores of one process; then their owner closes them.
    """

    def __init__(
        self,
        config: StoreConfig,
        piece_digest: str,
        on_evicted: Callable[[TaskId], None],
        *,
        workers: StoreWorkers | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._own_workers = StoreWorkers() if workers is None else None
        self._table = BlobTable(config, piece_digest, workers or self._own_workers or StoreWorkers())
        self._table.on_evicted = on_evicted
        self._table.clock = clock
        self.drops_pages = config.drop_pages
        """Whether drop_pages() is wanted when a blob is no longer read."""
        self._jobs: set[asyncio.Task[Any]] = set()
        self._closed = False

    # --- what is there -------------------------------------------------------------------------------------------

    @property
    def problems(self) -> list[Note]:
        """What was found damaged, or could not be written, for the log; the reader empties it."""
        return self._table.problems

    def inventory(self) -> list[StoredBlob]:
        """Return all blobs, whole or in part. What is not `verified` must not be served before verify()."""
        return [blob.stored() for blob in self._table.blobs.values()]

    def offered(self) -> list[StoredBlob]:
        """Return what can be offered at the start: complete blobs, unless their records are of another kind.

        Children would take such a record for a lie of ours. open() makes new ones from the bytes.
        """
        blobs = self._table.blobs.values()
        return [blob.stored() for blob in blobs if blob.complete and self._table.is_current(blob)]

    def get(self, task: TaskId) -> StoredBlob | None:
        """Return what is there of one blob."""
        blob = self._table.blobs.get(task)
        return None if blob is None else blob.stored()

    def is_verified(self, task: TaskId) -> bool:
        """Tell whether what is there of a blob may be served, or a crash may have damaged it; raises KeyError.

        As get() would, but that puts all records together, and every upload asks.
        """
        return self._table.blobs[task].verified

    def copies(self, content: TaskId) -> list[TaskId]:
        """Return under which names there is a blob of this digest, whole or in part."""
        blobs = self._table.blobs.values()
        return [blob.task for blob in blobs if blob.header.proof.task == content]

    def usage_bytes(self) -> int:
        """Return the bytes that our blobs take; a blob in part takes its full size."""
        return self._table.usage_bytes()

    def file(self, task: TaskId) -> PieceFile:
        """Return a blob's data file, held for the caller to release.

        Raises KeyError when it is not there, StoreBusy when it cannot be opened now, and StoreError when never.
        """
        try:
            return self._table.file(self._table.blobs[task])
        except StoreError as error:
            if task in self._table.blobs:
                raise
            raise KeyError(task) from error

    def scratch(self, task: TaskId, index: int) -> PieceFile:
        """Make room in memory for a second copy of one piece; the caller releases it. KeyError when not there."""
        return PieceFile.ring(self._table.blobs[task].pieces.size, 1)

    # --- a download ----------------------------------------------------------------------------------------------

    async def open(
        self, task: TaskId, size: int, content: Digest | None = None, follow: bool = True
    ) -> StoredBlob:
        """Make room for a blob, or find what is there of it, verified. Raises StoreFull, StoreError, BadDigest.

        `content`: the digest that its bytes must have, if it is not the task's name. `follow`: see follow().

        A complete blob keeps its true size, whatever `size` says; a part of another size is dropped.
        """
        return await self._to_the_end(self._open(task, size, content, follow))

    def follow(self, task: TaskId) -> None:
        """Compute the blob's own digest behind the download, so that little is left for check()."""
        blob = self._table.blobs.get(task)
        if blob is not None:
            blob.is_followed = True
            self._follow(blob)

    def commit(self, task: TaskId, record: PieceRecord) -> None:
        """Record a piece whose verified bytes are at their place; raises StoreError."""
        blob = self._table.present(task)
        if availability.has(blob.bits, record.index):
            self._table.hasher.forget(task)  # its bytes may have been hashed, and are others now
        blob.commit(record)
        self._follow(blob)

    async def commit_scratch(self, task: TaskId, record: PieceRecord, scratch: PieceFile) -> None:
        """Move a verified second copy to its place and record it; raises StoreError."""
        await self._to_the_end(self._commit_scratch(task, record, scratch.retain()))

    def drop(self, task: TaskId, bits: int) -> None:
        """Forget recorded pieces; a complete blob is then in part again."""
        blob = self._table.blobs.get(task)
        if blob is None or not blob.bits & bits:
            return
        self._table.hasher.forget(task)
        kept = tuple(record for record in blob.records if not availability.has(bits, record.index))
        self._table.rewrite(blob, kept, complete=False)

    async def check(self, task: TaskId) -> bool:
        """Tell whether the whole blob on disk has its own digest.

        Raises StoreError when pieces are missing, or it cannot be read: that says nothing of its digest.
        """
        blob = self._table.present(task)
        if not blob.is_whole:
            raise StoreError(f"{task} lacks pieces: there is no digest to check")
        hasher = self._table.hasher
        try:
            return await asyncio.wrap_future(hasher.finish(task, blob.header.proof, blob.file_apart()))
        except OSError as error:
            raise StoreError(f"{task} cannot be read: {error}") from error
        finally:
            hasher.forget(task)

    def complete(self, task: TaskId) -> None:
        """Mark a blob that is right. If the disk does not take that, a later start finds it in part.

        Raises StoreError when it, or a piece of it, is not there any more.
        """
        self._table.hasher.forget(task)
        blob = self._table.present(task)
        if not blob.is_whole:
            raise StoreError(f"{task} lacks pieces, and is not complete")
        try:
            blob.mark_complete()
        except OSError as error:
            self._table.report("record_failed", task, error)

    async def put(
        self, task: TaskId, content: bytes, media_type: str = "", digest: Digest | None = None
    ) -> None:
        """Store a tiny blob, complete at once. Raises StoreFull, StoreError; PieceMismatch: it is another.

        `digest`: the one that it must have, if it is not the task's name.
        """
        await self._to_the_end(self._put(task, content, self._header(task, len(content), digest, media_type)))

    def set_media_type(self, task: TaskId, media_type: str) -> None:
        """Remember what the origin calls this blob."""
        blob = self._table.blobs.get(task)
        if blob is not None and blob.header.media_type != media_type:
            header = replace(blob.header, media_type=media_type)
            self._table.rewrite(blob, blob.records, blob.complete, header)

    def pin(self, task: TaskId) -> None:
        """It is in use: never evict it. Counts; may come before open()."""
        self._table.pins[task] += 1

    def unpin(self, task: TaskId) -> None:
        """Take one pin() back."""
        pins = self._table.pins
        pins[task] -= 1
        if pins[task] <= 0:
            del pins[task]
            if task in self._table.blobs:
                self._table.blobs[task].rest()

    # --- care ----------------------------------------------------------------------------------------------------

    async def verify(self, task: TaskId, again: bool = False) -> StoredBlob | None:
        """Hash what is recorded and drop what is wrong, unless that was done since the start. None: not there.

        Where it cannot be opened now, it is as it was.
        """
        return await self._to_the_end(self._verify(task, again))

    async def keep_floor(self) -> None:
        """See to it, until cancelled, that `free_bytes_min` stay free whoever else writes to the disk."""
        while True:
            await asyncio.sleep(FLOOR_LOOK_S)
            with suppress(StoreError):  # whoever needs the folder is told
                await self._to_the_end(self._table.keep_floor())

    async def drop_pages(self, task: TaskId) -> None:
        """Take a blob out of the page cache, unless somebody uses it; it stays on disk."""
        blob = self._table.blobs.get(task)
        if blob is not None and not blob.in_use and not self._table.pins[task] and not self._closed:
            await self._table.drop_pages(blob)

    async def remove(self, task: TaskId) -> None:
        """Delete a blob, in use or not; files that are open stay readable."""
        await self._to_the_end(self._remove(task))

    async def close(self) -> None:
        """Finish what runs, and leave the folder so that the next start may trust it."""
        if self._closed:
            return
        self._closed = True
        self._table.hasher.close()
        self._table.stop_reading()
        await asyncio.gather(*self._jobs, return_exceptions=True)
        if self._own_workers is not None:
            await asyncio.to_thread(self._own_workers.close)
        self._table.close()

    # --- inside --------------------------------------------------------------------------------------------------

    async def _open(self, task: TaskId, size: int, content: Digest | None, follow: bool) -> StoredBlob:
        here = self._table.blobs.get(task)
        if here is not None and here.complete and here.verified and self._table.is_current(here):
            self._table.touch(
                here
            )  # without its lock: it may just be read once more, a large one for minutes
            return here.stored()
        async with self._table.lock(task):
            blob = await self._of_size(task, size, keep_complete=True)
            if blob is None:
                blob = await self._table.create(self._header(task, size, content))
            self._table.touch(blob)
            blob.is_followed = follow
            self._follow(blob)
            return blob.stored()

    def _header(self, task: TaskId, size: int, content: Digest | None, media_type: str = "") -> Header:
        name = Digest.parse(task)
        other = content if content != name else None
        return Header(name, PieceMap.of(size), self._table.kind, media_type, other)

    async def _of_size(self, task: TaskId, size: int, keep_complete: bool) -> DiskBlob | None:
        """Return a verified blob; one of another size goes."""
        blob = await self._table.verified(task)
        if blob is not None and blob.pieces.size != size and not (keep_complete and blob.complete):
            await self._table.delete(blob)
            return None
        return blob

    async def _verify(self, task: TaskId, again: bool) -> StoredBlob | None:
        async with self._table.lock(task):
            blob = self._table.blobs.get(task)
            try:
                if blob is not None and again:
                    await self._table.verify(blob)
                await self._table.verified(task)
            except StoreError as error:
                self._table.report("verify_failed", task, error)
            return self.get(task)

    async def _commit_scratch(self, task: TaskId, record: PieceRecord, scratch: PieceFile) -> None:
        try:
            async with self._table.lock(task):
                file = self._table.file(self._table.present(task))
                try:
                    await self._table.in_disk_thread(scratch.copy_piece, record.index, file)
                finally:
                    file.release()
                self.commit(task, record)
        finally:
            scratch.release()

    async def _put(self, task: TaskId, content: bytes, header: Header) -> None:
        digest = header.proof
        # Here, not in a thread: tiny blobs take a tenth of a millisecond at most, and a thread costs as much.
        if Digest.of(content, digest.algorithm) != digest:
            raise PieceMismatch(f"{len(content)} bytes as {task} have another digest: nothing was stored")
        async with self._table.lock(task):
            blob = await self._of_size(task, len(content), keep_complete=False)
            if blob is None:
                blob = await self._table.create(header)
            self._table.touch(blob)
            if not blob.complete:
                await self._fill(blob, content, header)
            elif header.media_type:
                self.set_media_type(task, header.media_type)

    async def _fill(self, blob: DiskBlob, content: bytes, header: Header) -> None:
        try:
            file = blob.file()
            try:
                records = await self._table.in_disk_thread(fill, file, content, header.kind)
            finally:
                file.release()
            if header == blob.header:
                blob.finish(records)
            else:
                blob.rewrite(records, complete=True, header=header)
        except OSError as error:
            await self._table.delete(blob)
            raise StoreError(f"{blob.task} cannot be written: {error}") from error

    async def _remove(self, task: TaskId) -> None:
        async with self._table.lock(task):
            if task in self._table.blobs:
                await self._table.delete(self._table.blobs[task])

    def _follow(self, blob: DiskBlob) -> None:
        """Let the hasher read what is recorded without a gap, a few pieces at a time."""
        end = availability.first_missing(blob.bits)
        news = blob.pieces.span_bytes(self._table.hasher.reached(blob.task), end)
        if blob.is_followed and not blob.complete and news >= FOLLOW_BYTES:
            with suppress(OSError):  # check() will tell
                self._table.hasher.advance(blob.task, blob.header.proof, end, blob.file_apart())

    async def _to_the_end(self, work: Coroutine[Any, Any, T]) -> T:
        """Go on even if the caller is cancelled: half of it would leave the table and the disk apart."""
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
