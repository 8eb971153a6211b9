"""What the same hosts, origin and links do without a swarm, for `dfbench fanout --compare`.

`direct`: every host takes everything from the origin. `cache`: every host takes it from one pull-through cache, whose
link is that of any other host.
"""

import asyncio
import shutil
import time
from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console

from benchmarks.io.child_process import Child
from benchmarks.io.fanout_counters import origin_counters
from benchmarks.io.fanout_progress import costs, follow, results
from benchmarks.io.image import Image
from benchmarks.io.plain_clients import PlainTask
from benchmarks.io.usage import cpu_s
from benchmarks.report import Run

KINDS = ("direct", "cache")
PROCESSES = 2
"""That hold the hosts: they only receive, hash and write."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What the hosts pull, and the swarm's run with which theirs is compared."""

    image: Image
    repository: str
    nodes: int
    link_bytes_per_s: int
    swarm: Run


async def pull_without_swarm(
    kind: str,
    server: str,
    setting: Setting,
    folder: Path,
    pids: Collection[int],
    origin: str,
    console: Console,
) -> Run:
    """Let all hosts pull from one server; raises ChildFailed. `pids`: processes whose CPU counts, too."""
    files = folder / kind
    files.mkdir()
    children = [
        await Child.start(f"{kind}-{part}", folder, "benchmarks.io.plain_clients")
        for part in range(min(PROCESSES, setting.nodes))
    ]
    try:
        await _prepare(children, server, setting, files)
        before, others_before_s = await origin_counters(origin), sum(map(cpu_s, pids))
        began = time.monotonic()
        ended = await follow(console, children, setting.nodes, setting.nodes * setting.swarm.blob_bytes)
        wall_s, others_cpu_s = time.monotonic() - began, sum(map(cpu_s, pids)) - others_before_s
        after = await origin_counters(origin)
    finally:
        await asyncio.gather(*(child.stop() for child in children))
        await asyncio.to_thread(shutil.rmtree, files)
    return Run(
        scenario=kind,
        seed=setting.swarm.seed,
        blob_bytes=setting.swarm.blob_bytes,
        nodes=results(ended),
        costs=costs(wall_s, others_cpu_s, ended),
        limit_s=setting.swarm.limit_s,
        machine=None,
        origin_bytes=after["total_blob_bytes"] - before["total_blob_bytes"],
        origin_requests=sum(after["blob_gets"].values()) - sum(before["blob_gets"].values()),
        rescues=0,
        messages={},
    )


async def _prepare(children: list[Child], server: str, setting: Setting, files: Path) -> None:
    blobs = [(layer.digest, layer.size) for layer in setting.image.layers]
    for part, child in enumerate(children):
        nodes = list(range(part, setting.nodes, len(children)))
        task = PlainTask(nodes, str(files), server, setting.repository, blobs, setting.link_bytes_per_s)
        await child.tell(asdict(task))
        await child.hear()
