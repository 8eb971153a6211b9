"""dfbench fanout: many real daemons on this machine pull one image at once, over real sockets onto a real disk.

Daemons share processes, and the threads of their process; everything else each has for itself: ports, store, identity,
scheduler stream. The scheduler and the origin registry are processes of their own.
"""

import argparse
import asyncio
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import aiohttp
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console

from benchmarks.io.arguments import count_of_bytes, positive
from benchmarks.io.child_process import Child, ChildFailed
from benchmarks.io.fanout_limit import machine_limit
from benchmarks.io.fanout_progress import Progress
from benchmarks.io.fanout_worker import REPOSITORY, FanoutTask
from benchmarks.io.image import Image, blob_path, generate_image
from benchmarks.io.local_cluster import LocalCluster, ProcessFailed, local_cluster
from benchmarks.io.page_cache import bounded_memory, warm_pages
from benchmarks.report import Costs, Links, MachineLimit, NodeResult, Run, figures, fluid_limit_s, lines

DAEMONS_PER_PROCESS = 125
"""With some 80 sockets each, half of the 20,000 file descriptors that a process may have."""
PROCESSES_MIN = 2
"""So that both cores of a small machine have work."""
PAGE_CACHE_BYTES = 4 << 30
"""For the files of all daemons: more than the kernel lets be dirty, and what is read again soon stays in it."""
DAEMON_BYTES = 2 << 20
"""Memory of one daemon among many in a process."""
ORIGIN_BYTES_PER_S = 125_000_000
"""The origin's link when links are shaped: 1 Gbit/s."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what can be asked for."""
    parser.add_argument("--nodes", type=positive, default=50, help="daemons (default 50)")
    parser.add_argument(
        "--blob-bytes", type=count_of_bytes, default=32 << 20, metavar="B", help="of a layer (default 32MiB)"
    )
    parser.add_argument("--layers", type=positive, default=1, metavar="L", help="of that size (default 1)")
    parser.add_argument(
        "--link-bytes-per-s", type=count_of_bytes, default=0, metavar="X", help="rate of each node's link"
    )
    parser.add_argument(
        "--origin-bytes-per-s", type=count_of_bytes, default=0, metavar="X", help="rate of the origin's link"
    )
    parser.add_argument("--zones", type=positive, default=1, metavar="Z", help="the nodes lie in (default 1)")
    parser.add_argument("--processes", type=positive, metavar="P", help="that hold the daemons")
    parser.add_argument("--download-slots", type=positive, default=4, help="of each daemon (default 4)")
    parser.add_argument("--upload-slots", type=positive, default=4, help="of each daemon (default 4)")
    parser.add_argument("--seed", type=int, default=1, help="of the blobs and of the tree (default 1)")
    parser.add_argument(
        "--folder", type=Path, default=Path(tempfile.gettempdir()), help="where the stores are made"
    )
    parser.add_argument("--no-machine-limit", action="store_true", help="do not measure plain sockets first")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to a file too")


def run(options: argparse.Namespace) -> int:
    """Run, print; returns the exit status: 1 when a node failed."""
    return show(options, measure)


def show(options: argparse.Namespace, measure: Callable[[argparse.Namespace, Console], "Measured"]) -> int:
    """Print what a measurement showed, and write it down; returns the exit status: 1 when a node failed."""
    console = Console(stderr=True)
    try:
        measured = measure(options, console)
    except (ChildFailed, ProcessFailed) as error:
        console.print(f"the benchmark failed: {error}", markup=False)
        return 1
    for line in lines(measured.figures):
        print(line)
    for reason in sorted(set(measured.failures)):
        print(f"failed: {reason}")
    if options.json:
        options.json.write_text(json.dumps(measured.figures, indent=2) + "\n")
    return 1 if measured.failures else 0


@dataclass(frozen=True, slots=True)
class Measured:
    """What a run showed: its figures by name, and why nodes failed."""

    figures: dict[str, Any]
    failures: list[str]


def measure(options: argparse.Namespace, console: Console, make: "Make | None" = None) -> Measured:
    """Run; `make` makes the run. Raises ChildFailed and ProcessFailed."""
    limit_bytes = PAGE_CACHE_BYTES + options.nodes * DAEMON_BYTES
    with bounded_memory(limit_bytes) as bounded, _folder(options.folder) as folder:
        if not bounded:
            console.print("memory is not bounded (that takes root and cgroups): large runs are slower")
        fanout = (make or Fanout)(options, folder, console, limit_bytes if bounded else 0)
        measured = asyncio.run(fanout.run())
    return Measured(figures(measured) | fanout.conditions, measured.failures)


