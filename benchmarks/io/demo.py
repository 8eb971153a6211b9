"""`make demo`: five daemons pull one image at once, and the registry sends each byte once.

Everything runs on this machine, on loopback, below one temporary folder, without root: an origin registry
that is
held to ORIGIN_BYTES_PER_S, a scheduler, and five daemons, each its own process.
"""

import asyncio
import re
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from rich.console import Console
from rich.live import Live
from rich.table import Table

from benchmarks.io.image import Image, generate_image
from benchmarks.io.local_cluster import LocalCluster, Node, ProcessFailed, local_cluster
from benchmarks.io.puller import Pull, PullFailed

MIB = 1 << 20
NODES = 5
LAYERS_BYTES = (120 * MIB, 60 * MIB, 20 * MIB)
ORIGIN_BYTES_PER_S = 50 * MIB
"""Slow enough that what the registry sends is what counts, as in a real cluster."""
REGISTRY, REPOSITORY, TAG = "registry.demo", "demo/app", "v1"
REFRESH_S = 0.2
LINE_S = 1.0
"""How often a line tells the progress where there is no terminal."""
ORIGIN_RATIO_MAX = 1.01
"""Above it the registry paid for more than one download."""


@dataclass(frozen=True, slots=True)
class Sources:
    """Bytes of one node's pull by where they came from."""

    origin: int
    peers: int
    scheduler: int
    disk: int


def run() -> None:
    """Run the demo; exits 1 when anything is not as promised."""
    console = Console(width=None if sys.stdout.isatty() else 100)
    try:
        with tempfile.TemporaryDirectory(prefix="df", dir="/tmp") as folder:
            good = asyncio.run(_demo(Path(folder), console))
    except (ProcessFailed, PullFailed, ExceptionGroup) as error:
        console.print(f"the demo failed: {error}", markup=False)
        good = False
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(0 if good else 1)


async def _demo(folder: Path, console: Console) -> bool:
    """Start everything, pull, and print what happened."""
    console.print(f"making an image of {sum(LAYERS_BYTES) // MIB} MiB in {len(LAYERS_BYTES)} layers ...")
    image = await asyncio.to_thread(_image, folder / "image")
    async with local_cluster(folder) as cluster:
        origin, nodes = await _start(cluster, folder)
        console.print(
            f"up: an origin registry held to {ORIGIN_BYTES_PER_S // MIB} MiB/s, a scheduler, {NODES} daemons;"
            f" all {NODES} pull {REGISTRY}/{REPOSITORY}:{TAG} now",
            soft_wrap=True,
        )
        pulls = [Pull(node.mirror, REGISTRY, REPOSITORY, TAG) for node in nodes]
        await _pull(pulls, nodes, console)
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://{origin}/_counters") as answer:
                counters = await answer.json()
            joins = [await _join_buckets(session, node) for node in nodes]
        sources = [await _sources(node, pull) for node, pull in zip(nodes, pulls, strict=True)]
    return _report(console, image, pulls, sources, counters, joins)


def _image(folder: Path) -> Image:
    return generate_image(folder, REPOSITORY, TAG, LAYERS_BYTES, with_index=True)


async def _start(cluster: LocalCluster, folder: Path) -> tuple[str, list[Node]]:
    origin, scheduler = await asyncio.gather(
        cluster.origin(folder / "image", ORIGIN_BYTES_PER_S), cluster.scheduler()
    )
    starts = (cluster.node(f"node-{number}", scheduler, REGISTRY, origin) for number in range(1, NODES + 1))
    return origin, list(await asyncio.gather(*starts))


async def _pull(pulls: list[Pull], nodes: list[Node], console: Console) -> None:
    """Let all nodes pull at once, and show how far each is."""
    began = time.monotonic()
    with Live(console=console, refresh_per_second=5, transient=True) as live:
        async with asyncio.TaskGroup() as group:
            running = {group.create_task(pull.run()) for pull in pulls}
            while running:
                seconds = time.monotonic() - began
                if console.is_terminal:
                    live.update(_progress(pulls, nodes, seconds))
                else:
                    shares = (f"{pull.received_bytes / max(1, pull.total_bytes):4.0%}" for pull in pulls)
                    console.print(f"{seconds:4.1f} s  received: {'  '.join(shares)}", highlight=False)
                pause = REFRESH_S if console.is_terminal else LINE_S
                _, running = await asyncio.wait(running, timeout=pause)


