"""A scheduler and daemons, all of them in the test's event loop: real sockets, real stores, one process."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.io.puller import Pull
from dfdaemon.__main__ import Threads, start_threads
from dfdaemon.config import PeerConfig
from scheduler.config import SchedulerConfig
from scheduler.machine import SchedulerMachine
from swarm.addresses import join_address
from swarm.dice import Dice
from tests.support.attach import WAIT_S, Scheduler
from tests.support.daemon import REGISTRY, RunningDaemon, daemon_config, running_daemon
from tests.support.mirror import Answer, ask

LOOK_S = 0.01


@dataclass(slots=True)
class Herd:
    """Daemons of one scheduler."""

    folder: Path
    origin_url: str
    scheduler: Scheduler
    machine: SchedulerMachine
    address: str
    threads: Threads

    @contextlib.asynccontextmanager
    async def daemon(
        self, name: str, *, alone: bool = False, mirror: dict[str, Any] | None = None, **settings: Any
    ) -> AsyncIterator[RunningDaemon]:
        """Run a daemon for the length of a block; `alone`: it does not attach."""
        config = daemon_config(
            self.folder, self.origin_url, name=name, scheduler="" if alone else self.address
        )
        config = replace(config, mirror=replace(config.mirror, **(mirror or {})), **settings)
        async with running_daemon(config, self.threads) as running:
            if not alone:
                await until(lambda: running.daemon.scheduler.attached)
            yield running


@contextlib.asynccontextmanager
async def herd(folder: Path, origin_url: str, config: SchedulerConfig | None = None) -> AsyncIterator[Herd]:
    """Run a scheduler for the length of a block, for daemons whose registry is at `origin_url`."""
    machine = SchedulerMachine(config or SchedulerConfig(), Dice(1))
    scheduler = Scheduler(machine)
    async with scheduler.running() as address, contextlib.AsyncExitStack() as closing:
        threads = start_threads(PeerConfig(), closing)
        yield Herd(folder, origin_url, scheduler, machine, address, threads)


async def until(holds: Any) -> None:
    """Wait until a condition of something in this process is true."""
    async with asyncio.timeout(WAIT_S):
        while not holds():  # noqa: ASYNC110 - what changes has no event of its own
            await asyncio.sleep(LOOK_S)


async def get(running: RunningDaemon, path: str, *headers: tuple[str, str], method: str = "GET") -> Answer:
    """Ask a daemon's mirror."""
    return await ask(running.mirror.port, method, f"{path}?ns={REGISTRY}", headers)


async def pull(running: RunningDaemon, repository: str, tag: str = "v1") -> Pull:
    """Pull an image through a daemon's mirror as containerd asks; every digest is checked. Raises PullFailed."""
    address = join_address(running.mirror.host, running.mirror.port)
    one = Pull(address, REGISTRY, repository, tag)
    await one.run()
    return one
