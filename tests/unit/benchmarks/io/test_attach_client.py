import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc

from benchmarks.io.attach_client import AttachedDaemon, Blob, Traffic
from scheduler.config import SchedulerConfig
from scheduler.machine import SchedulerMachine
from swarm.dice import Dice
from swarm.ids import TaskId
from tests.support.attach import Scheduler

DAEMONS = 3
BLOB = Blob(TaskId("sha256:" + 64 * "a"), 64 << 20, download_s=0.1)


@asynccontextmanager
async def attached(machine: SchedulerMachine, traffic: Traffic) -> AsyncIterator[list[AttachedDaemon]]:
    """Daemons that share one connection to a real scheduler."""
    async with Scheduler(machine).running() as address, grpc.aio.insecure_channel(address) as channel:
        daemons = [AttachedDaemon(number, channel, traffic) for number in range(DAEMONS)]
        await asyncio.gather(*(daemon.open() for daemon in daemons))
        yield daemons
        for daemon in daemons:
            await daemon.close()


async def test_a_download_is_told_from_its_join_to_its_end() -> None:
    machine, traffic = SchedulerMachine(SchedulerConfig(), Dice(1)), Traffic()
    async with attached(machine, traffic) as daemons, asyncio.timeout(10.0):
        answers = await asyncio.gather(*(daemon.join(BLOB) for daemon in daemons))
        assert max(answers) > 0
        await asyncio.gather(*(daemon.download(BLOB) for daemon in daemons))
        while (task := machine.cluster.tasks[BLOB.task]).complete < DAEMONS:  # noqa: ASYNC110
            await asyncio.sleep(0)
        machine.validate()
        assert task.records(), "lease owners told the digests of what they fetched"
    assert traffic.sent["Join"] == traffic.heard["task_info"] == DAEMONS
    assert traffic.heard["lease"] >= 1
    assert traffic.heard["no_source"] == 0
