"""The process beside a benchmark: it sees how late the machine makes a loop that has nothing to do."""

import asyncio
import os
import signal
from pathlib import Path

from benchmarks.io.bystander import bystander

STOPPED_S = 0.3


async def test_it_tells_what_it_saw_since_it_was_last_asked(tmp_path: Path) -> None:
    async with bystander(tmp_path) as other:
        await asyncio.sleep(0.1)
        os.kill(other.child.process.pid, signal.SIGSTOP)
        await asyncio.sleep(STOPPED_S)
        os.kill(other.child.process.pid, signal.SIGCONT)
        await asyncio.sleep(0.1)
        late = await other.figures()
        await asyncio.sleep(0.1)
        later = await other.figures()
    assert late["bystander_loop_lag_ms_p99"] == late["bystander_loop_lag_ms_p999"] >= 250
    assert 0 < later["bystander_loop_lag_ms_p999"] < 250
    assert other.child.process.returncode == 0
