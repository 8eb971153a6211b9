"""A process with the streams of many daemons to one scheduler.

The program of a process of `dfbench attach`: it reads an AttachTask from standard input and attaches; each further line
is a Round, in which all its daemons download one blob. Answers are lines of JSON (benchmarks/io/child_process.py).
"""

import asyncio
import gc
import json
import sys
import time
from dataclasses import dataclass
from typing import Any

import grpc

from benchmarks.io.attach_client import AttachedDaemon, Blob, Traffic
from swarm.ids import TaskId
from swarm.io import event_loop
from swarm.io.channel import client_options

OPEN_AT_ONCE = 100
"""Streams that a process opens together: a connection whose handshake takes too long is given up."""


@dataclass(frozen=True, slots=True)
class AttachTask:
    """Which daemons, by number, a process shall be, and how many of them share a connection."""

    scheduler: str
    first: int
    count: int
    daemons_per_connection: int


@dataclass(frozen=True, slots=True)
class Round:
    """One blob for all. Arrivals are spread evenly over `spread_s`; 0: all at once. Seconds."""

    task: str
    size: int
    spread_s: float
    download_s: float
    answer_s_max: float


class Worker:
    """The daemons of this process."""

    def __init__(self, task: AttachTask) -> None:
        self.traffic = Traffic()
        connections = [
            grpc.aio.insecure_channel(task.scheduler, options=client_options())
            for _ in range(-(-task.count // task.daemons_per_connection))
        ]
        self.daemons = [
            AttachedDaemon(
                task.first + number, connections[number // task.daemons_per_connection], self.traffic
            )
            for number in range(task.count)
        ]

    async def open(self) -> None:
        """Attach all."""
        slots = asyncio.Semaphore(OPEN_AT_ONCE)

        async def one(daemon: AttachedDaemon) -> None:
            async with slots:
                await daemon.open()

        async with asyncio.TaskGroup() as group:
            for daemon in self.daemons:
                group.create_task(one(daemon))

    async def join(self, asked: Round, downloads: list[asyncio.Task[None]]) -> list[float]:
        """Let all join, and begin to download once answered; returns the seconds to each answer that came in time."""
        blob = Blob(TaskId(asked.task), asked.size, asked.download_s)
        loop, answers = asyncio.get_running_loop(), []

        async def one(number: int, daemon: AttachedDaemon) -> None:
            await asyncio.sleep(asked.spread_s * number / len(self.daemons))
            try:
                async with asyncio.timeout(asked.answer_s_max):
                    answers.append(await daemon.join(blob))
            except TimeoutError:
                return
            downloads.append(loop.create_task(daemon.download(blob)))

        async with asyncio.TaskGroup() as group:
            for number, daemon in enumerate(self.daemons):
                group.create_task(one(number, daemon))
        return answers


def _say(message: dict[str, Any]) -> None:
    print(json.dumps(message), flush=True)


async def run() -> None:
    """Do what standard input says, until it ends."""
    worker = Worker(AttachTask(**json.loads(sys.stdin.readline())))
    await worker.open()
    gc.collect()
    gc.freeze()
    _say({"attached": len(worker.daemons)})
    while line := await asyncio.to_thread(sys.stdin.readline):
        worker.traffic.sent.clear()
        worker.traffic.heard.clear()
        downloads: list[asyncio.Task[None]] = []
        _say({"answers_s": await worker.join(Round(**json.loads(line)), downloads)})
        began = time.monotonic()
        await asyncio.gather(*downloads)
        _say({"sent": worker.traffic.sent, "heard": worker.traffic.heard, "rest_s": time.monotonic() - began})
    for daemon in worker.daemons:
        await daemon.close()


def main() -> None:
    """One process."""
    event_loop.run(run())


if __name__ == "__main__":
    main()
