"""What was done to a node is written down before it is done."""

import stat
from pathlib import Path

import pytest

from dfdaemon.install.plan import Edit
from dfdaemon.io.install_files import NodeFiles
from dfdaemon.io.install_journal import FOLDER, Journal, alone
from swarm.errors import ConfigError
from tests.support.unprivileged import as_nobody

URL = "http://127.0.0.1:4001"


@pytest.fixture
def files(tmp_path: Path) -> NodeFiles:
    return NodeFiles(tmp_path)


def test_a_journal_tells_the_text_without_us_before_and_after_the_change(files: NodeFiles) -> None:
    files.write("/f", "old\n")
    journal = Journal(files, "containerd")
    assert not journal.recorded
    journal.remember([Edit("/f", "old\n", "new\n")], URL, ("_default",))
    for text in ("old\n", "new\n"):
        files.write("/f", text)
        again = Journal(files, "containerd")
        assert again.recorded
        assert again.record.registries == ("_default",)
        assert again.base("/f") == "old\n"
    assert again.base("/other") is None


def test_folders_that_will_be_made_are_remembered_once(files: NodeFiles) -> None:
    edits = [Edit("/etc/c/a/x", None, "1"), Edit("/etc/c/b/x", None, "1")]
    journal = Journal(files, "containerd")
    journal.remember(edits, URL, ())
    own = ["/etc", "/etc/damselfly", FOLDER, f"{FOLDER}/containerd"]
    assert sorted(journal.record.folders) == sorted([*own, "/etc/c", "/etc/c/a", "/etc/c/b"])


def test_only_what_is_kept_is_for_root_alone(files: NodeFiles, tmp_path: Path) -> None:
    """dfdaemon may run as somebody else, and its configuration and token lie in /etc/damselfly."""
    Journal(files, "containerd").remember([Edit("/f", "old", "new")], URL, ())
    modes = {
        folder: stat.S_IMODE((tmp_path / folder.lstrip("/")).stat().st_mode)
        for folder in ("/etc", "/etc/damselfly", FOLDER, f"{FOLDER}/containerd")
    }
    assert list(modes.values()) == [0o755, 0o755, 0o700, 0o700]


def test_a_copy_that_is_no_longer_needed_goes(files: NodeFiles) -> None:
    journal = Journal(files, "k3s")
    for old in ("one", "two"):
        journal.remember([Edit("/f", old, f"{old} changed")], URL, ())
    assert len([name for name in files.names(f"{FOLDER}/k3s") if name.endswith(".before")]) == 1
    journal.forget()
    assert not files.exists(FOLDER)


def test_a_changed_copy_is_not_put_back(files: NodeFiles) -> None:
    journal = Journal(files, "k3s")
    journal.remember([Edit("/f", "old", "new")], URL, ())
    (entry,) = journal.record.entries
    files.write(f"{FOLDER}/k3s/{entry.backup}", "forged")
    with pytest.raises(ConfigError, match="the copy of /f, is missing or was changed"):
        journal.backup(entry)


def test_one_at_a_time(files: NodeFiles) -> None:
    with alone(files), pytest.raises(ConfigError, match="wait for it"), alone(files):
        pass
    with alone(files):
        pass


def test_a_root_that_may_not_be_read_is_told(files: NodeFiles, tmp_path: Path) -> None:
    tmp_path.chmod(0o000)
    locked = "cannot be locked: Permission denied; run this as root"
    with as_nobody(), pytest.raises(ConfigError, match=locked), alone(files):
        pass
    tmp_path.chmod(0o700)
