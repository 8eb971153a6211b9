"""Runs the daemon's machine: events in, commands out to the other I/O modules, one at a time, on the event
loop.

Everything that happens is posted here; nothing else touches the machine. An event that a command raises at
once
waits until the commands before it are done, so that the machine is never entered twice. A fault of ours in one
command keeps no other from being carried out: it is reported, and the clients of its blob go to the origin.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from dfdaemon import commands, events
from dfdaemon.asked_again import AskedAgain
from dfdaemon.io.active_blob import ActiveBlob, ActiveBlobs, DownloadFailed, Reader
from dfdaemon.io.blob_store import BlobStore, StoredBlob
from dfdaemon.io.blobs import BlobReader
from dfdaemon.io.origin_client import OriginSource
from dfdaemon.machine import DaemonMachine
from dfdaemon.readers import READERS_MAX, is_part
from swarm.digest import Digest
from swarm.ids import ReaderId, TaskId
from swarm.layers import Layer
from swarm.pieces import PieceMap
from swarm.repositories import Word

CommandTable = Mapping[type, Callable[[Any], object]]
"""Which function carries out which command."""


LOOK_AGAIN_S = 10.0
"""A client waits so long at most until a blob was read again: together with HEADERS_AFTER_S of proxy_blobs.py this is
less than the 30 s after which containerd gives up on headers."""


def _nothing(task: TaskId) -> asyncio.Future[None]:
    """Where a blob is looked at that nobody can look at."""
    done = asyncio.get_running_loop().create_future()
    done.set_result(None)
    return done


class Driver:
    """Owns the machine and opens readers for the registry mirror (Blobs of dfdaemon/io/blobs.py)."""

    def __init__(
        self, machine: DaemonMachine, blobs: ActiveBlobs, store: BlobStore, hold_until_whole: bool
    ) -> None:
        self.machine = machine
        self.blobs = blobs
        self._store = store
        self.told: Callable[[Word], None] = lambda word: None
        """Takes what the scheduler says of repositories and denied content: not the machine's business."""
        self.mend: Callable[[TaskId], asyncio.Future[None]] = _nothing
        """Reads a blob on disk again, and posts what is damaged; done after that."""
        self._asked_again = AskedAgain()
        self._mending: dict[TaskId, asyncio.Future[None]] = {}
        """Blobs that are read again because a client asked again."""
        self._hold = hold_until_whole
        self._events: deque[events.Event] = deque()
        self._draining = False
        self._closed = False
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = float("inf")
        self._last_reader = 0
        self._loop = asyncio.get_running_loop()
        self._execute: dict[type, Callable[[Any], object]] = {
            commands.ReleaseReaders: self._release_readers,
            commands.FailReaders: self._fail_readers,
        }

    def carry_out(self, *tables: CommandTable) -> None:
        """Say who carries out the other commands; called once, before the first event."""
        for table in tables:
            self._execute.update(table)

    # --- the loop ---------------------------------------------------------------------------------

    def post(self, event: events.Event) -> None:
        """Give the machine an event; must be called on the event loop's thread. After close() nothing happens."""
        if self._closed:
            return
        self._events.append(event)
        if self._draining:
            return
        self._draining = True
        try:
            while self._events:
                self._handle(self._events.popleft())
        finally:
            self._draining = False
        self._set_timer()

    def _handle(self, event: events.Event) -> None:
        try:
            wanted = self.machine.handle(event, self._loop.time())
        except Exception as error:
            self._failed(event, error)
            return
        for command in wanted:
            try:
                self._execute[type(command)](command)
            except Exception as error:
                self._failed(command, error)

    def _failed(self, what: events.Event | commands.Command, error: Exception) -> None:
        """A fault of ours: report it, and let nobody wait for what will not come."""
        message = f"{type(what).__name__} could not be carried out; please report this"
        self._loop.call_exception_handler({"message": message, "exception": error})
        blob = self.blobs.active.get(getattr(what, "task", TaskId("")))
        if blob is not None:
            blob.give_up(f"a fault of the daemon in the download of {blob.task}; its log has it")

    def said(self, event: events.Event) -> None:
        """Take an event of the scheduler client; what is not about a download goes elsewhere."""
        if isinstance(event, events.SchedulerSaid) and isinstance(event.message, Word):
            self.told(event.message)
        else:
            self.post(event)

    def _set_timer(self) -> None:
        """See to it that the bell rings in time. One that is set too early stays: it will find nothing due, and set
        the next; most are put off again and again by what happens."""
        at = self.machine.wakeup_at()
        if at >= self._timer_at:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = at
        self._timer = self._loop.call_at(at, self._ring_bell)

    def _ring_bell(self) -> None:
        self._timer_at = float("inf")
        self._timer = None
        if self._loop.time() >= self.machine.wakeup_at():
            self.post(events.TimeReached())
        else:
            self._set_timer()

    def close(self) -> None:
        """Stop the timer, and take no more events."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()

    # --- readers ----------------------------------------------------------------------------------

    async def open(
        self,
        source: OriginSource,
        size: int,
        media_type: str,
        start: int,
        end: int,
        layer: Layer | None = None,
    ) -> BlobReader:
        """Start to read bytes [start, end) of a blob; see Blobs.open."""
        task = source.task
        if source.kind != "manifest":  # which is checked each time that it is read
            await self._look_again(task, start)
        blob = self._blob(task, source.digest, size, media_type)
        if blob.pieces.size != size:
            raise DownloadFailed(f"{task} is on its way with {blob.pieces.size} bytes, here it has {size}")
        if len(blob.readers) >= READERS_MAX or not blob.has_place_for(start):
            raise DownloadFailed(f"{task} streams to others already, and cannot be read from {start} now")
        blob.add_source(source)
        blob.account.registry, blob.account.repository = source.registry, source.repository
        self._last_reader += 1
        reader = Reader(blob, ReaderId(self._last_reader), start, end, self)
        blob.readers[reader.number] = reader
        part = not self._hold and is_part(size, start, end)
        self.post(events.BlobWanted(task, size, source.registry, True, part=part, layer=layer))
        self.post(events.ReaderOpened(task, reader.number, start, end))
        return reader

    async def _look_again(self, task: TaskId, start: int) -> None:
        """Have a blob on disk read again before a client gets it once more: what it got may have been wrong.

        A large one is read on behind the client, which is cut off as soon as a piece turns out to be wrong.
        """
        stored = self._store.get(task)
        if stored is None or not stored.complete:
            return
        if start == 0 and self._asked_again.is_due(task, self._loop.time()):
            job = self._mending[task] = self.mend(task)
            job.add_done_callback(lambda _: self._mending.pop(task, None))
        if task in self._mending:
            await asyncio.wait([self._mending[task]], timeout=LOOK_AGAIN_S)

    def _blob(self, task: TaskId, digest: Digest, size: int, media_type: str) -> ActiveBlob:
        account = self.blobs.ledger.open(task, size)
        account.digest = str(digest)
        if account.is_refused:
            raise DownloadFailed(f"the download of {task} failed a moment ago: {account.failure}")
        blob = self.blobs.active.get(task)
        if blob is None:
            blob = ActiveBlob(task, digest, PieceMap.of(size), media_type, account, hold=self._hold)
            self.blobs.active[task] = blob
        return blob

    def stored(self, task: TaskId) -> StoredBlob | None:
        """Return what the disk holds of a blob; see Blobs.stored."""
        return self._store.get(task)

    def broken(self, task: TaskId, reason: str) -> None:
        """A blob's file could not be read; see Blobs.broken."""
        blob, account = self.blobs.active.get(task), self.blobs.ledger.get(task)
        if blob is not None:
            blob.give_up(reason)
        elif account is not None:
            account.fail(reason)
        self.mend(task)

    def advanced(self, task: TaskId, reader: ReaderId, offset: int) -> None:
        """A reader finished a piece (ReaderMoves)."""
        self.post(events.ReaderAdvanced(task, reader, offset))

    def closed(self, task: TaskId, reader: ReaderId) -> None:
        """A reader is done (ReaderMoves)."""
        self.post(events.ReaderClosed(task, reader))

    def _release_readers(self, command: commands.ReleaseReaders) -> None:
        blob = self.blobs.active[command.task]
        damaged = blob.released & ~command.bits
        if damaged and not blob.ring:  # a ring lets go of what all have got
            blob.retract(damaged)
            blob.whole = False
        blob.release(command.bits)

    def _fail_readers(self, command: commands.FailReaders) -> None:
        self.blobs.active[command.task].give_up(command.reason)
