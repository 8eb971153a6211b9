"""What the machine asks of other hosts, on a real store: every command is answered, whatever the disk says."""

import asyncio
import errno
import io
import os
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from dfdaemon import commands, events
from dfdaemon.config import SchedulerLinkConfig, StoreConfig
from dfdaemon.events import PeerFault
from dfdaemon.io import blob_table
from dfdaemon.io.active_blob import ActiveBlob, ActiveBlobs
from dfdaemon.io.blob_store import BlobStore
from dfdaemon.io.disk_blob import reread
from dfdaemon.io.jobs import Jobs
from dfdaemon.io.ledger import Account
from dfdaemon.io.peer_commands import PeerCommands
from dfdaemon.io.piece_file import PieceFile
from dfdaemon.io.scheduler_client import SchedulerClient
from swarm.digest import Digest
from swarm.io.telemetry import Telemetry
from swarm.messages import PieceRecord
from swarm.pieces import MIB, PieceMap
from tests.support.peers import CHILD, PARENT, Blob, Ends, two_ends

BLOB = Blob(2 * MIB + 5)


class Bench:
    """The commands of a parent's machine on a store of one blob, and what they posted."""

    def __init__(self, folder: Path, ends: Ends) -> None:
        self.store = BlobStore(StoreConfig(str(folder), free_bytes_min=0), "xxh3", lambda task: None)
        self.blobs = ActiveBlobs()
        self.jobs = Jobs()
        self.events: list[events.Event] = []
        scheduler = SchedulerClient(SchedulerLinkConfig(), PARENT, b"", lambda event: None)
        telemetry = Telemetry("daemon", stream=io.StringIO())
        self.commands = PeerCommands(
            self.store,
            self.blobs,
            ends.client,
            ends.server,
            scheduler,
            self.jobs,
            telemetry,
            self.events.append,
        )
        self.table = self.commands.table()

    async def activate(self) -> ActiveBlob:
        """Begin with the blob, as the driver does."""
        await self.store.open(BLOB.task, BLOB.pieces.size)
        blob = ActiveBlob(BLOB.task, Digest.parse(BLOB.task), BLOB.pieces, "", Account(BLOB.pieces.size))
        blob.file = self.store.file(BLOB.task)
        self.blobs.active[BLOB.task] = blob
        return blob


@asynccontextmanager
async def bench_at(folder: Path, ends: Ends) -> AsyncIterator[Bench]:
    made = Bench(folder, ends)
    try:
        yield made
    finally:
        await made.jobs.close()
        made.blobs.close()
        await made.store.close()


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with two_ends() as ends, bench_at(tmp_path / "store", ends) as made:
        yield made


HEDGE = commands.RequestPiece(CHILD, BLOB.task, 1, scratch=True)
HEDGE_FAILED = events.PieceFailed(CHILD, BLOB.task, 1, PeerFault.CANCELLED, scratch=True)


async def test_a_second_copy_of_a_blob_that_left_the_disk_is_answered(bench: Bench) -> None:
    await bench.activate()
    await bench.store.remove(BLOB.task)
    bench.table[commands.RequestPiece](HEDGE)
    assert bench.events == [HEDGE_FAILED]


async def test_a_second_copy_without_a_descriptor_for_it_is_answered(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(name: str, flags: int) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    blob = await bench.activate()
    monkeypatch.setattr(os, "memfd_create", full)
    bench.table[commands.RequestPiece](HEDGE)
    assert bench.events == [HEDGE_FAILED]
    assert not blob.scratch


class Serving:
    """A parent that answers as its commands do, and a child that asked for pieces of a blob on its disk."""

    def __init__(self, bench: Bench, ends: Ends) -> None:
        self.bench, self.ends = bench, ends
        ends.served.react = self._served
        self.target = BLOB.empty_file()

    def _served(self, event: events.Event) -> None:
        if isinstance(event, events.ChildSubscribed):
            self.ends.server.send_availability(
                CHILD, BLOB.task, BLOB.pieces.size, (1 << BLOB.pieces.count) - 1
            )
        elif isinstance(event, events.PieceRequested):
            self.bench.table[commands.StartUpload](
                commands.StartUpload(event.child, event.request, event.task, BLOB.records[event.index])
            )

    async def subscribe(self) -> None:
        self.ends.client.subscribe(self.ends.parent, BLOB.task, BLOB.pieces.size)
        await self.ends.got.next(events.ParentAvailable)

    def ask(self, index: int) -> None:
        self.ends.client.request(PARENT, BLOB.task, index, self.target, False)


@asynccontextmanager
async def serving_at(folder: Path) -> AsyncIterator[Serving]:
    """After a crash, if a blob is in this folder already; its child has subscribed."""
    async with two_ends() as ends, bench_at(folder, ends) as bench:
        if bench.store.get(BLOB.task) is None:
            await bench.store.put(BLOB.task, BLOB.content)
            bench.store._table.blobs[BLOB.task].let_go()
        serving = Serving(bench, ends)
        await serving.subscribe()
        yield serving


async def crashed(folder: Path) -> None:
    """Leave a whole blob that is to be checked."""
    async with two_ends() as ends, bench_at(folder, ends) as bench:
        await bench.store.put(BLOB.task, BLOB.content)
    (folder / "clean").unlink()


def refuse_to_open(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def refused(path: Path, pieces: PieceMap) -> PieceFile:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(PieceFile, "on_disk", refused)


async def test_a_blob_that_cannot_be_opened_now_is_busy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving_at(tmp_path / "store") as serving:
        with monkeypatch.context() as patched:
            refuse_to_open(patched, errno.EMFILE)
            serving.ask(0)
            await serving.ends.got.next(events.ParentBusy)
        serving.ask(0)
        await serving.ends.got.next(events.PieceArrived)
        assert [type(event) for event in serving.bench.events] == [events.UploadEnded]


async def test_a_blob_that_can_never_be_opened_is_offered_no_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving_at(tmp_path / "store") as serving:
        refuse_to_open(monkeypatch, errno.EIO)
        serving.ask(0)
        assert (await serving.ends.got.next(events.PieceFailed)).fault is PeerFault.GONE
        assert events.BlobEvicted(BLOB.task) in serving.bench.events


async def test_a_blob_is_checked_once_after_a_crash_however_many_ask(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_end, began = threading.Event(), list[PieceFile]()

    def slow(file: PieceFile, *arguments: Any) -> dict[int, PieceRecord]:
        began.append(file)
        assert may_end.wait(10)
        return reread(file, *arguments)

    await crashed(tmp_path / "store")
    monkeypatch.setattr(blob_table, "reread", slow)
    async with serving_at(tmp_path / "store") as serving:
        try:
            for index in range(3):
                serving.ask(index)
            for _ in range(3):
                await serving.ends.got.next(events.ParentBusy)
            assert len(serving.bench.jobs._running) == 1
        finally:
            may_end.set()
        await serving.ends.got.next(events.ParentReady)
        serving.ask(0)
        await serving.ends.got.next(events.PieceArrived)
        assert len(began) == 1


async def test_a_blob_that_cannot_be_checked_after_a_crash_is_offered_no_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await crashed(tmp_path / "store")
    refuse_to_open(monkeypatch, errno.EIO)
    async with serving_at(tmp_path / "store") as serving:
        serving.ask(0)
        await serving.ends.got.next(events.ParentBusy)
        await asyncio.gather(*serving.bench.jobs._running)
        assert events.BlobEvicted(BLOB.task) in serving.bench.events
        assert not serving.bench.commands._checking
