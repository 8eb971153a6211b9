import os
from collections.abc import Callable
from pathlib import Path
from threading import Event

import pytest

from dfdaemon.io.disk_blob import TOUCH_INTERVAL_S, DiskBlob, fill, reread
from dfdaemon.io.journal import Header
from swarm.errors import StoreBroken, StoreError
from swarm.ids import UNGRANTED, Epoch
from swarm.messages import PieceRecord
from tests.support.blobs import Sample, files_up_to

SAMPLE = Sample(1)
HEADER = Header(SAMPLE.digest, SAMPLE.pieces, "xxh3", "text/plain")
NOW = 1_000_000.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ab" / "blob"


@pytest.fixture
def blob(path: Path) -> DiskBlob:
    return DiskBlob.create(path, HEADER, NOW)


def again(path: Path) -> DiskBlob:
    return DiskBlob.load(path, SAMPLE.digest)


def test_a_new_blob_has_room_for_all_its_bytes(path: Path, blob: DiskBlob) -> None:
    status = (path / "data").stat()
    assert status.st_size == SAMPLE.size
    assert status.st_blocks * 512 >= SAMPLE.size
    assert (blob.bits, blob.complete, blob.is_whole, blob.in_use) == (0, False, False, False)
    assert again(path).stored() == blob.stored()


def test_records_come_back(path: Path, blob: DiskBlob) -> None:
    blob.commit(SAMPLE.record(2))
    blob.commit(SAMPLE.record(0))
    blob.commit(SAMPLE.record(2))
    assert blob.records == (SAMPLE.record(0), SAMPLE.record(2))
    assert again(path).stored() == blob.stored()
    blob.rest()


def test_a_record_that_cannot_be_is_refused(blob: DiskBlob) -> None:
    with pytest.raises(StoreError, match="has 4 pieces, there is no piece 4"):
        blob.commit(PieceRecord(4, bytes(16), Epoch(1)))
    with pytest.raises(StoreError, match="is not xxh3"):
        blob.commit(PieceRecord(0, bytes(32), Epoch(1)))
    assert blob.bits == 0


def test_a_record_that_cannot_be_written_is_not_there(path: Path, blob: DiskBlob) -> None:
    (path / "state").unlink()
    with pytest.raises(StoreError, match=r"piece 0 of .* cannot be recorded"):
        blob.commit(SAMPLE.record(0))
    assert (blob.bits, blob.records) == (0, ())


def test_complete_comes_back(path: Path, blob: DiskBlob) -> None:
    for record in SAMPLE.records():
        blob.commit(record)
    assert blob.is_whole
    assert not again(path).complete
    blob.mark_complete()
    blob.mark_complete()
    assert again(path).complete


def test_all_pieces_are_recorded_at_once(path: Path, blob: DiskBlob) -> None:
    blob.commit(SAMPLE.record(1))
    blob.finish(SAMPLE.records())
    assert blob.stored().complete
    assert again(path).stored() == blob.stored()
    (path / "state").unlink()
    with pytest.raises(FileNotFoundError):
        blob.finish(SAMPLE.records())


def test_half_of_a_new_blob_is_of_no_use(path: Path, blob: DiskBlob) -> None:
    whole = (path / "state").read_bytes()
    (path / "state").write_bytes(whole[:-1])
    with pytest.raises(StoreBroken):
        again(path)


def test_a_blob_in_part_is_never_complete(blob: DiskBlob) -> None:
    blob.commit(SAMPLE.record(0))
    with pytest.raises(AssertionError, match="lacks pieces"):
        blob.mark_complete()
    blob.rest()


def test_a_rewrite_replaces_what_was_recorded(path: Path, blob: DiskBlob) -> None:
    blob.commit(SAMPLE.record(0))
    blob.commit(SAMPLE.record(1))
    blob.rewrite((SAMPLE.record(1),), complete=False)
    assert blob.bits == 0b10
    blob.commit(SAMPLE.record(3))
    assert again(path).records == (SAMPLE.record(1), SAMPLE.record(3))
    blob.rest()


def test_a_torn_end_is_cut_so_that_the_next_record_fits(path: Path, blob: DiskBlob) -> None:
    blob.commit(SAMPLE.record(0))
    blob.commit(SAMPLE.record(1))
    blob.rest()
    os.truncate(path / "state", (path / "state").stat().st_size - 5)
    found = again(path)
    assert found.records == (SAMPLE.record(0),)
    found.commit(SAMPLE.record(2))
    found.rest()
    assert again(path).records == (SAMPLE.record(0), SAMPLE.record(2))


