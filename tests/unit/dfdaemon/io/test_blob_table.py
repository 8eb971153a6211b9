"""What the table of blobs finds at the start, how it makes room, and what it does about damage."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from dfdaemon.config import StoreConfig
from dfdaemon.io import disk_blob
from dfdaemon.io.blob_table import OPEN_MAX, PROBLEMS_MAX, BlobTable
from dfdaemon.io.disk_blob import DiskBlob, fill
from dfdaemon.io.journal import Header
from dfdaemon.io.piece_file import PieceFile
from dfdaemon.io.store_folder import StoreFolder
from dfdaemon.io.store_workers import StoreWorkers
from swarm.errors import StoreError, StoreFull
from swarm.ids import TaskId
from swarm.pieces import PieceMap
from tests.support.blobs import Sample, files_up_to

SAMPLES = [Sample(fill) for fill in range(1, 5)]
SIZE = SAMPLES[0].size
Tables = Callable[..., BlobTable]


@pytest.fixture
def tables(tmp_path: Path) -> object:
    """Makes tables of one folder, one after the other; each has room for `blobs` samples."""
    workers = StoreWorkers()
    made: list[BlobTable] = []

    def make(blobs: int = 4, kind: str = "xxh3", free_bytes_min: int = 0) -> BlobTable:
        for table in made:
            table.close()
        config = StoreConfig(str(tmp_path), quota_bytes=blobs * SIZE, free_bytes_min=free_bytes_min)
        made[:] = [BlobTable(config, kind, workers)]
        return made[0]

    yield make
    for table in made:
        table.close()
    workers.close()


def header(sample: Sample, kind: str = "xxh3") -> Header:
    return Header(sample.digest, sample.pieces, kind)


async def keep(table: BlobTable, sample: Sample) -> DiskBlob:
    """Make a complete blob."""
    blob = await table.create(header(sample))
    file = blob.file()
    blob.rewrite(fill(file, sample.content, "xxh3"), complete=True)
    file.release()
    return blob


def damage(table: BlobTable, sample: Sample, index: int) -> None:
    file = table.blobs[sample.task].file()
    os.pwrite(file.fd, b"damage", file.place(index))
    file.release()


def folders(path: Path) -> list[str]:
    return sorted(found.name for found in path.glob("blobs/*/*/*"))


async def test_what_was_there_is_found_again(tables: Tables) -> None:
    before = await keep(tables(), SAMPLES[0])
    table = tables()
    assert [blob.stored() for blob in table.blobs.values()] == [before.stored()]
    assert table.usage_bytes() == SIZE
    assert table.problems == []


async def test_a_folder_of_no_use_is_removed_and_told(tables: Tables, tmp_path: Path) -> None:
    table = tables()
    for sample in SAMPLES:
        await keep(table, sample)
    places = [next(tmp_path.glob(f"blobs/sha256/*/{sample.digest.hex}")) for sample in SAMPLES]
    (places[0] / "state").write_text("not a state\n")
    (places[1] / "state").unlink()
    (places[2] / "data").unlink()
    table = tables()
    assert list(table.blobs) == [SAMPLES[3].task]
    assert {note.task for note in table.problems} == {sample.task for sample in SAMPLES[:3]}
    assert {note.name for note in table.problems} == {"store_blob_unusable"}
    assert folders(tmp_path) == [SAMPLES[3].digest.hex]


async def test_a_disk_that_does_not_say_what_is_free_has_no_room(
    tables: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    table = tables()
    monkeypatch.setattr(os, "statvfs", fail)
    with pytest.raises(StoreError, match="cannot be used"):
        await table.create(header(SAMPLES[0]))
    assert not table.blobs


async def test_what_is_not_ours_is_left_alone(tables: Tables, tmp_path: Path) -> None:
    await keep(tables(), SAMPLES[0])
    place = next(tmp_path.glob("blobs/sha256/*/*"))
    (place / "state").unlink()
    (place / "notes.txt").write_text("mine")
    (tmp_path / "blobs" / "readme").write_text("mine")
    table = tables()
    assert table.usage_bytes() == 0
    assert (place / "notes.txt").read_text() == (tmp_path / "blobs" / "readme").read_text() == "mine"


async def test_the_least_recently_used_makes_room(tables: Tables, tmp_path: Path) -> None:
    table = tables(blobs=3)
    evicted: list[TaskId] = []
    table.on_evicted = evicted.append
    for sample in SAMPLES[:3]:
        await keep(table, sample)
    table.touch(table.blobs[SAMPLES[0].task])
    await table.create(header(SAMPLES[3]))
    assert evicted == [SAMPLES[1].task]
    assert table.usage_bytes() == 3 * SIZE
    assert SAMPLES[1].digest.hex not in folders(tmp_path)


@pytest.mark.parametrize("use", ["pinned", "read", "locked"])
async def test_what_is_in_use_stays(tables: Tables, use: str) -> None:
    table = tables(blobs=2)
    old, new = await keep(table, SAMPLES[0]), await keep(table, SAMPLES[1])
    file, lock = new.file(), table.lock(old.task)
    if use == "pinned":
        table.pins[old.task] += 1
    elif use == "read":
        file.release()
        file = old.file()
        table.pins[new.task] += 1
    else:
        await lock.acquire()
    with pytest.raises(StoreFull, match=f"no room for {SIZE} bytes: {SIZE} more would have to go"):
        await table.create(header(SAMPLES[2]))
    assert set(table.blobs) == {old.task, new.task}, "and nothing went in vain"
    file.release()


async def test_the_next_start_knows_what_was_used_last(tables: Tables, tmp_path: Path) -> None:
    table = tables(blobs=3)
    for sample, used_at in zip(SAMPLES[:3], (2e9, 1e9, 3e9), strict=True):
        blob = await keep(table, sample)
        blob.touch(used_at)
    assert list(tables(blobs=3).blobs) == [SAMPLES[number].task for number in (1, 0, 2)]


async def test_who_else_fills_the_disk_makes_blobs_go_but_none_in_use(
    tables: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = tables(free_bytes_min=2 * SIZE)
    first, *_ = [await keep(table, sample) for sample in SAMPLES[:3]]
    table.pins[first.task] += 1
    monkeypatch.setattr(StoreFolder, "free_bytes", lambda folder: SIZE)
    await table.keep_floor()
    assert set(table.blobs) == {SAMPLES[0].task, SAMPLES[2].task}
    monkeypatch.setattr(StoreFolder, "free_bytes", lambda folder: 0)
    await table.keep_floor()
    assert set(table.blobs) == {SAMPLES[0].task}, "as much as may go, though it is not enough"


async def test_a_blob_beyond_the_quota_evicts_nothing(tables: Tables, tmp_path: Path) -> None:
    table = tables(blobs=2)
    await keep(table, SAMPLES[0])
    with pytest.raises(StoreFull):
        await table.create(header(Sample(9, 3 * SIZE)))
    assert folders(tmp_path) == [SAMPLES[0].digest.hex]


async def test_the_floor_of_free_bytes_is_kept(tables: Tables, tmp_path: Path) -> None:
    with pytest.raises(StoreFull):
        await tables(free_bytes_min=1 << 60).create(header(SAMPLES[0]))
    assert folders(tmp_path) == []


async def test_a_file_system_that_refuses_room_makes_others_go_once(
    tables: Tables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(fd: int, offset: int, size: int) -> None:
        raise OSError(errno.ENOSPC, "no room")

    table = tables()
    for sample in SAMPLES[:2]:
        await keep(table, sample)
    with monkeypatch.context() as broken:
        broken.setattr(os, "posix_fallocate", refuse)
        with pytest.raises(StoreFull):
            await table.create(header(SAMPLES[2]))
    assert folders(tmp_path) == []
    await keep(table, SAMPLES[0])
    monkeypatch.setattr(os, "posix_fallocate", refuse)
    with pytest.raises(StoreFull):
        await table.create(header(SAMPLES[2]))
    assert set(table.blobs) == {SAMPLES[0].task}, "it was of no use a moment ago"


async def test_a_limit_of_a_files_size_costs_no_other_blob(tables: Tables) -> None:
    table = tables()
    await keep(table, SAMPLES[0])
    with files_up_to(SIZE - 1), pytest.raises(StoreError, match="File too large"):
        await table.create(header(SAMPLES[1]))
    assert set(table.blobs) == {SAMPLES[0].task}


async def test_a_blob_that_cannot_be_opened_now_is_neither_lost_nor_trusted(
    tables: Tables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await keep(tables(), SAMPLES[0])
    table = tables()
    blob = table.blobs[SAMPLES[0].task]
    blob.verified = False
    with monkeypatch.context() as broken:
        broken.setattr(PieceFile, "on_disk", fail_to_open)
        with pytest.raises(StoreError, match="cannot be opened"):
            await table.verified(blob.task)
    assert folders(tmp_path) == [SAMPLES[0].digest.hex]
    assert await table.verified(blob.task) is blob
    assert blob.verified


def fail_to_open(path: Path, pieces: PieceMap) -> PieceFile:
    raise OSError(errno.EMFILE, "Too many open files")


async def test_a_state_that_cannot_be_read_now_is_there_at_the_next_start(
    tables: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    await keep(tables(), SAMPLES[0])
    with monkeypatch.context() as broken:
        broken.setattr(disk_blob, "read_state", fail)
        assert not tables().blobs
    assert set(tables().blobs) == {SAMPLES[0].task}


async def test_a_folder_that_cannot_be_made_is_no_lack_of_room(tables: Tables, tmp_path: Path) -> None:
    table = tables()
    (tmp_path / "blobs" / "sha256").write_text("in the way")
    with pytest.raises(StoreError, match="cannot be made") as refused:
        await table.create(header(SAMPLES[0]))
    assert not isinstance(refused.value, StoreFull)


async def test_damage_is_found_when_nobody_knows_how_it_was_left(tables: Tables) -> None:
    table = tables()
    await keep(table, SAMPLES[0])
    await keep(table, SAMPLES[1])
    table._faithful = False  # as after a crash
    table = tables()
    assert [blob.verified for blob in table.blobs.values()] == [False, False]
    damage(table, SAMPLES[0], 2)
    found = await table.verified(SAMPLES[0].task)
    assert found is not None
    assert (found.bits, found.complete, found.verified) == (0b1011, False, True)
    whole = await table.verified(SAMPLES[1].task)
    assert whole is not None
    assert (whole.complete, whole.verified) == (True, True)
    assert [note.name for note in table.problems] == ["store_pieces_damaged"]
    again = tables().blobs[SAMPLES[0].task]
    assert (again.bits, again.verified) == (0b1011, True)


async def test_a_clean_stop_leaves_in_doubt_only_what_was_not_verified(tables: Tables) -> None:
    table = tables()
    await keep(table, SAMPLES[0])
    await keep(table, SAMPLES[1])
    table._faithful = False  # as after a crash
    await tables().verified(SAMPLES[0].task)
    for _ in range(2):
        blobs = tables().blobs
        assert (blobs[SAMPLES[0].task].verified, blobs[SAMPLES[1].task].verified) == (True, False)


async def test_another_kind_of_piece_digest_is_made_from_bytes_that_are_right(tables: Tables) -> None:
    await keep(tables(), SAMPLES[0])
    table = tables(kind="blake3")
    damage(table, SAMPLES[0], 1)
    blob = await table.verified(SAMPLES[0].task)
    assert blob is not None
    other = Sample(1, kind="blake3")
    assert blob.records == tuple(other.record(index, 0) for index in (0, 2, 3))
    assert tables(kind="blake3").blobs[SAMPLES[0].task].records == blob.records


async def test_data_that_is_gone_takes_its_blob_along(tables: Tables, tmp_path: Path) -> None:
    table = tables()
    evicted: list[TaskId] = []
    table.on_evicted = evicted.append
    for sample in SAMPLES[:2]:
        await keep(table, sample)
        next(tmp_path.glob(f"blobs/*/*/{sample.digest.hex}/data")).unlink()
    with pytest.raises(StoreError, match="is gone from the disk"):
        table.file(table.blobs[SAMPLES[0].task])
    await table.verify(table.blobs[SAMPLES[1].task])
    assert table.blobs == {}
    assert evicted == [SAMPLES[0].task, SAMPLES[1].task]
    assert folders(tmp_path) == []


async def test_a_file_that_stays_open_is_no_use_of_its_blob(tables: Tables) -> None:
    table = tables(blobs=1)
    blob = await keep(table, SAMPLES[0])
    first = table.file(blob)
    assert blob.in_use
    first.release()
    assert not blob.in_use
    second = table.file(blob)
    assert second is first
    second.release()
    await table.create(header(SAMPLES[1]))  # takes its room
    assert first.references == 0


async def test_data_that_goes_while_it_stays_open_takes_its_blob_along(
    tables: Tables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk_blob, "LOOK_S", 0.0)
    table = tables()
    blob = await keep(table, SAMPLES[0])
    file = table.file(blob)
    file.release()
    next(tmp_path.glob("blobs/*/*/*/data")).unlink()
    with pytest.raises(StoreError, match="is gone from the disk"):
        table.file(blob)
    assert (table.blobs, file.references) == ({}, 0)


async def test_few_files_stay_open(tables: Tables) -> None:
    samples = [Sample(fill, size=9) for fill in range(OPEN_MAX + 1)]
    table = tables()
    files = []
    for sample in samples:
        files.append(table.file(await keep(table, sample)))
        files[-1].release()
        table.file(table.blobs[samples[0].task]).release()  # this one is used all the time
    assert [file.references for file in files] == [1, 0, *[1] * (OPEN_MAX - 1)]
    table.close()
    assert not any(file.references for file in files)


def test_problems_do_not_pile_up(tables: Tables) -> None:
    table = tables()
    for _ in range(PROBLEMS_MAX + 1):
        table.report("verify_failed", None, "why")
    assert len(table.problems) == PROBLEMS_MAX
    assert table.problems[0].fields == (("reason", "why"),)


def test_a_blob_that_is_not_there(tables: Tables) -> None:
    with pytest.raises(StoreError, match="is not in the store any more"):
        tables().present(SAMPLES[0].task)
