"""Carries out what the machine asks of the store: room, records, digests, and rings where there is no
room."""

import asyncio
from collections.abc import Callable

from dfdaemon import commands, events
from dfdaemon.io.active_blob import ActiveBlob, ActiveBlobs, DownloadFailed
from dfdaemon.io.blob_store import BlobStore
from dfdaemon.io.driver import CommandTable
from dfdaemon.io.jobs import Jobs, Sink
from dfdaemon.io.piece_file import PieceFile
from swarm.errors import PieceMismatch, StoreError, StoreFull
from swarm.facts import Note
from swarm.ids import TaskId
from swarm.pieces import PieceMap

Post = Callable[[events.Event], None]
CHECKS_MAX = 2
"""Times that a blob's digest is asked for where its file cannot be read."""


async def verify(store: BlobStore, task: TaskId, post: Post, again: bool = False) -> None:
    """Check a blob that is on disk; tell which of its pieces are damaged."""
    before = store.get(task)
    found = await store.verify(task, again)
    kept = {record.index for record in found.records} if found is not None else set()
    for record in before.records if before is not None else ():
        if record.index not in kept:
            post(events.PieceLost(task, record.index))


class StoreCommands:
    """Works on the blob store for the driver; every result is posted as an event."""

    def __init__(self, store: BlobStore, blobs: ActiveBlobs, jobs: Jobs, telemetry: Sink, post: Post) -> None:
        self._store = store
        self._blobs = blobs
        self._jobs = jobs
        self._telemetry = telemetry
        self._post = post
        self._mending: dict[TaskId, asyncio.Task[None]] = {}
        self._one_mends = asyncio.Lock()

    def table(self) -> CommandTable:
        """Return who carries out which command."""
        return {
            commands.OpenStore: lambda c: self._jobs.start(self._open(c)),
            commands.OpenRing: self._open_ring,
            commands.CommitPiece: self._commit,
            commands.FollowBlob: lambda c: self._store.follow(c.task),
            commands.CheckBlob: lambda c: self._jobs.start(self._check(c)),
            commands.DropPieces: self._drop,
            commands.CompleteBlob: self._complete,
            commands.CloseTask: self._close,
            commands.WriteInline: lambda c: self._jobs.start(self._write_inline(c)),
            Note: self._telemetry.note,
        }

    async def _open(self, command: commands.OpenStore) -> None:
        blob = self._blobs.active.get(command.task)
        self._store.pin(command.task)  # before it is there: nothing may take its room again
        try:
            digest = blob.digest if blob else None
            await self._store.open(command.task, command.size, digest, command.follow)
            stored = self._store.get(command.task)  # as it is now: what was damaged meanwhile was told before
            if stored is None:
                raise StoreError(f"{command.task} left the disk as soon as it was opened")
            if stored.size != command.size:
                raise StoreError(f"{command.task} is here with {stored.size} bytes, not {command.size}")
            file = self._store.file(command.task)
        except Exception as error:
            self._store.unpin(command.task)
            self._refused(command.task, error)
            return
        self.tell_problems()
        if blob is None or self._blobs.active.get(command.task) is not blob:
            self._store.unpin(command.task)
            file.release()
            return  # given up meanwhile
        blob.pinned, blob.file = True, file
        if blob.media_type:
            self._store.set_media_type(command.task, blob.media_type)
        blob.whole = blob.from_disk = stored.complete
        if not blob.account.received_bytes:
            blob.account.resumed_bytes = sum(blob.pieces.length(record.index) for record in stored.records)
        self._post(events.StoreOpened(command.task, stored.records, stored.complete))

    def _refused(self, task: TaskId, error: Exception) -> None:
        """Tell the machine, whatever went wrong: it would wait for ever. A fault of ours goes on, to be reported."""
        self._post(events.StoreRefused(task))
        if not isinstance(error, StoreError | KeyError):
            raise error
        if not isinstance(error, StoreFull):
            self._complain(task, error)

    def _open_ring(self, command: commands.OpenRing) -> None:
        blob = self._blobs.active[command.task]
        blob.file = PieceFile.ring(command.size, command.slots)
        blob.ring = True
        self._telemetry.count("rings_total", 1)
        if blob.hold:
            blob.give_up(
                "no room on disk to check it before it is sent, as mirror.stream = after-digest wants"
            )

    def _complain(self, task: TaskId, error: Exception) -> None:
        self._telemetry.note(Note("store_failed", task, fields=(("error", str(error)),)))
        self.tell_problems()

    def tell_problems(self) -> None:
        """Log what the store found damaged, or could not write, since the last time."""
        for problem in self._store.problems:
            self._telemetry.note(problem)
        self._store.problems.clear()

    def _commit(self, command: commands.CommitPiece) -> None:
        blob = self._blobs.active[command.task]
        if command.scratch:
            _, scratch = blob.scratch.pop(command.record.index)
            self._jobs.start(self._commit_scratch(command, blob, scratch))
            return
        try:
            if not blob.ring:
                self._store.commit(command.task, command.record)
        except StoreError as error:
            self._lost(command, error)
            return
        self._committed(command, blob)

    async def _commit_scratch(
        self, command: commands.CommitPiece, blob: ActiveBlob, scratch: PieceFile
    ) -> None:
        try:
            await self._store.commit_scratch(command.task, command.record, scratch)
        except StoreError as error:
            self._lost(command, error)
            return
        finally:
            scratch.release()
        self._committed(command, blob)

    def _lost(self, command: commands.CommitPiece, error: StoreError) -> None:
        self._complain(command.task, error)
        self._post(events.PieceLost(command.task, command.record.index))

    def _committed(self, command: commands.CommitPiece, blob: ActiveBlob) -> None:
        count = blob.pieces.length(command.record.index)
        blob.account.arrived(count, command.source)
        source = "origin" if command.source is None else "peers"
        self._telemetry.count("downloaded_bytes_total", count, source=source)
        blob.drop_scratch(command.record.index)  # a second copy that came too late, or is still coming
        self._post(events.PieceCommitted(command.task, command.record.index))

    def mend(self, task: TaskId) -> asyncio.Task[None]:
        """Read a blob on disk again, once at a time: what is damaged is lost."""
        job = self._mending.get(task)
        if job is None:
            job = self._mending[task] = self._jobs.start(self._mend(task))
            job.add_done_callback(lambda _: self._mending.pop(task, None))
        return job

    async def _mend(self, task: TaskId) -> None:
        """One at a time: a large blob takes a thread for minutes, and the other one makes room for downloads."""
        async with self._one_mends:
            await verify(self._store, task, self._post, again=True)
        self.tell_problems()

    def unreadable(self, task: TaskId, reason: str) -> None:
        """A blob's file could not be read: offer no longer what is damaged of it."""
        if task not in self._mending:
            self._complain(task, StoreError(f"its file cannot be read: {reason}"))
        self.mend(task)

    async def _check(self, command: commands.CheckBlob) -> None:
        """Have the digest computed. Where it cannot be read, pieces are read one by one, and then all once more."""
        matches = None
        for _ in range(CHECKS_MAX):
            try:
                matches = await self._store.check(command.task)
                break
            except StoreError as error:
                self._complain(command.task, error)
                await self.mend(command.task)
            stored = self._store.get(command.task)
            if stored is not None and len(stored.records) < PieceMap.of(stored.size).count:
                matches = False  # the machine has heard of pieces that are lost
                break
        self._post(events.BlobChecked(command.task, matches))

    def _drop(self, command: commands.DropPieces) -> None:
        self._blobs.active[command.task].retract(command.bits)
        self._store.drop(command.task, command.bits)

    def _complete(self, command: commands.CompleteBlob) -> None:
        blob = self._blobs.active[command.task]
        try:
            if not blob.ring:
                self._store.complete(command.task)
        except StoreError as error:  # it left the disk since it was checked; its readers hold the file
            self._complain(command.task, error)
        how = "proof" if command.proven else "digest"
        self._telemetry.count("blobs_verified_total", 1, how=how)
        blob.whole = True
        blob.account.finish()
        blob.wake()

    def _close(self, command: commands.CloseTask) -> None:
        blob = self._blobs.active.pop(command.task, None)
        if blob is None:
            return
        if blob.readers and blob.failure is None:
            blob.fail(DownloadFailed(f"the download of {command.task} was given up: ask again"))
        blob.close()
        if blob.pinned:
            self._store.unpin(command.task)
            if self._store.drops_pages:
                self._jobs.start(self._store.drop_pages(command.task))

    async def _write_inline(self, command: commands.WriteInline) -> None:
        """Store a tiny blob that came through the scheduler, unless its digest says that it is another."""
        blob = self._blobs.active.get(command.task)
        if blob is None:
            return
        try:
            if len(command.content) != blob.pieces.size:
                raise PieceMismatch(f"{len(command.content)} bytes came as {command.task}")
            await self._store.put(command.task, command.content, blob.media_type, blob.digest)
        except PieceMismatch:
            self._telemetry.note(Note("inline_wrong", command.task))
            self._post(events.StoreRefused(command.task))  # peers or the origin have it too
            return
        except Exception as error:
            self._refused(command.task, error)
            return
        blob.whole = True
        blob.account.inline_bytes += len(command.content)
        blob.account.finish()
        self._telemetry.count("downloaded_bytes_total", len(command.content), source="scheduler")
        stored = self._store.get(command.task)
        self._post(events.InlineWritten(command.task, stored.records if stored else ()))
