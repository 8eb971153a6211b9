"""The sender in C: it sends all, keeps to its rate, and says what it cost."""

from pathlib import Path

import pytest

from benchmarks.io.c_program import CProgramFailed
from benchmarks.io.held_sender import HeldSender

pytestmark = pytest.mark.needs("build-essential")
COUNT = 2_000_000


async def test_it_sends_all_and_keeps_to_its_rate(tmp_path: Path) -> None:
    file = tmp_path / "data"
    file.write_bytes(bytes(300_000))
    sender = await HeldSender.compile(tmp_path)
    free = await sender.run(file, COUNT)
    held = await sender.run(file, COUNT, 10 * COUNT)
    assert free.bytes >= COUNT <= held.bytes
    assert held.seconds >= COUNT / (10 * COUNT)
    assert free.cpu_s > 0 < held.cpu_s


async def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    sender = await HeldSender.compile(tmp_path)
    with pytest.raises(CProgramFailed, match="No such file"):
        await sender.run(tmp_path / "absent", COUNT)
