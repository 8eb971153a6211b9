"""How far a fan-out is, for whoever watches: a line that changes on a terminal, some lines elsewhere."""

import asyncio
import time
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.live import Live

from benchmarks.io.child_process import Child
from benchmarks.report import Costs, NodeResult
from benchmarks.simulator.verdict import Sample

LINE_INTERVAL_S = 5.0
"""Pause between lines where they cannot be overwritten."""


class Progress:
    """Adds up what the processes report."""

    def __init__(self, console: Console, nodes: int, total_bytes: int, parts: int) -> None:
        self._console = console
        self._nodes = nodes
        self._total_bytes = total_bytes
        self._done = [0] * parts
        self._parts: list[dict[str, int]] = [{}] * parts
        self.samples = [Sample(0.0, 0, 0, 0)]
        """What had gone over the wire, whenever a process said so."""
        self._began = self._told = time.monotonic()
        self._live = Live(console=console, refresh_per_second=4, transient=True)

    def __enter__(self) -> "Progress":
        """Begin to show."""
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End to show."""
        self._live.stop()

    async def follow(self, part: int, worker: Child) -> dict[str, Any]:
        """Take the reports of one process until its results come; returns those."""
        while "results" not in (message := await worker.hear()):
            self._done[part] = message["done"]
            self._parts[part] = message
            if part == 0:  # one sample for a report of each: they come at nearly the same time
                self.samples.append(self._sample())
            self._show()
        return message

    def _sample(self) -> Sample:
        names = ("origin_bytes", "peer_bytes", "cross_zone_bytes")
        sums = (sum(part.get(name, 0) for part in self._parts) for name in names)
        return Sample(time.monotonic() - self._began, *sums)

    def _show(self) -> None:
        now, last = time.monotonic(), self._sample()
        received, seconds = last.origin_bytes + last.peer_bytes, now - self._began
        line = (
            f"{seconds:6.1f} s  {received / max(1, self._total_bytes):4.0%}"
            f"  {received / 1e9:6.2f} GB  {received / 1e9 / max(seconds, 0.001):5.2f} GB/s"
            f"  {sum(self._done)} of {self._nodes} daemons done"
        )
        if self._console.is_terminal:
            self._live.update(line)
        elif now - self._told >= LINE_INTERVAL_S:
            self._told = now
            self._console.print(line, highlight=False)


async def follow(
    console: Console, workers: Sequence[Child], nodes: int, total_bytes: int
) -> tuple[list[dict[str, Any]], list[Sample]]:
    """Let all processes go, and show how far they are; raises ChildFailed.

    Returns what each says at its end, and what went over the wire by when.
    """
    for worker in workers:
        await worker.tell({"go": True})
    with Progress(console, nodes, total_bytes, len(workers)) as progress:
        ended = await asyncio.gather(*(progress.follow(part, worker) for part, worker in enumerate(workers)))
    return ended, progress.samples


def results(ended: Iterable[dict[str, Any]]) -> list[NodeResult]:
    """Return the results of all nodes from what the processes said."""
    return [NodeResult(**result) for each in ended for result in each["results"]]


def costs(wall_s: float, others_cpu_s: float, ended: Iterable[dict[str, Any]]) -> Costs:
    """Return what a run took, with the CPU of processes that say nothing."""
    cpu_s = others_cpu_s + sum(each["cpu_s"] for each in ended)
    return Costs(wall_s, cpu_s, sum(each["rss_bytes"] for each in ended))
