"""Files of a node: whole or not at all, with the mode and owner that they had."""

import os
from pathlib import Path

import pytest

from dfdaemon.io.install_files import FILE_BYTES_MAX, NodeFiles
from swarm.errors import ConfigError
from tests.support.unprivileged import as_nobody


@pytest.fixture
def files(tmp_path: Path) -> NodeFiles:
    return NodeFiles(tmp_path)


def test_a_text_reads_back_with_its_line_ends(files: NodeFiles) -> None:
    files.write("/etc/x", "a\r\nb\rc\n")
    assert files.read("/etc/x") == "a\r\nb\rc\n"
    assert files.read("/etc/y") is None
    assert files.read("/etc/y/z") is None


def test_a_new_file_and_its_folders_have_their_modes_whatever_the_umask(
    files: NodeFiles, tmp_path: Path
) -> None:
    old = os.umask(0o077)
    try:
        files.write("/a/b/x", "")
    finally:
        os.umask(old)
    assert (tmp_path / "a/b").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "a/b/x").stat().st_mode & 0o777 == 0o644


def test_an_old_file_keeps_its_mode_and_a_reader_its_text(files: NodeFiles, tmp_path: Path) -> None:
    place = tmp_path / "x"
    place.write_text("old")
    place.chmod(0o640)
    with place.open() as reader:
        files.write("/x", "new")
        assert reader.read() == "old"
    assert place.read_text() == "new"
    assert place.stat().st_mode & 0o777 == 0o640


@pytest.mark.needs(root=True)
def test_an_old_file_keeps_its_owner(files: NodeFiles, tmp_path: Path) -> None:
    (tmp_path / "x").write_text("old")
    os.chown(tmp_path / "x", 1234, 2345)
    files.write("/x", "new")
    status = (tmp_path / "x").stat()
    assert (status.st_uid, status.st_gid) == (1234, 2345)


def test_a_failure_leaves_the_old_text_and_nothing_else(
    files: NodeFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "x").write_text("old")

    def fail(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(ConfigError, match="/x cannot be written: Input/output error"):
        files.write("/x", "new")
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
    assert (tmp_path / "x").read_text() == "old"


def test_a_path_may_not_lead_out_of_the_root(files: NodeFiles, tmp_path: Path) -> None:
    (tmp_path / "out").symlink_to("/etc")
    with pytest.raises(ConfigError, match="outside of"):
        files.read("/out/hostname")
    with pytest.raises(ConfigError, match="outside of"):
        files.read("/../../etc/hostname")


def test_links_in_a_circle_are_refused(files: NodeFiles, tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    for look in files.read, files.exists, files.names, files.delete:
        with pytest.raises(ConfigError, match="/a cannot be followed: its symbolic links lead in a circle"):
            look("/a")
    with pytest.raises(ConfigError, match=r"--root .*/a cannot be used: .*circle"):
        NodeFiles(tmp_path / "a")


def test_what_may_not_be_known_is_told(files: NodeFiles, tmp_path: Path) -> None:
    files.write("/closed/x", "")
    (tmp_path / "closed").chmod(0o000)
    with as_nobody(), pytest.raises(ConfigError, match="/closed/x cannot be looked for: Permission denied"):
        files.exists("/closed/x")
    (tmp_path / "closed").chmod(0o700)


def test_what_is_no_text_and_what_is_too_large_is_refused(files: NodeFiles, tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes(b"\xe4")
    (tmp_path / "large").write_bytes(b"x" * (FILE_BYTES_MAX + 1))
    with pytest.raises(ConfigError, match="/latin is not UTF-8"):
        files.read("/latin")
    with pytest.raises(ConfigError, match="/large is larger than"):
        files.read("/large")
    with pytest.raises(ConfigError, match="/ cannot be read"):
        files.read("/")


def test_a_root_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--root .* cannot be used"):
        NodeFiles(tmp_path / "none")


def test_folders_are_listed_with_their_files(files: NodeFiles) -> None:
    files.write("/c/a/x", "")
    files.write("/c/b", "")
    assert files.folders("/c") == {"a": frozenset({"x"})}
    assert files.names("/c") == {"b"}
    assert files.folders("/none") == {}


def test_patterns_mean_files_below_the_root(files: NodeFiles) -> None:
    for name in ("b", "a"):
        files.write(f"/c/{name}.toml", "")
    assert files.matching("/c/*.toml") == ["/c/a.toml", "/c/b.toml"]
    assert files.matching("/c/none.toml") == ["/c/none.toml"]


def test_missing_folders_are_named_outer_ones_first(files: NodeFiles) -> None:
    files.write("/a/x", "")
    assert files.missing_folders("/a/b/c/y") == ["/a/b", "/a/b/c"]
    assert files.missing_folders("/a/y") == []


def test_only_empty_folders_are_deleted(files: NodeFiles) -> None:
    files.write("/a/x", "")
    assert not files.delete_folder("/a")
    files.delete("/a/x")
    files.delete("/a/x")
    assert files.delete_folder("/a")
    assert not files.exists("/a")
