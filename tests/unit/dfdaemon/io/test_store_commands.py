"""What the machine asks of the store, on a real store: every command is answered, whatever the disk says."""

import asyncio
import os
import shutil
import threading
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from dfdaemon.commands import (
    CheckBlob,
    CloseTask,
    CommitPiece,
    CompleteBlob,
    FollowBlob,
    OpenRing,
    OpenStore,
    WriteInline,
)
from dfdaemon.config import StoreConfig
from dfdaemon.events import (
    BlobChecked,
    Event,
    InlineWritten,
    PieceCommitted,
    PieceLost,
    StoreOpened,
    StoreRefused,
)
from dfdaemon.io import blob_table
from dfdaemon.io.active_blob import ActiveBlob, ActiveBlobs, DownloadFailed
from dfdaemon.io.blob_store import BlobStore
from dfdaemon.io.disk_blob import reread
from dfdaemon.io.jobs import Jobs
from dfdaemon.io.ledger import Account
from dfdaemon.io.piece_file import PieceFile
from dfdaemon.io.store_commands import StoreCommands
from swarm.digest import Digest
from swarm.errors import StoreError
from swarm.facts import Note
from swarm.ids import UNGRANTED, HostId, TaskId
from swarm.messages import PieceRecord
from swarm.piece_digest import piece_digest
from swarm.pieces import PieceMap

CONTENT = b"content of a tiny blob"
DIGEST = Digest.of(CONTENT, "sha256")
TASK = DIGEST.task


@dataclass
class Facts:
    """Keeps what would be logged."""

    names: list[str] = field(default_factory=list)
    counted: Counter[tuple[str, ...]] = field(default_factory=Counter)

    def note(self, note: Note) -> None:
        """Keep its name."""
        self.names.append(note.name)

    def count(self, name: str, value: float = 1, /, **labels: str) -> None:
        """Keep it."""
        self.counted[name, *labels.values()] += value


class Bench:
    """The commands on a store of one blob, and what they posted."""

    def __init__(self, folder: Path, drop_pages: bool = False) -> None:
        self.folder = folder
        config = StoreConfig(str(folder), free_bytes_min=0, drop_pages=drop_pages)
        self.store = BlobStore(config, "xxh3", lambda task: None)
        self.blobs = ActiveBlobs()
        self.jobs = Jobs()
        self.facts = Facts()
        self.events: list[Event] = []
        self._posted = asyncio.Event()
        self.commands = StoreCommands(self.store, self.blobs, self.jobs, self.facts, self._post)
        self.table = self.commands.table()

    def _post(self, event: Event) -> None:
        self.events.append(event)
        self._posted.set()

    def activate(self, size: int = len(CONTENT), hold: bool = False) -> ActiveBlob:
        """Begin with the blob, as the driver does."""
        blob = self.blobs.active[TASK] = ActiveBlob(
            TASK, Digest.parse(TASK), PieceMap.of(size), "", Account(size), hold=hold
        )
        return blob

    async def answer(self) -> Event:
        """Wait for the next event."""
        async with asyncio.timeout(10):
            while not self.events:
                self._posted.clear()
                await self._posted.wait()
        return self.events.pop(0)

    async def open(self, size: int = len(CONTENT)) -> Event:
        """Make room for the blob."""
        self.table[OpenStore](OpenStore(TASK, size))
        return await self.answer()


@pytest.fixture
async def bench(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    made = Bench(tmp_path / "store", getattr(request, "param", False))
    yield made
    await made.jobs.close()
    made.blobs.close()
    await made.store.close()


async def test_room_is_made_and_its_file_is_held(bench: Bench) -> None:
    blob = bench.activate()
    assert await bench.open() == StoreOpened(TASK)
    assert blob.pinned
    assert blob.file is not None


async def test_a_whole_blob_of_another_size_is_no_room(bench: Bench) -> None:
    await bench.store.put(TASK, CONTENT)
    blob = bench.activate(size=len(CONTENT) + 1)
    assert await bench.open(len(CONTENT) + 1) == StoreRefused(TASK)
    assert blob.file is None
    assert "store_failed" in bench.facts.names


async def test_data_that_is_gone_from_the_disk_is_no_room(bench: Bench) -> None:
    await bench.store.put(TASK, CONTENT)
    shutil.rmtree(bench.folder / "blobs")
    bench.activate()
    assert await bench.open() == StoreRefused(TASK)


async def test_a_folder_that_is_gone_is_no_room(bench: Bench) -> None:
    shutil.rmtree(bench.folder)
    bench.activate()
    assert await bench.open() == StoreRefused(TASK)
    assert "store_failed" in bench.facts.names
    assert not bench.store._table.pins


async def test_a_fault_of_ours_is_reported_and_no_room(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: object) -> None:
        raise ValueError("not foreseen")

    reported: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, found: reported.append(found["exception"]))
    monkeypatch.setattr(bench.store, "open", fail)
    bench.activate()
    assert await bench.open() == StoreRefused(TASK)
    await asyncio.gather(*bench.jobs._running, return_exceptions=True)
    assert [str(error) for error in reported] == ["not foreseen"]
    assert not bench.store._table.pins


async def test_a_file_that_cannot_be_read_is_read_again_once_and_what_is_damaged_is_lost(
    bench: Bench,
) -> None:
    await bench.store.put(TASK, CONTENT)
    file = bench.store.file(TASK)
    os.ftruncate(file.fd, 3)
    file.release()
    for _ in range(2):
        bench.commands.unreadable(TASK, "it ends early")
    assert await bench.answer() == PieceLost(TASK, 0)
    await bench.commands.mend(TASK)
    assert bench.facts.names == ["store_failed", "store_pieces_damaged"]
    assert not bench.events


