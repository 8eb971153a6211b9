"""A process that does nothing but watch its event loop, as a daemon does: how late the machine alone makes it.

Speaks JSON lines with its parent: each line that comes is answered with the buckets so far.
"""

import asyncio
import io
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import uvloop

from benchmarks.io.child_process import Child
from benchmarks.io.daemon_lag import Buckets, buckets_of, lag_figures
from dfdaemon.io.loop_lag import watch_lag
from swarm.io.telemetry import Telemetry


@dataclass(slots=True)
class Bystander:
    """The running process, and what it had seen when it was last asked."""

    child: Child
    seen: Buckets

    async def figures(self) -> dict[str, float]:
        """Return its loop's lag since it was last asked, in milliseconds; raises ChildFailed."""
        before, self.seen = self.seen, await _ask(self.child)
        return {f"bystander_{name}": value for name, value in lag_figures(self.seen, before).items()}


@asynccontextmanager
async def bystander(folder: Path) -> AsyncIterator[Bystander]:
    """Have one beside what is measured; its log goes into `folder`. Raises ChildFailed."""
    child = await Child.start("bystander", folder, "benchmarks.io.bystander")
    try:
        yield Bystander(child, await _ask(child))
    finally:
        await child.stop()


async def _ask(child: Child) -> Buckets:
    await child.tell({})
    return {float(bound): count for bound, count in (await child.hear()).items()}


async def run() -> None:
    """Watch, and answer until standard input ends."""
    telemetry = Telemetry("daemon", stream=io.StringIO())
    watching = asyncio.create_task(watch_lag(partial(telemetry.observe, "loop_lag_seconds"), lambda: True))
    while await asyncio.to_thread(sys.stdin.readline):
        print(json.dumps(buckets_of(telemetry.exposition()[0].decode())), flush=True)
    watching.cancel()


if __name__ == "__main__":
    uvloop.run(run())
