import os
from pathlib import Path

import pytest

from dfdaemon.io.store_folder import StoreFolder
from swarm.digest import Digest
from swarm.errors import StoreBroken, StoreTooNew


def everything(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_a_new_folder_gets_its_version(tmp_path: Path) -> None:
    folder = StoreFolder(str(tmp_path / "a" / "b"))
    assert (folder.path / "format").read_text() == "1\n"
    assert not folder.was_clean
    assert folder.free_bytes() > 0
    folder.close(clean=False)


def test_its_version_is_on_the_disk_before_anything_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[tuple[str, bool]] = []

    def sync(fd: int) -> None:
        synced.append((os.readlink(f"/proc/self/fd/{fd}"), (tmp_path / "blobs").exists()))

    monkeypatch.setattr(os, "fsync", sync)
    StoreFolder(str(tmp_path)).close(clean=False)
    assert synced == [(str(tmp_path / "format.new"), False), (str(tmp_path), False)]


def test_a_blob_lies_under_its_algorithm_and_first_digits(tmp_path: Path) -> None:
    folder = StoreFolder(str(tmp_path))
    digest = Digest.of(b"layer")
    assert folder.place(digest) == tmp_path / "blobs" / "sha256" / digest.hex[:2] / digest.hex
    folder.close(clean=False)


def test_only_what_is_named_as_a_blob_is_found(tmp_path: Path) -> None:
    folder = StoreFolder(str(tmp_path))
    digests = [Digest.of(b"one"), Digest.of(b"two", "sha512")]
    for digest in digests:
        folder.place(digest).mkdir(parents=True)
    ours = tmp_path / "blobs" / "sha256"
    (ours / "ab" / ("cd" + "0" * 62)).mkdir(parents=True)
    (ours / "ab" / "notes").mkdir()
    (tmp_path / "blobs" / "md5" / "ab" / ("ab" + "0" * 30)).mkdir(parents=True)
    assert sorted(folder.scan(), key=str) == sorted(((d, folder.place(d)) for d in digests), key=str)
    folder.close(clean=False)


@pytest.mark.parametrize("clean", [False, True])
def test_the_next_one_knows_how_it_was_left(tmp_path: Path, clean: bool) -> None:
    StoreFolder(str(tmp_path)).close(clean=clean)
    second = StoreFolder(str(tmp_path))
    assert second.was_clean is clean
    assert not (tmp_path / "clean").exists(), "if this one dies, it was not clean"
    second.close(clean=False)


def test_a_clean_stop_before_a_reboot_does_not_count(tmp_path: Path) -> None:
    StoreFolder(str(tmp_path)).close(clean=True)
    (tmp_path / "clean").write_text("the-boot-before")
    folder = StoreFolder(str(tmp_path))
    assert not folder.was_clean
    folder.close(clean=False)


def test_a_clean_stop_may_leave_blobs_in_doubt(tmp_path: Path) -> None:
    good, doubtful = Digest.of(b"one"), Digest.of(b"two")
    StoreFolder(str(tmp_path)).close(clean=True, doubtful=[doubtful])
    folder = StoreFolder(str(tmp_path))
    assert (folder.trusts(good), folder.trusts(doubtful)) == (True, False)
    folder.close(clean=False)
    folder = StoreFolder(str(tmp_path))
    assert not folder.trusts(good)
    folder.close(clean=False)


def test_the_mark_of_a_stop_without_doubt_is_what_earlier_versions_know(tmp_path: Path) -> None:
    StoreFolder(str(tmp_path)).close(clean=True)
    assert (tmp_path / "clean").read_text() == Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def test_a_folder_in_use_is_refused_until_it_is_left(tmp_path: Path) -> None:
    first = StoreFolder(str(tmp_path))
    with pytest.raises(StoreBroken, match="in use by another daemon"):
        StoreFolder(str(tmp_path))
    first.close(clean=True)
    StoreFolder(str(tmp_path)).close(clean=True)


def test_a_newer_folder_is_not_touched(tmp_path: Path) -> None:
    StoreFolder(str(tmp_path)).close(clean=True)
    (tmp_path / "format").write_text("2\n")
    before = everything(tmp_path)
    with pytest.raises(StoreTooNew, match="has format 2, this version reads up to 1"):
        StoreFolder(str(tmp_path))
    assert everything(tmp_path) == before


@pytest.mark.parametrize("text", ["", "one", "-1", "1.5"])
def test_a_folder_whose_version_cannot_be_read_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "format").write_text(text)
    with pytest.raises(StoreBroken, match="expected a number"):
        StoreFolder(str(tmp_path))


def test_blobs_without_a_version_are_refused(tmp_path: Path) -> None:
    (tmp_path / "blobs").mkdir()
    with pytest.raises(StoreBroken, match="does not: empty the folder"):
        StoreFolder(str(tmp_path))


def test_a_place_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreBroken, match="Check its owner and mount"):
        StoreFolder(str(tmp_path / "file"))
