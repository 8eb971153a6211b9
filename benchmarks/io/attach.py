"""dfbench attach: one real scheduler under the control messages of thousands of daemons, over real gRPC streams.

Daemons share processes but not connections, unless asked to; they hold no bytes and no stores (attach_client.py). Three
parts: all attach; all ask for one blob at once and download it; all ask for another, spread over ten seconds.
"""

import argparse
import asyncio
import hashlib
import json
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import aiohttp
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console

from benchmarks.io.arguments import count_of_bytes, new_file, positive
from benchmarks.io.attach_worker import AttachTask, Round
from benchmarks.io.child_process import Child, ChildFailed
from benchmarks.io.local_cluster import LocalCluster, ProcessFailed, local_cluster
from benchmarks.io.usage import cpu_s, rss_bytes
from benchmarks.report import lines, quantile

SPREAD_S = 10
"""Over which the second round's daemons arrive: a rolling start, where decisions shall take 50 ms at most."""
ANSWER_S_MAX = 60.0
"""Until a Join counts as unanswered; a herd shall be answered within 3 s."""
DECISIONS = "damselfly_scheduler_decision_seconds"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what can be asked for."""
    parser.add_argument("--daemons", type=positive, default=10_000, help="that attach (default 10000)")
    parser.add_argument(
        "--processes", type=positive, default=2, metavar="P", help="that hold them (default 2)"
    )
    parser.add_argument(
        "--daemons-per-connection", type=positive, default=1, metavar="N", help="(default 1, as real ones)"
    )
    parser.add_argument(
        "--blob-bytes", type=count_of_bytes, default=1 << 30, metavar="B", help="(default 1GiB: 256 pieces)"
    )
    parser.add_argument(
        "--download-s", type=positive, default=20, metavar="S", help="that each download takes (default 20)"
    )
    parser.add_argument(
        "--spread-s",
        type=positive,
        default=SPREAD_S,
        metavar="S",
        help="of arrivals, second round (default 10)",
    )
    parser.add_argument("--json", type=new_file, metavar="FILE", help="write the figures to a file too")


def run(options: argparse.Namespace) -> int:
    """Run, print; returns the exit status: 1 when a Join was not answered or sent to the origin."""
    console = Console(stderr=True)
    try:
        with tempfile.TemporaryDirectory(prefix="df") as folder:
            figures = asyncio.run(_Attach(options, Path(folder), console).run())
    except (ChildFailed, ProcessFailed) as error:
        console.print(f"the benchmark failed: {error}", markup=False)
        return 1
    for line in lines(figures):
        print(line)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")
    return 1 if figures["unanswered"] or figures["sent_to_origin"] else 0


class _Attach:
    """One run."""

    def __init__(self, options: argparse.Namespace, folder: Path, console: Console) -> None:
        self._options = options
        self._folder = folder
        self._console = console

    async def run(self) -> dict[str, Any]:
        """Start the scheduler, attach, and measure the two rounds."""
        options = self._options
        async with local_cluster(self._folder) as cluster:
            scheduler = await cluster.scheduler()
            (pid,) = cluster.pids()
            figures: dict[str, Any] = {
                "daemons": options.daemons,
                "daemons_per_connection": options.daemons_per_connection,
            }
            empty_bytes, cpu_before_s, began = rss_bytes(pid), cpu_s(pid), time.monotonic()
            workers = await self._start(scheduler)
            try:
                figures["attach_s"] = round(time.monotonic() - began, 3)
                figures["attach_cpu_s"] = round(cpu_s(pid) - cpu_before_s, 3)
                herd = await self._round(cluster, pid, workers, 0.0, "herd")
                spread = await self._round(cluster, pid, workers, options.spread_s, "spread")
            finally:
                await asyncio.gather(*(worker.stop() for worker in workers))
            figures["bytes_per_daemon"] = (rss_bytes(pid) - empty_bytes) // options.daemons
            for key in ("unanswered", "sent_to_origin"):
                figures[key] = herd.pop(key) + spread.pop(key)
            return figures | _named("herd", herd) | _named("spread", spread)

    async def _start(self, scheduler: str) -> list[Child]:
        """Start the processes; returns when all daemons are attached."""
        options, workers = self._options, []
        size = -(-options.daemons // min(options.processes, options.daemons))
        for part, first in enumerate(range(0, options.daemons, size)):
            worker = await Child.start(f"streams-{part}", self._folder, "benchmarks.io.attach_worker")
            workers.append(worker)
            count = min(size, options.daemons - first)
            await worker.tell(asdict(AttachTask(scheduler, first, count, options.daemons_per_connection)))
        for worker in workers:
            await worker.hear()
        self._console.print(f"{options.daemons} daemons are attached")
        return workers

    async def _round(
        self, cluster: LocalCluster, pid: int, workers: list[Child], spread_s: float, name: str
    ) -> dict[str, Any]:
        """Let all daemons download a blob of this name."""
        options = self._options
        task = f"sha256:{hashlib.sha256(name.encode()).hexdigest()}"
        asked = Round(task, options.blob_bytes, spread_s, options.download_s, ANSWER_S_MAX)
        decisions = await _decisions(cluster.scheduler_metrics)
        cpu_before_s, began = cpu_s(pid), time.monotonic()
        for worker in workers:
            await worker.tell(asdict(asked))
        answers = [answer for each in await _hear(workers) for answer in each["answers_s"]]
        answered_cpu_s = cpu_s(pid) - cpu_before_s
        traffic = await _hear(workers)
        seconds, used_s = time.monotonic() - began, cpu_s(pid) - cpu_before_s
        self._console.print(f"{name}: {len(answers)} answers, {seconds:.1f} s in all", highlight=False)
        sent, heard = _sum(traffic, "sent"), _sum(traffic, "heard")
        return {
            "answer_p50_s": round(quantile(answers, 0.5), 4),
            "answer_p99_s": round(quantile(answers, 0.99), 4),
            "answer_max_s": round(quantile(answers, 1.0), 4),
            "answered_cpu_s": round(answered_cpu_s, 2),
            "decision_p99_s": _p99(decisions, await _decisions(cluster.scheduler_metrics)),
            "messages_per_s": round((sent.total() + heard.total()) / seconds),
            "messages_per_cpu_s": round((sent.total() + heard.total()) / used_s),
            "cpu_cores": round(used_s / seconds, 3),
            "cpu_s_per_daemon": round(used_s / options.daemons, 6),
            "sent": dict(sorted(sent.items())),
            "heard": dict(sorted(heard.items())),
            "unanswered": options.daemons - len(answers),
            "sent_to_origin": heard["no_source"],
        }


def _named(part: str, figures: Mapping[str, Any]) -> dict[str, Any]:
    return {f"{part}_{name}": value for name, value in figures.items()}


async def _hear(workers: list[Child]) -> list[dict[str, Any]]:
    return await asyncio.gather(*(worker.hear() for worker in workers))


def _sum(traffic: list[dict[str, Any]], way: str) -> Counter[str]:
    total: Counter[str] = Counter()
    for each in traffic:
        total.update(each[way])
    return total


async def _decisions(metrics: str) -> dict[float, float]:
    """Return the scheduler's decisions so far, by the seconds that they took at most."""
    async with aiohttp.ClientSession() as session, session.get(f"http://{metrics}/metrics") as answer:
        text = await answer.text()
    return {
        float(sample.labels["le"]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == f"{DECISIONS}_bucket"
    }


def _p99(before: Mapping[float, float], after: Mapping[float, float]) -> float | None:
    """Return the bound of the bucket in which the 99th of 100 decisions between two scrapes lies."""
    made = {bound: after[bound] - before[bound] for bound in sorted(after)}
    total = max(made.values(), default=0)
    return next((bound for bound, count in made.items() if total and count >= 0.99 * total), None)
