"""Flame graphs of a running process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.io.flame_graph import NoProfiler, flame_graph


async def test_without_a_file_nothing_is_drawn() -> None:
    async with flame_graph(os.getpid(), None):
        pass


async def test_a_process_that_is_gone_is_an_error(tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    with pytest.raises(NoProfiler, match="drew nothing"):
        async with flame_graph(gone.pid, tmp_path / "graph.svg"):
            pass


@pytest.mark.needs(root=True)
async def test_what_a_process_does_is_drawn(tmp_path: Path) -> None:
    busy = subprocess.Popen([sys.executable, "-c", "def spin():\n    while True: pass\nspin()"])
    try:
        async with flame_graph(busy.pid, tmp_path / "graph.svg"):
            pass
    finally:
        busy.kill()
        busy.wait()
    assert "spin" in (tmp_path / "graph.svg").read_text()