async def test_blobs_that_are_read_again_leave_a_thread_to_others(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop, reading, may_end = asyncio.get_running_loop(), asyncio.Event(), threading.Event()

    def slow(*arguments: Any) -> dict[int, PieceRecord]:
        loop.call_soon_threadsafe(reading.set)
        assert may_end.wait(10)
        return reread(*arguments)

    other = Digest.of(b"other").task
    await bench.store.put(TASK, CONTENT)
    await bench.store.put(other, b"other")
    monkeypatch.setattr(blob_table, "reread", slow)
    mending = [bench.commands.mend(task) for task in (TASK, other)]
    try:
        async with asyncio.timeout(5):
            await reading.wait()
            await bench.store.open(Digest.of(b"new").task, 3)
    finally:
        may_end.set()
    await asyncio.gather(*mending)


async def test_a_blob_that_left_the_disk_cannot_be_checked_and_says_so(bench: Bench) -> None:
    bench.activate()
    await bench.open()
    await bench.store.remove(TASK)
    bench.table[CheckBlob](CheckBlob(TASK))
    assert await bench.answer() == BlobChecked(TASK, None)
    assert "store_failed" in bench.facts.names


async def test_a_check_that_could_not_read_is_made_once_more(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked = []

    async def check(task: TaskId) -> bool:
        checked.append(task)
        if len(checked) == 1:
            raise StoreError("no descriptor is free")
        return True

    await bench.store.put(TASK, CONTENT)
    monkeypatch.setattr(bench.store, "check", check)
    bench.table[CheckBlob](CheckBlob(TASK))
    assert await bench.answer() == BlobChecked(TASK, True)


async def test_a_damaged_piece_is_lost_and_not_the_blob(bench: Bench) -> None:
    await bench.store.put(TASK, CONTENT)
    file = bench.store.file(TASK)
    os.ftruncate(file.fd, len(CONTENT) - 1)
    file.release()
    last = PieceMap.of(len(CONTENT)).count - 1
    bench.table[CheckBlob](CheckBlob(TASK))
    assert await bench.answer() == PieceLost(TASK, last)
    assert await bench.answer() == BlobChecked(TASK, False)


async def test_a_blob_that_left_the_disk_after_its_check_still_reaches_its_readers(bench: Bench) -> None:
    blob = bench.activate()
    await bench.open()
    await bench.store.remove(TASK)
    bench.table[CompleteBlob](CompleteBlob(TASK))
    assert blob.whole


@pytest.mark.parametrize(("proven", "how"), [(False, "digest"), (True, "proof")])
async def test_it_is_counted_who_found_a_blob_right(bench: Bench, proven: bool, how: str) -> None:
    await bench.store.put(TASK, CONTENT)
    bench.activate()
    await bench.open()
    bench.table[CompleteBlob](CompleteBlob(TASK, proven))
    assert bench.facts.counted == {("blobs_verified_total", how): 1}


async def test_a_blob_is_hashed_behind_its_download_when_that_is_asked_for(bench: Bench) -> None:
    bench.activate()
    bench.table[OpenStore](OpenStore(TASK, len(CONTENT), follow=False))
    await bench.answer()
    (blob,) = bench.store._table.blobs.values()
    assert not blob.is_followed
    bench.table[FollowBlob](FollowBlob(TASK))
    assert blob.is_followed


@pytest.mark.parametrize("bench", [False, True], indirect=True, ids=["kept", "dropped"])
async def test_a_blob_that_nobody_reads_leaves_the_page_cache_if_that_is_wanted(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    advice: list[tuple[int, ...]] = []
    monkeypatch.setattr(os, "posix_fadvise", lambda fd, *rest: advice.append(rest))
    bench.activate()
    await bench.open()
    bench.table[CloseTask](CloseTask(TASK))
    await asyncio.gather(*bench.jobs._running)
    assert advice == [(0, 0, os.POSIX_FADV_DONTNEED)] * bench.store.drops_pages


async def test_a_tiny_blob_from_the_scheduler_is_stored(bench: Bench) -> None:
    blob = bench.activate()
    await bench.open()
    bench.table[WriteInline](WriteInline(TASK, CONTENT))
    answer = await bench.answer()
    assert isinstance(answer, InlineWritten)
    assert [record.index for record in answer.records] == [0]
    assert blob.whole


@pytest.mark.parametrize(("size", "content"), [(len(CONTENT), b"x" * len(CONTENT)), (9, CONTENT)])
async def test_a_tiny_blob_that_is_not_what_was_asked_for_is_refused(
    bench: Bench, size: int, content: bytes
) -> None:
    blob = bench.activate(size)
    await bench.open(size)
    bench.table[WriteInline](WriteInline(TASK, content))
    assert await bench.answer() == StoreRefused(TASK)
    assert not blob.whole
    assert "inline_wrong" in bench.facts.names


async def test_where_bytes_wait_for_the_digest_a_ring_is_of_no_use(bench: Bench) -> None:
    blob = bench.activate(hold=True)
    bench.table[OpenRing](OpenRing(TASK, len(CONTENT), 1))
    assert isinstance(blob.failure, DownloadFailed)
    assert blob.account.is_refused


async def test_a_recorded_piece_needs_no_second_copy(bench: Bench) -> None:
    blob = bench.activate()
    await bench.open()
    assert blob.file is not None
    second = PieceFile.ring(len(CONTENT), 1)
    blob.scratch[0] = HostId("slow"), second
    hasher = piece_digest("xxh3")()
    hasher.update(CONTENT)
    bench.table[CommitPiece](CommitPiece(TASK, PieceRecord(0, hasher.digest(), UNGRANTED)))
    assert await bench.answer() == PieceCommitted(TASK, 0)
    assert second.references == 0
