"""dfbench fanout: many real daemons on this machine pull one image at once, over real sockets onto a real disk.

Daemons share processes, and the threads of their process; everything else each has for itself: ports, store, identity,
scheduler stream. The scheduler and the origin registry are processes of their own.
"""

import argparse
import asyncio
import json
import os
import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.io import plots
from benchmarks.io.arguments import count_of_bytes, new_file, positive
from benchmarks.io.child_process import Child, ChildFailed
from benchmarks.io.fanout_compare import KINDS, Setting, pull_without_swarm
from benchmarks.io.fanout_counters import origin_counters, scheduler_counts
from benchmarks.io.fanout_limit import machine_limit
from benchmarks.io.fanout_progress import costs, follow, results
from benchmarks.io.fanout_worker import REPOSITORY, FanoutTask
from benchmarks.io.image import Image, blob_path, generate_image
from benchmarks.io.local_cluster import LocalCluster, ProcessFailed, local_cluster
from benchmarks.io.page_cache import bounded_memory, warm_pages
from benchmarks.io.usage import cpu_s
from benchmarks.report import Links, MachineLimit, Run, compared, figures, fluid_limit_s, lines
from benchmarks.simulator.verdict import Sample
from dfdaemon.config import EVERY_NODE, VERIFY

DAEMONS_PER_PROCESS = 125
"""With some 80 sockets each, half of the 20,000 file descriptors that a process may have."""
PROCESSES_MIN = 2
"""So that both cores of a small machine have work."""
PAGE_CACHE_BYTES_MAX = 12 << 30
"""For the files of all daemons. With a third of what 1,000 daemons store most reads came from the disk, where every
daemon of a real cluster has its own blob in memory; with more, filling it takes longer than the run."""
PAGE_CACHE_SHARE = 0.5
"""Most of the machine's memory that it may take."""
PROCESSES_BYTES = 512 << 20
"""Memory of the processes without their daemons, the scheduler's and the origin's among them."""
DAEMON_BYTES = 2 << 20
"""Memory of one daemon among many in a process."""
INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells have it."""
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
    parser.add_argument(
        "--verify", choices=VERIFY, default=EVERY_NODE, help="who hashes whole blobs (default every-node)"
    )
    parser.add_argument("--seed", type=int, default=1, help="of the blobs and of the tree (default 1)")
    parser.add_argument(
        "--folder", type=Path, default=Path(tempfile.gettempdir()), help="where the stores are made"
    )
    parser.add_argument("--no-machine-limit", action="store_true", help="do not measure plain sockets first")
    parser.add_argument(
        "--compare",
        action="append",
        choices=KINDS,
        default=[],
        help="pull without a swarm too: straight from the origin, or through one pull-through cache",
    )
    parser.add_argument("--json", type=new_file, metavar="FILE", help="write the figures to a file too")
    parser.add_argument(
        "--plot", type=new_file, metavar="FILE.png", help="draw when nodes were done, and the bytes over time"
    )


def run(options: argparse.Namespace) -> int:
    """Run, print; returns the exit status: 1 when a node failed."""
    return show(options, measure)


def show(options: argparse.Namespace, measure: Callable[[argparse.Namespace, Console], "Measured"]) -> int:
    """Print what a measurement showed, and write it down; returns the exit status: 1 when a node failed."""
    console = Console(stderr=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what was stored is removed then, too
    try:
        measured = measure(options, console)
    except (ChildFailed, ProcessFailed) as error:
        console.print(f"the benchmark failed: {error}", markup=False)
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED
    for line in lines(measured.figures):
        print(line)
    for reason in sorted(set(measured.failures)):
        print(f"failed: {reason}")
    if options.json:
        options.json.write_text(json.dumps(measured.figures, indent=2) + "\n")
    if options.plot:
        plots.draw(options.plot, measured.figures, measured.seconds, measured.samples)
    return 1 if measured.failures else 0


@dataclass(frozen=True, slots=True)
class Measured:
    """What a run showed: its figures by name, and why nodes failed."""

    figures: dict[str, Any]
    failures: list[str]
    seconds: list[float]
    """How long each node took that did not fail."""
    samples: list[Sample]


def measure(options: argparse.Namespace, console: Console, make: "Make | None" = None) -> Measured:
    """Run; `make` makes the run. Raises ChildFailed and ProcessFailed."""
    limit_bytes = memory_bytes(options.nodes, options.nodes * options.layers * options.blob_bytes)
    load = {"load_average": round(os.getloadavg()[0], 2)}
    with bounded_memory(limit_bytes) as bounded, _folder(options.folder) as folder:
        if not bounded:
            console.print("memory is not bounded (that takes root and cgroups): large runs are slower")
        fanout = (make or Fanout)(options, folder, console, limit_bytes if bounded else 0)
        measured = asyncio.run(fanout.run())
    seconds = [node.seconds for node in measured.nodes if not node.failure]
    shown = figures(measured) | load | fanout.conditions
    return Measured(shown, measured.failures, seconds, fanout.samples)


def memory_bytes(nodes: int, stored_bytes: int) -> int:
    """Return the memory that a run is held to: for its processes, and for the files that it writes, up to a bound."""
    machine_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    cache_bytes = min(stored_bytes, PAGE_CACHE_BYTES_MAX, int(PAGE_CACHE_SHARE * machine_bytes))
    return PROCESSES_BYTES + nodes * DAEMON_BYTES + cache_bytes


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
    """One run of all that was asked for."""

    scenario = "fanout"

    def __init__(self, options: argparse.Namespace, folder: Path, console: Console, warm_bytes: int) -> None:
        self.conditions: dict[str, Any] = {}
        """What else to write down of the run, by name."""
        self.samples: list[Sample] = []
        """What had gone over the wire by when."""
        self._options = options
        self._warm_bytes = warm_bytes
        self._folder = folder
        self._limit_folder, self._swarm_folder = folder / "limit", folder / "swarm"
        self._console = console
        self._stored_bytes = options.nodes * options.layers * options.blob_bytes
        asked: int = options.origin_bytes_per_s
        self._origin_bytes_per_s = asked or (ORIGIN_BYTES_PER_S if options.link_bytes_per_s else 0)

    async def run(self) -> Run:
        """Measure the machine, then the swarm, then what is compared with it."""
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
                with self._warm():
                    swarm = await self._measure(origin, cluster, workers, machine)
            finally:
                await asyncio.gather(*(worker.stop() for worker in workers))
            await asyncio.to_thread(shutil.rmtree, self._swarm_folder, ignore_errors=True)
            others = [await self._compare(kind, image, origin, cluster, swarm) for kind in options.compare]
        if others:
            self.conditions["compare"] = {other.scenario: compared(other) for other in others}
        return swarm

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

    @contextmanager
    def _warm(self) -> Iterator[None]:
        """Have the page cache full of a file that is on disk.

        The same for all that is measured: pages of a thousand files of the run before cost more to take over.
        """
        with warm_pages(self._folder / "warm", self._warm_bytes):
            yield

    async def _limit(self, image: Image) -> MachineLimit:
        """Bring the same bytes to as many files by plain sockets."""
        self._console.print("plain sockets first ...")
        blob, options = self._folder / "blob", self._options
        with blob.open("wb") as whole:
            for layer in image.layers:
                whole.write(blob_path(image.directory, layer.digest).read_bytes())
        with self._warm():
            self._limit_folder.mkdir()
            processes = min(options.nodes, os.cpu_count() or 1)
            limit = await machine_limit(self._limit_folder, blob, options.nodes, options.seed, processes)
        self._console.print(
            f"plain sockets took {limit.wall_s:.1f} s, {limit.cpu_s:.1f} s of CPU", highlight=False
        )
        await asyncio.to_thread(shutil.rmtree, self._limit_folder)
        return limit

    async def _start(self, image: Image, origin: str, scheduler: str) -> list[Child]:
        """Start the daemons; returns when the scheduler has taken all of them."""
        options = self._options
        wanted = options.processes or max(PROCESSES_MIN, -(-options.nodes // DAEMONS_PER_PROCESS))
        processes = min(options.nodes, wanted)
        self._swarm_folder.mkdir()
        began = time.monotonic()
        workers = []
        for part in range(processes):
            task = FanoutTask(
                list(range(part, options.nodes, processes)),
                str(self._swarm_folder),
                scheduler,
                origin,
                [(layer.digest, layer.size) for layer in image.layers],
                options.zones,
                options.link_bytes_per_s,
                options.download_slots,
                options.upload_slots,
                shaped=options.link_bytes_per_s > 0,
                verify=options.verify,
            )
            workers.append(await self.start_process(part, task))
        for worker in workers:
            await worker.hear()
        took = time.monotonic() - began
        self._console.print(f"{options.nodes} daemons in {processes} processes are up after {took:.1f} s")
        return workers

    async def _measure(
        self, origin: str, cluster: LocalCluster, workers: list[Child], machine: MachineLimit | None
    ) -> Run:
        """Let all daemons pull."""
        options = self._options
        cpu_before_s = sum(map(cpu_s, cluster.pids()))
        messages_before = await scheduler_counts(cluster.scheduler_metrics, "messages_total", "kind")
        began = time.monotonic()
        ended, self.samples = await follow(self._console, workers, options.nodes, self._stored_bytes)
        wall_s = time.monotonic() - began
        others_cpu_s = sum(map(cpu_s, cluster.pids())) - cpu_before_s
        counters = await origin_counters(origin)
        messages = await scheduler_counts(cluster.scheduler_metrics, "messages_total", "kind")
        noted = await scheduler_counts(cluster.scheduler_metrics, "events_total", "event")
        size = options.layers * options.blob_bytes
        for told in ("events", "verified"):
            self.conditions[told] = sum((Counter(each[told]) for each in ended), Counter[str]())
        self.conditions["scheduler_events"] = noted
        fluid_s = fluid_limit_s(size, options.nodes, self.links())
        return Run(
            scenario=self.scenario,
            seed=options.seed,
            blob_bytes=size,
            nodes=results(ended),
            costs=costs(wall_s, others_cpu_s, ended),
            limit_s=max(fluid_s, machine.wall_s if machine else 0.0),
            machine=machine,
            origin_bytes=counters["total_blob_bytes"],
            origin_requests=sum(counters["blob_gets"].values()),
            rescues=noted.get("rescue", 0),
            messages={kind: count - messages_before.get(kind, 0) for kind, count in messages.items()},
        )

    async def _compare(self, kind: str, image: Image, origin: str, cluster: LocalCluster, swarm: Run) -> Run:
        """Let as many hosts without a swarm pull the same."""
        options = self._options
        server = origin if kind == "direct" else await cluster.cache(origin, options.link_bytes_per_s)
        self._console.print(f"and {kind} ...")
        setting = Setting(image, REPOSITORY, options.nodes, options.link_bytes_per_s, swarm)
        with self._warm():
            return await pull_without_swarm(
                kind, server, setting, self._folder, cluster.pids(), origin, self._console
            )
