from pathlib import Path

import pytest

from dfdaemon.io.denied import FILE_NAME, DeniedContent
from swarm.digest import Digest
from swarm.errors import ContentDenied, StoreBroken
from swarm.facts import Note
from swarm.repositories import Denials

ONE, TWO = Digest.of(b"1"), Digest.of(b"2", "sha512")


def opened(folder: Path, notes: list[Note] | None = None) -> DeniedContent:
    return DeniedContent(str(folder), ([] if notes is None else notes).append)


def test_what_is_denied_outlives_the_daemon_until_it_is_allowed(tmp_path: Path) -> None:
    denied = opened(tmp_path)
    denied.check(ONE)
    assert denied.change(Denials((ONE.task, TWO.task))) == [ONE.task, TWO.task]
    again = opened(tmp_path)
    for digest in ONE, TWO:
        with pytest.raises(ContentDenied, match=str(digest)):
            again.check(digest)
    assert again.change(Denials((ONE.task,))) == [], "that is no news"
    assert again.change(Denials(allowed=(TWO.task,))) == []
    last = opened(tmp_path)
    last.check(TWO)
    assert last.listed() == (ONE.task,)
    assert ONE.task in last


def test_a_scheduler_that_knows_nothing_allows_nothing(tmp_path: Path) -> None:
    denied = opened(tmp_path)
    denied.change(Denials((ONE.task,)))
    denied.change(Denials())
    assert denied.listed() == (ONE.task,)


@pytest.mark.parametrize("text", ["", "{", "[3]", '["md5:0"]'])
def test_a_file_that_cannot_be_read_stops_the_start(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE_NAME).write_text(text)
    with pytest.raises(StoreBroken, match="repair or remove it"):
        opened(tmp_path)


def test_a_file_that_cannot_be_written_is_noted_and_the_denial_holds(tmp_path: Path) -> None:
    notes: list[Note] = []
    denied = opened(tmp_path / "missing", notes)
    denied.change(Denials((ONE.task,)))
    assert [note.name for note in notes] == ["denials_not_saved"]
    assert ONE.task in denied
