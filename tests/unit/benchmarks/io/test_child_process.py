"""Processes of a benchmark that speak JSON lines."""

from pathlib import Path

import pytest

from benchmarks.io import child_process
from benchmarks.io.child_process import Child, ChildFailed

ECHO = """
import json, sys
for line in sys.stdin:
    print(json.dumps({"heard": json.loads(line)}), flush=True)
print("ended in peace", file=sys.stderr)
"""
BROKEN = 'raise SystemExit("nothing works here")'
SILENT = "import sys; sys.stdin.read()"


async def start(folder: Path, monkeypatch: pytest.MonkeyPatch, program: str) -> Child:
    (folder / "child_of_a_test.py").write_text(program)
    monkeypatch.syspath_prepend(str(folder))
    return await Child.start("child", folder, "child_of_a_test")


async def test_what_is_told_is_heard_and_the_end_is_orderly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    child = await start(tmp_path, monkeypatch, ECHO)
    for number in (1, 2):
        await child.tell({"number": number})
        assert await child.hear() == {"heard": {"number": number}}
    await child.stop()
    assert child.process.returncode == 0
    assert child.tail() == "ended in peace\n"
    await child.stop()


async def test_a_child_that_breaks_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    child = await start(tmp_path, monkeypatch, BROKEN)
    await child.tell({})
    with pytest.raises(ChildFailed, match="nothing works here"):
        await child.hear()


async def test_a_child_that_is_silent_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child_process, "SILENCE_S_MAX", 0.01)
    child = await start(tmp_path, monkeypatch, SILENT)
    with pytest.raises(ChildFailed, match="said nothing for"):
        await child.hear()
    await child.stop()
