import asyncio
import os
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from dfdaemon.config import StoreConfig
from dfdaemon.io import blob_store, disk_blob
from dfdaemon.io.blob_store import BlobStore, StoredBlob
from dfdaemon.io.disk_blob import digest_of
from dfdaemon.io.piece_file import PieceFile
from dfdaemon.io.store_workers import StoreWorkers
from swarm.digest import Digest
from swarm.errors import BadDigest, PieceMismatch, StoreBroken, StoreError, StoreFull, StoreTooNew
from swarm.ids import UNGRANTED, TaskId
from swarm.pieces import PIECE_BYTES_MIN
from tests.support.blobs import Sample, content_of, download, files_up_to, take_piece, write_piece

ONE, TWO, THREE = Sample(1), Sample(2), Sample(3)
TINY = Sample(4, 100)
TIMEOUT_S = 30.0
ROOM = 2 * ONE.size + TINY.size


class Stores:
    """Daemons that use one folder, one after the other."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.evicted: list[TaskId] = []
        self.store: BlobStore | None = None
        self.now = 1e9
        self.workers = StoreWorkers()

    def start(self, kind: str = "xxh3") -> BlobStore:
        config = StoreConfig(str(self.folder), quota_bytes=ROOM, free_bytes_min=0)
        self.store = BlobStore(
            config, kind, self.evicted.append, workers=self.workers, clock=lambda: self.now
        )
        return self.store

    def hash_all(self) -> None:
        """Wait until the hashing thread has nothing to do; it may send itself work once more."""
        for _ in range(2):
            self.workers.hashing.submit(lambda: None).result(TIMEOUT_S)

    async def stop(self) -> None:
        if self.store is not None:
            await self.store.close()
            self.store = None

    async def crash(self) -> None:
        """Leave what a killed daemon leaves: everything that it wrote, without the mark of a clean stop."""
        await self.stop()
        (self.folder / "clean").unlink()

    async def again(self) -> BlobStore:
        await self.stop()
        return self.start()

    def damage(self, sample: Sample, index: int) -> None:
        (data,) = self.folder.glob(f"blobs/*/*/{sample.digest.hex}/data")
        with open(data, "r+b") as file:
            file.seek(sample.pieces.start(index))
            file.write(b"damage")


@pytest.fixture
async def stores(tmp_path: Path) -> AsyncIterator[Stores]:
    stores = Stores(tmp_path)
    yield stores
    await stores.stop()
    stores.workers.close()


async def test_a_blob_from_its_first_piece_to_its_end(stores: Stores) -> None:
    store = stores.start()
    empty = StoredBlob(ONE.task, ONE.size, (), complete=False, media_type="")
    assert await store.open(ONE.task, ONE.size) == empty
    for index in (2, 0, 3, 1):
        take_piece(store, ONE, index)
    assert await store.check(ONE.task)
    assert not store.inventory()[0].complete, "check only tells"
    store.complete(ONE.task)
    whole = StoredBlob(ONE.task, ONE.size, ONE.records(), complete=True, media_type="")
    assert store.get(ONE.task) == whole
    assert (await stores.again()).inventory() == [whole]
    assert content_of(await stores.again(), ONE) == ONE.content
    assert stores.store is not None
    assert stores.store.problems == []


async def test_a_download_goes_on_after_a_restart(stores: Stores) -> None:
    store = stores.start()
    await store.open(ONE.task, ONE.size)
    take_piece(store, ONE, 1)
    take_piece(store, ONE, 2)
    store = await stores.again()
    assert (await store.open(ONE.task, ONE.size)).records == (ONE.record(1), ONE.record(2))
    take_piece(store, ONE, 0)
    take_piece(store, ONE, 3)
    assert await store.check(ONE.task)


async def test_after_a_crash_a_part_keeps_what_its_bytes_bear_out(stores: Stores) -> None:
    store = stores.start()
    await store.open(ONE.task, ONE.size)
    for index in range(3):
        take_piece(store, ONE, index)
    await stores.crash()
    stores.damage(ONE, 1)
    store = stores.start()
    assert not store.inventory()[0].verified
    assert not store.is_verified(ONE.task)
    stored = await store.open(ONE.task, ONE.size)
    assert (stored.records, stored.verified) == ((ONE.record(0), ONE.record(2)), True)
    assert store.is_verified(ONE.task)
    assert [note.name for note in store.problems] == ["store_pieces_damaged"]
    take_piece(store, ONE, 1)
    take_piece(store, ONE, 3)
    assert await store.check(ONE.task)


async def test_a_stop_waits_for_no_blob_that_is_read_again_after_a_crash(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, goes_on = threading.Event(), threading.Event()

    def read_piece(file: PieceFile, index: int, kind: str) -> bytes:
        began.set()
        assert goes_on.wait(TIMEOUT_S)
        return digest_of(file, index, kind)

    await download(stores.start(), ONE)
    await stores.crash()
    store = stores.start()
    with monkeypatch.context() as slow:
        slow.setattr(disk_blob, "digest_of", read_piece)
        reading = asyncio.ensure_future(store.verify(ONE.task))
        await asyncio.to_thread(began.wait, TIMEOUT_S)
        stopping = asyncio.ensure_future(stores.stop())
        await asyncio.sleep(0)
        goes_on.set()
        await asyncio.gather(reading, stopping)
    again = stores.start().get(ONE.task)
    assert again is not None
    assert again.complete, "nothing was dropped"
    assert not again.verified, "and what was not read is not trusted"


async def test_after_a_crash_a_damaged_blob_is_in_part_again(stores: Stores) -> None:
    await download(stores.start(), ONE)
    await stores.crash()
    stores.damage(ONE, 3)
    store = stores.start()
    stored = await store.open(ONE.task, ONE.size)
    assert (stored.complete, stored.records) == (False, ONE.records()[:3])
    take_piece(store, ONE, 3)
    assert await store.check(ONE.task)
    store.complete(ONE.task)
    assert (await stores.again()).inventory()[0].complete


async def test_records_of_another_kind_are_offered_once_new_ones_are_made(stores: Stores) -> None:
    await download(stores.start(), ONE)
    assert [blob.task for blob in (await stores.again()).offered()] == [ONE.task]
    await stores.stop()
    store = stores.start("blake3")
    assert [(blob.complete, blob.verified) for blob in store.inventory()] == [(True, False)]
    assert store.offered() == []
    made = await store.open(ONE.task, ONE.size)
    assert made.records == Sample(1, kind="blake3").records()
    assert store.offered() == [made]


async def test_a_part_is_not_offered_at_the_start(stores: Stores) -> None:
    store = stores.start()
    await store.open(ONE.task, ONE.size)
    take_piece(store, ONE, 1)
    assert (await stores.again()).offered() == []


async def test_a_reported_blob_is_verified_again(stores: Stores) -> None:
    store = stores.start()
    await download(store, ONE)
    stores.damage(ONE, 0)
    untouched = await store.verify(ONE.task)
    assert untouched is not None
    assert untouched.complete, "it was verified when it came"
    found = await store.verify(ONE.task, again=True)
    assert found is not None
    assert (found.complete, found.records) == (False, ONE.records()[1:])
    assert await store.verify(TWO.task) is None


async def test_the_digest_is_computed_while_pieces_arrive(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blob_store, "FOLLOW_BYTES", 2 * PIECE_BYTES_MIN)
    store = stores.start()
    await store.open(ONE.task, ONE.size)
    for index in (0, 1, 3):
        take_piece(store, ONE, index)
    stores.hash_all()
    stores.damage(ONE, 0)
    take_piece(store, ONE, 2)
    assert await store.check(ONE.task), "the first piece was hashed before it was damaged"
    assert not await store.check(ONE.task), "and a second check reads it again"


async def test_wrong_pieces_that_carry_their_own_digest_fail_the_check(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blob_store, "FOLLOW_BYTES", 1)
    store = stores.start()
    await store.open(ONE.task, ONE.size)
    for index in range(4):
        take_piece(store, ONE, index)
    stores.hash_all()
    file = store.file(ONE.task)
    os.pwrite(file.fd, TWO.bytes_of(2), file.place(2))
    store.commit(ONE.task, TWO.record(2))
    assert not await store.check(ONE.task)
    store.drop(ONE.task, 0b100)
    assert store.get(ONE.task) == StoredBlob(
        ONE.task, ONE.size, (ONE.record(0), ONE.record(1), ONE.record(3)), complete=False, media_type=""
    )
    file.release()
    take_piece(store, ONE, 2)
    assert await store.check(ONE.task)


async def test_a_blob_in_part_has_no_digest(stores: Stores) -> None:
    store = stores.start()
    await store.open(ONE.task, ONE.size)
    with pytest.raises(StoreError, match="lacks pieces"):
        await store.check(ONE.task)
    with pytest.raises(StoreError, match="is not in the store any more"):
        await store.check(TWO.task)


async def test_a_blob_that_cannot_be_read_neither_matches_nor_not(stores: Stores) -> None:
    store = stores.start()
    await store.open(ONE.task, ONE.size)
    for index in range(4):
        take_piece(store, ONE, index)
    file = store.file(ONE.task)
    os.ftruncate(file.fd, PIECE_BYTES_MIN)
    file.release()
    with pytest.raises(StoreError, match="piece 1 ends after 0 of"):
        await store.check(ONE.task)


async def test_a_second_copy_waits_in_memory_and_moves_in(stores: Stores) -> None:
    store = stores.start()
    await store.open(ONE.task, ONE.size)
    scratch = store.scratch(ONE.task, 3)
    os.pwrite(scratch.fd, ONE.bytes_of(3), scratch.place(3))
    await store.commit_scratch(ONE.task, ONE.record(3), scratch)
    assert content_of(store, ONE)[ONE.pieces.start(3) :] == ONE.bytes_of(3)
    stored = store.get(ONE.task)
    assert stored is not None
    assert stored.records == (ONE.record(3),)
    await store.remove(ONE.task)
    with pytest.raises(StoreError, match="is not in the store any more"):
        await store.commit_scratch(ONE.task, ONE.record(3), scratch)
    assert scratch.references == 1
    scratch.release()


async def test_a_tiny_blob_comes_whole(stores: Stores) -> None:
    store = stores.start()
    await store.put(TINY.task, TINY.content, "application/vnd.oci.image.config.v1+json")
    expected = StoredBlob(
        TINY.task,
        TINY.size,
        (TINY.record(0, UNGRANTED),),
        complete=True,
        media_type="application/vnd.oci.image.config.v1+json",
    )
    await store.put(TINY.task, TINY.content)
    assert store.get(TINY.task) == expected
    assert (await stores.again()).inventory() == [expected]


async def test_a_tiny_blob_finishes_one_in_part(stores: Stores) -> None:
    store = stores.start()
    await store.open(TINY.task, TINY.size)
    await store.put(TINY.task, TINY.content)
    assert (await store.open(TINY.task, TINY.size)).complete
    assert not store._table.blobs[TINY.task].in_use
    wrong_size = await store.open(TINY.task, 5)
    assert (wrong_size.complete, wrong_size.size) == (True, TINY.size)
    assert (await stores.again()).inventory() == [store.get(TINY.task)]


async def test_the_empty_blob(stores: Stores) -> None:
    store, empty = stores.start(), Digest.of(b"").task
    await store.put(empty, b"")
    await store.remove(empty)
    await store.open(empty, 0)
    assert await store.check(empty)
    store.complete(empty)
    found = (await stores.again()).get(empty)
    assert found is not None
    assert (found.size, found.records, found.complete) == (0, (), True)


async def test_content_of_another_digest_is_not_stored(stores: Stores) -> None:
    store = stores.start()
    with pytest.raises(PieceMismatch, match="have another digest: nothing was stored"):
        await store.put(TINY.task, b"something else")
    assert store.inventory() == []
    with pytest.raises(BadDigest):
        await store.put(TaskId("sha256:../../../etc"), b"")
    with pytest.raises(BadDigest):
        await store.open(TaskId("md5:" + "0" * 32), 5)


async def test_content_that_cannot_be_written_leaves_nothing(stores: Stores) -> None:
    store = stores.start()
    await store.open(TINY.task, TINY.size)
    with files_up_to(TINY.size - 1), pytest.raises(StoreError, match="cannot be written"):
        await store.put(TINY.task, TINY.content)
    assert store.inventory() == []


async def test_a_part_of_another_size_begins_anew(stores: Stores) -> None:
    store = stores.start()
    await store.open(ONE.task, 100)
    store.set_media_type(ONE.task, "x/y")
    stored = await store.open(ONE.task, ONE.size)
    assert (stored.size, stored.media_type) == (ONE.size, "")
    await download(store, ONE)
    await store.open(TINY.task, 50)
    await store.put(TINY.task, TINY.content)
    assert store.usage_bytes() == ONE.size + TINY.size


async def test_the_media_type_comes_back_with_all_records(stores: Stores) -> None:
    store = stores.start()
    await store.open(ONE.task, ONE.size)
    take_piece(store, ONE, 0)
    store.set_media_type(ONE.task, "application/gzip")
    store.set_media_type(TWO.task, "application/gzip")
    take_piece(store, ONE, 1)
    assert (await stores.again()).inventory() == [
        StoredBlob(
            ONE.task, ONE.size, (ONE.record(0), ONE.record(1)), complete=False, media_type="application/gzip"
        )
    ]


async def test_room_is_made_by_what_was_not_used(stores: Stores) -> None:
    store = stores.start()
    for sample in (ONE, TWO):
        await download(store, sample)
        stores.now += 1
    store.file(ONE.task).release()
    await store.open(THREE.task, THREE.size)
    assert stores.evicted == [TWO.task]
    assert store.usage_bytes() == 2 * ONE.size
    with pytest.raises(KeyError):
        store.file(TWO.task)


async def test_what_is_pinned_stays_until_the_last_pin_goes(stores: Stores) -> None:
    store = stores.start()
    for sample in (ONE, TWO):
        store.pin(sample.task)
        await download(store, sample)
    store.pin(ONE.task)
    store.unpin(ONE.task)
    with pytest.raises(StoreFull):
        await store.open(THREE.task, THREE.size)
    assert store.get(THREE.task) is None
    store.unpin(ONE.task)
    await store.open(THREE.task, THREE.size)
    assert stores.evicted == [ONE.task]


async def test_what_is_read_stays(stores: Stores) -> None:
    store = stores.start()
    await store.open(ONE.task, 2 * ONE.size)
    reader = store.file(ONE.task)
    with pytest.raises(StoreFull):
        await store.open(TWO.task, TWO.size)
    reader.release()
    await store.open(TWO.task, TWO.size)
    assert stores.evicted == [ONE.task]


async def test_many_ask_for_the_same_room_at_once(stores: Stores) -> None:
    store = stores.start()
    wanted = [ONE, ONE, TWO, THREE, Sample(5), ONE]
    for sample in wanted:
        store.pin(sample.task)
    answers = await asyncio.gather(
        *(store.open(sample.task, sample.size) for sample in wanted), return_exceptions=True
    )
    assert sum(isinstance(answer, StoreFull) for answer in answers) == 2
    assert store.usage_bytes() == 2 * ONE.size


async def test_a_cancelled_open_is_carried_out(stores: Stores) -> None:
    store = stores.start()
    opening = asyncio.ensure_future(store.open(ONE.task, ONE.size))
    await asyncio.sleep(0)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    carried_out = await store.verify(ONE.task)
    assert carried_out is not None
    assert carried_out.size == store.usage_bytes() == ONE.size


async def test_a_removed_blob_stays_readable_for_who_reads_it(stores: Stores) -> None:
    store = stores.start()
    await download(store, ONE)
    reader = store.file(ONE.task)
    await store.remove(ONE.task)
    await store.remove(ONE.task)
    assert os.pread(reader.fd, ONE.size, 0) == ONE.content
    reader.release()
    assert (store.usage_bytes(), list(stores.folder.glob("blobs/*/*/*"))) == (0, [])
    with pytest.raises(StoreError):
        store.commit(ONE.task, ONE.record(0))


async def test_dropping_what_is_not_there_does_nothing(stores: Stores) -> None:
    store = stores.start()
    store.drop(ONE.task, 1)
    await download(store, ONE)
    store.drop(ONE.task, 1 << 4)
    stored = store.get(ONE.task)
    assert stored is not None
    assert stored.complete


async def test_a_disk_that_takes_no_records_is_told_and_not_trusted(stores: Stores) -> None:
    store = stores.start()
    await store.open(ONE.task, ONE.size)
    for index in range(4):
        take_piece(store, ONE, index)
    (state,) = stores.folder.glob("blobs/*/*/*/state")
    with files_up_to(state.stat().st_size):
        with pytest.raises(StoreError, match=r"piece 0 of .* cannot be recorded"):
            store.commit(ONE.task, ONE.record(0, epoch=7))
        store.complete(ONE.task)
    with files_up_to(10):
        store.drop(ONE.task, 0b1)
    assert [note.name for note in store.problems] == ["store_record_failed"] * 2
    stored = (await stores.again()).inventory()[0]
    assert (stored.verified, stored.complete, stored.records) == (False, False, ONE.records())


async def test_two_daemons_do_not_share_a_folder(stores: Stores) -> None:
    stores.start()
    with pytest.raises(StoreBroken, match="in use by another daemon"):
        BlobStore(StoreConfig(str(stores.folder)), "xxh3", stores.evicted.append)


async def test_a_folder_of_a_newer_version_is_refused(stores: Stores) -> None:
    (stores.folder / "format").write_text("2\n")
    with pytest.raises(StoreTooNew):
        stores.start()
    stores.store = None


async def test_pages_are_dropped_when_nobody_uses_the_blob(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    dropped: list[str] = []
    note = lambda fd, *rest: dropped.append(Path(os.readlink(f"/proc/self/fd/{fd}")).parent.name)  # noqa: E731
    monkeypatch.setattr(os, "posix_fadvise", note)
    store = stores.start()
    await store.drop_pages(ONE.task)
    await download(store, ONE)
    reader = store.file(ONE.task)
    await store.drop_pages(ONE.task)
    reader.release()
    store.pin(ONE.task)
    await store.drop_pages(ONE.task)
    store.unpin(ONE.task)
    assert dropped == []
    await store.drop_pages(ONE.task)
    assert dropped == [ONE.digest.hex]


async def test_pages_that_cannot_be_dropped_are_told(stores: Stores) -> None:
    store = stores.start()
    await download(store, ONE)
    (data,) = stores.folder.glob("blobs/*/*/*/data")
    data.unlink()
    await store.drop_pages(ONE.task)
    assert [problem.name for problem in store.problems] == ["store_sync_failed"]


async def test_a_closed_store_does_nothing_more(stores: Stores) -> None:
    store = stores.start()
    await store.open(ONE.task, ONE.size)
    write_piece(store, ONE, 0)
    await store.close()
    await store.close()
    with pytest.raises(StoreError, match="the store is closed"):
        await store.open(ONE.task, ONE.size)


async def test_a_store_has_threads_of_its_own_unless_it_is_given_some(tmp_path: Path) -> None:
    store = BlobStore(StoreConfig(str(tmp_path), free_bytes_min=0), "xxh3", lambda task: None)
    await download(store, ONE)
    await store.close()
    workers = StoreWorkers()
    stores = [
        BlobStore(
            StoreConfig(str(tmp_path / name), free_bytes_min=0), "xxh3", lambda task: None, workers=workers
        )
        for name in "ab"
    ]
    await asyncio.gather(*(download(store, ONE) for store in stores))
    await stores[0].close()
    await download(stores[1], TWO)
    await stores[1].close()
    workers.close()


async def test_a_copy_under_another_name_has_the_digest_of_its_content(stores: Stores) -> None:
    name = ONE.digest.task_within("r.example")
    store = stores.start()

    async def take(*indexes: int) -> None:
        records = (await store.open(name, ONE.size, ONE.digest)).records
        assert [record.index for record in records] == list(range(indexes[0]))
        for index in indexes:
            file = store.file(name)
            os.pwrite(file.fd, ONE.bytes_of(index), file.place(index))
            file.release()
            store.commit(name, ONE.record(index))

    await take(0, 1)
    await stores.crash()
    store = stores.start()
    await take(2, 3)
    assert await store.check(name)
    store.complete(name)
    assert store.copies(ONE.task) == [name]
    assert store.copies(name) == []
    assert (await stores.again()).copies(ONE.task) == [name], "it is remembered on disk"


async def test_a_tiny_copy_under_another_name_is_checked_too(stores: Stores) -> None:
    name = TINY.digest.task_within("r.example")
    store = stores.start()
    with pytest.raises(PieceMismatch, match="have another digest"):
        await store.put(name, b"something else", "", TINY.digest)
    with pytest.raises(PieceMismatch, match="have another digest"):
        await store.put(name, TINY.content)
    await store.put(name, TINY.content, "a/b", TINY.digest)
    await store.put(TINY.task, TINY.content, "", TINY.digest)
    assert sorted(store.copies(TINY.task)) == sorted([name, TINY.task])


async def test_a_blob_that_others_hash_is_not_read_behind_its_download(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blob_store, "FOLLOW_BYTES", PIECE_BYTES_MIN)
    store = stores.start()
    await store.open(ONE.task, ONE.size, follow=False)
    take_piece(store, ONE, 0)
    take_piece(store, ONE, 1)
    hasher = store._table.hasher
    assert hasher.reached(ONE.task) == 0
    store.follow(ONE.task)
    assert hasher.reached(ONE.task) == 2
    take_piece(store, ONE, 2)
    assert hasher.reached(ONE.task) == 3
    take_piece(store, ONE, 3)
    assert await store.check(ONE.task)
    store.follow(TWO.task)  # it is not there (any more)


async def test_a_blob_that_others_have_proven_is_complete_and_hashed_no_further(stores: Stores) -> None:
    store = stores.start()
    await store.open(ONE.task, ONE.size, follow=False)
    for index in range(4):
        take_piece(store, ONE, index)
    store.follow(ONE.task)
    with pytest.raises(StoreError):
        store.complete(TWO.task)
    store.complete(ONE.task)
    assert store._table.hasher.reached(ONE.task) == 0
    assert [blob.complete for blob in (await stores.again()).inventory()] == [True]