def test_a_folder_of_another_blob_or_size_is_of_no_use(path: Path, blob: DiskBlob) -> None:
    with pytest.raises(StoreBroken):
        DiskBlob.load(path, Sample(2).digest)
    os.truncate(path / "data", 5)
    with pytest.raises(StoreBroken, match=f"holds 5 bytes, the header says {SAMPLE.size}"):
        again(path)


def test_a_blob_that_cannot_be_made_leaves_nothing(path: Path) -> None:
    with files_up_to(SAMPLE.size - 1), pytest.raises(OSError, match="File too large"):
        DiskBlob.create(path, HEADER, NOW)
    assert not path.exists()


def test_its_file_is_shared_while_somebody_holds_it(blob: DiskBlob) -> None:
    first = blob.file()
    assert blob.file() is first
    assert blob.in_use
    first.release()
    first.release()
    assert not blob.in_use
    second = blob.file()
    assert second.references == 1
    second.release()


def test_a_file_apart_is_no_use_of_the_blob(blob: DiskBlob) -> None:
    apart = blob.file_apart()
    assert not blob.in_use
    file = blob.file()
    assert file is not apart
    file.release()
    apart.release()


def test_open_files_outlive_the_blob(path: Path, blob: DiskBlob) -> None:
    file = blob.file()
    os.pwrite(file.fd, b"still", 0)
    blob.delete()
    assert not path.exists()
    assert os.pread(file.fd, 5, 0) == b"still"
    file.release()
    blob.delete()


def test_its_pages_are_dropped_once_they_are_on_the_disk(
    path: Path, blob: DiskBlob, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[str, str, tuple[int, ...]]] = []

    def told(name: str) -> Callable[..., None]:
        return lambda fd, *rest: calls.append((name, os.readlink(f"/proc/self/fd/{fd}"), rest))

    monkeypatch.setattr(os, "fdatasync", told("sync"))
    monkeypatch.setattr(os, "posix_fadvise", told("advise"))
    blob.drop_pages()
    data = str(path / "data")
    assert calls == [("sync", data, ()), ("advise", data, (0, 0, os.POSIX_FADV_DONTNEED))]
    assert not blob.in_use
    blob.delete()
    with pytest.raises(FileNotFoundError):
        blob.drop_pages()


def test_the_time_of_last_use_comes_back(path: Path, blob: DiskBlob) -> None:
    blob.touch(NOW + TOUCH_INTERVAL_S)
    assert again(path).last_used == NOW + TOUCH_INTERVAL_S
    blob.touch(NOW + TOUCH_INTERVAL_S + 1)
    assert blob.last_used == NOW + TOUCH_INTERVAL_S + 1
    assert again(path).last_used == NOW + TOUCH_INTERVAL_S


def test_content_is_filled_in_with_its_records(blob: DiskBlob) -> None:
    file = blob.file()
    records = fill(file, SAMPLE.content, "xxh3")
    assert records == tuple(SAMPLE.record(index, UNGRANTED) for index in range(4))
    assert os.pread(file.fd, SAMPLE.size, 0) == SAMPLE.content
    file.release()


def test_reading_again_keeps_what_the_bytes_bear_out(blob: DiskBlob) -> None:
    file = blob.file()
    fill(file, SAMPLE.content, "xxh3")
    os.pwrite(file.fd, b"wrong", SAMPLE.pieces.start(2) + 77)
    kept = [SAMPLE.record(index) for index in (0, 1, 3)]
    assert list(reread(file, SAMPLE.records(), "xxh3", "xxh3", Event()).values()) == kept
    other = Sample(1, kind="blake3")
    assert reread(file, SAMPLE.records(), "xxh3", "blake3", Event()) == {
        i: other.record(i) for i in (0, 1, 3)
    }
    file.release()


def test_a_piece_that_cannot_be_read_is_not_kept(path: Path, blob: DiskBlob) -> None:
    file = blob.file()
    fill(file, SAMPLE.content, "xxh3")
    os.truncate(path / "data", SAMPLE.pieces.start(1))
    assert reread(file, SAMPLE.records(), "xxh3", "xxh3", Event()) == {0: SAMPLE.record(0)}
    file.release()