def _progress(pulls: list[Pull], nodes: list[Node], seconds: float) -> Table:
    table = Table("node", "received", "", title=f"{seconds:.1f} s", box=None)
    for pull, node in zip(pulls, nodes, strict=True):
        share = pull.received_bytes / max(1, pull.total_bytes)
        bar = "#" * int(share * 40)
        table.add_row(node.name, f"{pull.received_bytes / MIB:.0f} MiB", f"{bar:40} {share:4.0%}")
    return table


async def _control(node: Node, path: str) -> dict[str, Any]:
    connector = aiohttp.UnixConnector(node.control)
    session = aiohttp.ClientSession("http://node", connector=connector)
    async with session, session.get(f"/control/{path}") as answer:
        found: dict[str, Any] = await answer.json()
    return found


_JOINED = re.compile(r'join_answer_seconds_bucket\{le="([^"]+)"\} (\S+)')


async def _join_buckets(session: aiohttp.ClientSession, node: Node) -> dict[float, float]:
    """Return a daemon's histogram of the time from Join to answer: count of answers up to each bound."""
    async with session.get(f"http://{node.metrics}/metrics") as answer:
        text = await answer.text()
    return {float(bound): float(count) for bound, count in _JOINED.findall(text)}


def _median(histograms: list[dict[float, float]]) -> float:
    """Return the smallest bound that half of all values lie below."""
    bounds = sorted(histograms[0]) if histograms else []
    total = sum(max(histogram.values()) for histogram in histograms)
    for bound in bounds:
        if sum(histogram[bound] for histogram in histograms) >= total / 2:
            return bound
    return 0.0


async def _sources(node: Node, pull: Pull) -> Sources:
    accounts = [await _control(node, f"explain/{digest}") for digest in pull.digests]
    return Sources(
        sum(account["origin_bytes"] for account in accounts),
        sum(sum(account["peer_bytes"].values()) for account in accounts),
        sum(account["inline_bytes"] for account in accounts),
        sum(account["disk_bytes"] for account in accounts),
    )


def _report(
    console: Console,
    image: Image,
    pulls: list[Pull],
    sources: list[Sources],
    counters: dict[str, Any],
    joins: list[dict[float, float]],
) -> bool:
    """Print the table and the figures below it; return whether they are as promised."""
    table = Table("node", "seconds", "first byte", "from origin", "from peers", "scheduler", "disk", title="")
    for number, (pull, source) in enumerate(zip(pulls, sources, strict=True), 1):
        columns = (source.origin, source.peers, source.scheduler, source.disk)
        cells = (f"{count / MIB:.1f} MiB" if count >= MIB else f"{count / 1024:.1f} KiB" for count in columns)
        table.add_row(f"node-{number}", f"{pull.seconds:.2f}", f"{pull.first_byte_s * 1000:.0f} ms", *cells)
    console.print(table)
    wanted = {blob.digest for blob in image.blobs}
    verified = all(wanted <= set(pull.digests) for pull in pulls)
    sent = sum(counters["blob_bytes"].get(digest, 0) for digest in wanted)
    size = sum(blob.size for blob in image.blobs)
    ratio = sent / size
    slowest = max(pull.seconds for pull in pulls)
    once = size / ORIGIN_BYTES_PER_S
    compared = (
        f"at the registry's rate one pull takes {once:.1f} s, {NODES} direct pulls {NODES * once:.1f} s"
    )
    lines = (
        f"digests verified on every node: {'yes' if verified else 'NO'}",
        f"origin bytes / image bytes: {ratio:.2f}   ({NODES} direct pulls: {NODES:.2f})",
        f"slowest node: {slowest:.1f} s   ({compared})",
        f"from Join to the scheduler's answer, p50: at most {_median(joins) * 1000:g} ms",
        "",
        "Why it was fast: the scheduler leased each range of the image to one node, which fetched it from the",
        "registry. Each piece went on to the other nodes the moment its digest was checked, and to the client",
        "in order, while the rest still arrived. Blobs up to 128 KiB came inside the scheduler's answer.",
    )
    for line in lines:
        console.print(line, soft_wrap=True, highlight=False)
    return verified and ratio <= ORIGIN_RATIO_MAX
