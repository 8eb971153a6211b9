"""A limit on the memory of a running process."""

import os
from pathlib import Path

import pytest

from benchmarks.io.memory_limit import MemoryGroup, limited_memory
from benchmarks.io.page_cache import ROOT


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n"),
        ("memory.events", "low 0\nhigh 0\nmax 7\noom 3\noom_kill 3\n"),
    ],
)
def test_kills_are_read_in_both_versions(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    assert MemoryGroup(tmp_path).killed() == 3


def test_a_group_that_tells_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="tells nothing"):
        MemoryGroup(tmp_path).killed()


@pytest.mark.needs(root=True)
def test_a_process_is_held_and_let_go() -> None:
    with limited_memory(os.getpid(), 1 << 30) as group:
        limits = [group.folder / name for name in ("memory.limit_in_bytes", "memory.max")]
        assert [path.read_text().strip() for path in limits if path.exists()] == [str(1 << 30)]
        assert str(os.getpid()) in (group.folder / "cgroup.procs").read_text().split()
        assert group.killed() == 0
    assert not group.folder.exists()
    assert group.folder.parent in (ROOT, ROOT / "memory")