@contextmanager
def _folder(parent: Path) -> Iterator[Path]:
    """Make a folder with a short path (Unix sockets lie in it), and remove it however the run ends."""
    folder = Path(tempfile.mkdtemp(prefix="df", dir=parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


Make = Callable[[argparse.Namespace, Path, Console, int], "Fanout"]


class Fanout:
    """One run."""

    scenario = "fanout"

    def __init__(self, options: argparse.Namespace, folder: Path, console: Console, warm_bytes: int) -> None:
        self.conditions: dict[str, Any] = {}
        """What else to write down of the run, by name."""
        self._options = options
        self._warm_bytes = warm_bytes
        self._folder = folder
        self._console = console
        asked: int = options.origin_bytes_per_s
        self._origin_bytes_per_s = asked or (ORIGIN_BYTES_PER_S if options.link_bytes_per_s else 0)

    async def run(self) -> Run:
        """Measure the machine, then the swarm."""
        options = self._options
        sizes = (options.blob_bytes,) * options.layers
        image = await asyncio.to_thread(
            generate_image, self._folder / "image", REPOSITORY, "v1", sizes, seed=options.seed
        )
        machine = None if options.no_machine_limit or options.link_bytes_per_s else await self._limit(image)
        async with local_cluster(self._folder) as cluster:
            origin, scheduler = await self.serve(cluster)
            workers = await self._start(image, origin, scheduler)
            try:
                with warm_pages(self._folder / "warm", self._warm_bytes):
                    return await self._measure(image, origin, cluster, workers, machine)
            finally:
                await asyncio.gather(*(worker.stop() for worker in workers))

    async def serve(self, cluster: LocalCluster) -> tuple[str, str]:
        """Start the origin and the scheduler; returns their addresses."""
        return await asyncio.gather(
            cluster.origin(self._folder / "image", self._origin_bytes_per_s), cluster.scheduler()
        )

    async def start_process(self, part: int, task: FanoutTask) -> Child:
        """Start a process with some of the daemons."""
        return await self.start_worker(f"daemons-{part}", task)

    async def start_worker(self, name: str, task: FanoutTask, prefix: tuple[str, ...] = ()) -> Child:
        """Start a process whose command begins with `prefix`, and tell it its task."""
        worker = await Child.start(name, self._folder, "benchmarks.io.fanout_worker", prefix)
        await worker.tell(asdict(task))
        return worker

    def links(self) -> Links:
        """Return the rates that bound the run."""
        link: int = self._options.link_bytes_per_s
        return Links(self._origin_bytes_per_s, link, link)

    async def _limit(self, image: Image) -> MachineLimit:
        self._console.print("plain sockets first ...")
        blob, folder = self._folder / "blob", self._folder / "limit"
        folder.mkdir()
        with blob.open("wb") as whole:
            for layer in image.layers:
                whole.write(blob_path(image.directory, layer.digest).read_bytes())
        options = self._options
        try:
            with warm_pages(self._folder / "warm", self._warm_bytes):
                processes = min(options.nodes, os.cpu_count() or 1)
                return await machine_limit(folder, blob, options.nodes, options.seed, processes)
        finally:
            await asyncio.to_thread(shutil.rmtree, folder)
            blob.unlink()

    async def _start(self, image: Image, origin: str, scheduler: str) -> list[Child]:
        """Start the daemons; returns when the scheduler has taken all of them."""
        options = self._options
        wanted = options.processes or max(PROCESSES_MIN, -(-options.nodes // DAEMONS_PER_PROCESS))
        processes = min(options.nodes, wanted)
        began = time.monotonic()
        workers = []
        for part in range(processes):
            task = FanoutTask(
                list(range(part, options.nodes, processes)),
                str(self._folder),
                scheduler,
                origin,
                [(layer.digest, layer.size) for layer in image.layers],
                options.zones,
                options.link_bytes_per_s,
                options.download_slots,
                options.upload_slots,
            )
            workers.append(await self.start_process(part, task))
        for worker in workers:
            await worker.hear()
        took = time.monotonic() - began
        self._console.print(f"{options.nodes} daemons in {processes} processes are up after {took:.1f} s")
        return workers

    async def _measure(
        self,
        image: Image,
        origin: str,
        cluster: LocalCluster,
        workers: list[Child],
        machine: MachineLimit | None,
    ) -> Run:
        options, size = self._options, sum(layer.size for layer in image.layers)
        cpu_before_s = sum(map(_cpu_s, cluster.pids()))
        messages_before = await _scheduler_counts(cluster.scheduler_metrics, "messages_total", "kind")
        began = time.monotonic()
        for worker in workers:
            await worker.tell({"go": True})
        with Progress(self._console, options.nodes, size * options.nodes, len(workers)) as progress:
            ended = await asyncio.gather(
                *(progress.follow(part, worker) for part, worker in enumerate(workers))
            )
        wall_s = time.monotonic() - began
        others_cpu_s = sum(map(_cpu_s, cluster.pids())) - cpu_before_s
        self._console.print(f"scheduler and origin took {others_cpu_s:.1f} s of CPU", highlight=False)
        counters = await _get_json(f"http://{origin}/_counters")
        messages = await _scheduler_counts(cluster.scheduler_metrics, "messages_total", "kind")
        noted = await _scheduler_counts(cluster.scheduler_metrics, "events_total", "event")
        costs = Costs(
            wall_s,
            others_cpu_s + sum(each["cpu_s"] for each in ended),
            sum(each["rss_bytes"] for each in ended),
        )
        fluid_s = fluid_limit_s(size, options.nodes, self.links())
        return Run(
            scenario=self.scenario,
            seed=options.seed,
            blob_bytes=size,
            nodes=[NodeResult(**result) for each in ended for result in each["results"]],
            costs=costs,
            limit_s=max(fluid_s, machine.wall_s if machine else 0.0),
            machine=machine,
            origin_bytes=counters["total_blob_bytes"],
            origin_requests=sum(counters["blob_gets"].values()),
            rescues=noted.get("rescue", 0),
            messages={kind: count - messages_before.get(kind, 0) for kind, count in messages.items()},
        )


async def _get_json(url: str) -> dict[str, Any]:
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        document: dict[str, Any] = await answer.json()
    return document


async def _scheduler_counts(metrics: str, name: str, label: str) -> dict[str, int]:
    """Return one counter of the scheduler, by a label."""
    async with aiohttp.ClientSession() as session, session.get(f"http://{metrics}/metrics") as answer:
        text = await answer.text()
    full = f"damselfly_scheduler_{name}"
    return {
        sample.labels[label]: int(sample.value)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == full
    }


def _cpu_s(pid: int) -> float:
    """Return the CPU seconds that a process has used (proc(5): fields 14 and 15 of stat)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
