"""A file that changes."""

import os
from pathlib import Path

import pytest

from dfdaemon.credentials import BadCredentials
from dfdaemon.io.watched_file import FILE_BYTES_MAX, WatchedFile
from swarm.errors import OurselvesError


def test_it_is_read_once_and_again_when_it_changed(tmp_path: Path) -> None:
    read: list[str] = []

    def note(text: str) -> str:
        read.append(text)
        return text.upper()

    path = tmp_path / "secret"
    path.write_text("one")
    file = WatchedFile(str(path), note)
    assert [file.value(), file.value()] == ["ONE", "ONE"]
    path.write_text("other")
    assert file.value() == "OTHER"
    assert read == ["one", "other"]


def test_a_mounted_secret_changes_by_its_link(tmp_path: Path) -> None:
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "password").write_text(name)
        os.utime(tmp_path / name / "password", ns=(0, 0))
    (tmp_path / "data").symlink_to("old")
    file = WatchedFile(str(tmp_path / "data/password"), str)
    assert file.value() == "old"
    (tmp_path / "next").symlink_to("new")
    (tmp_path / "next").rename(tmp_path / "data")
    assert file.value() == "new"


@pytest.mark.parametrize("content", [b"bad", b"\xff\xfe", b"x" * (FILE_BYTES_MAX + 1), None])
def test_what_cannot_be_used_is_named_and_not_quoted(tmp_path: Path, content: bytes | None) -> None:
    def refuse(text: str) -> str:
        raise BadCredentials("it is wrong")

    path = tmp_path / "secret"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(OurselvesError) as caught:
        WatchedFile(str(path), refuse).value()
    assert str(path) in str(caught.value)
    assert "bad" not in str(caught.value)
    path.write_text("good")
    assert WatchedFile(str(path), str).value() == "good"
