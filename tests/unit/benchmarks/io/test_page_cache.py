"""Bounding and warming a benchmark's memory, on folders that look like control groups."""

import os
from pathlib import Path

import pytest

from benchmarks.io.page_cache import bounded_memory, warm_pages


def group(root: Path, lines: str, *folders: str) -> Path:
    for folder in folders:
        (root / folder).mkdir(parents=True)
    own = root / "own"
    own.write_text(lines)
    return own


@pytest.mark.parametrize(
    ("lines", "parent", "name"),
    [
        ("5:memory:/a/b\n1:cpu:/c\n", "memory/a/b", "memory.limit_in_bytes"),
        ("0::/a/b\n", "a/b", "memory.max"),
    ],
)
def test_a_run_has_a_group_of_its_own_with_its_limit(
    tmp_path: Path, lines: str, parent: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = group(tmp_path, lines, parent)
    made = tmp_path / parent / f"dfbench-{os.getpid()}"
    monkeypatch.setattr(
        "benchmarks.io.page_cache.REMOVE_S_MAX", 0.0
    )  # a real group is removed with its files
    with bounded_memory(12345, tmp_path, own) as bounded:
        assert bounded
        assert (made / name).read_text() == "12345"
        assert (made / "cgroup.procs").read_text() == str(os.getpid())
    assert (tmp_path / parent / "cgroup.procs").read_text() == str(os.getpid()), "it is where it was before"


def test_without_control_groups_nothing_is_bounded(tmp_path: Path) -> None:
    own = group(tmp_path, "5:memory:/a\n")
    with bounded_memory(12345, tmp_path, own) as bounded:
        assert not bounded
    assert not (tmp_path / "memory").exists()


def test_a_filling_is_as_large_as_asked_and_is_gone_afterwards(tmp_path: Path) -> None:
    file = tmp_path / "warm"
    with warm_pages(file, 3_000_000):
        assert file.stat().st_size == 3_000_000
    assert not file.exists()


def test_a_filling_is_gone_when_what_it_was_made_for_fails(tmp_path: Path) -> None:
    file = tmp_path / "warm"
    with pytest.raises(ZeroDivisionError), warm_pages(file, 0):
        assert 1 / 0
    assert not file.exists()
