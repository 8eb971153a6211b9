from pathlib import Path

import pytest

from scheduler.commands import SaveDenials
from scheduler.io.denials_file import DenialsFile
from swarm.errors import ConfigError
from tests.support.scheduler_playbook import BLOB

SAVED = SaveDenials(((BLOB, 'has "a key" in it'),), (BLOB.replace("b", "c"),))


def test_what_is_saved_is_there_for_the_next_scheduler(tmp_path: Path) -> None:
    path = str(tmp_path / "denials.json")
    assert DenialsFile(path).load() == ({}, ())
    file = DenialsFile(path)
    file.save(SaveDenials((), ()))
    file.save(SAVED)
    assert file.error == ""
    assert DenialsFile(path).load() == (dict(SAVED.denied), SAVED.allowed)
    assert [entry.name for entry in tmp_path.iterdir()] == ["denials.json"]


def test_without_a_path_nothing_is_kept() -> None:
    file = DenialsFile("")
    file.save(SAVED)
    assert (file.load(), file.error) == (({}, ()), "")


def test_a_file_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    file = DenialsFile(str(tmp_path / "missing" / "denials.json"))
    file.save(SAVED)
    assert file.error.endswith("cannot be written: No such file or directory")


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"denied": {"md5:0": ""}, "allowed": []}', '{"denied": 3}']
)
def test_a_file_that_cannot_be_read_stops_the_start(tmp_path: Path, text: str) -> None:
    path = tmp_path / "denials.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match="repair or remove it"):
        DenialsFile(str(path)).load()
