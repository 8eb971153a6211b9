"""What a user of a daemon waits for: cold pulls by containerd, first bytes, small blobs, many pulls; and its memory."""

import asyncio
import itertools
import shutil
import statistics
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from benchmarks.io.daemon_lag import lag_buckets, lag_figures
from benchmarks.io.image import BlobInfo, Image
from benchmarks.io.local_cluster import LocalCluster, Node
from benchmarks.io.puller import ACCEPT, Pull, PullFailed
from benchmarks.io.real_parts import REGISTRY, Containerd
from benchmarks.io.usage import exact_cpu_s, forget_peak, peak_bytes, rss_bytes
from benchmarks.report import quantile

MIB = 1 << 20
GB = 1e9
SETTLE_S = 2.0
"""A daemon that has just started is idle after this."""
CLIENTS = 16
"""Connections over which small blobs are asked for."""
READ_S_MAX = 120.0
CHUNK_BYTES = 1 << 20


@dataclass(slots=True)
class Pulls:
    """Measures pulls in a cluster. `registry`: host:port of the registry, `scheduler`: where daemons attach."""

    cluster: LocalCluster
    folder: Path
    scheduler: str
    registry: str
    _numbers: Iterable[int] = field(default_factory=itertools.count)

    @asynccontextmanager
    async def daemon(self, registry: str = "") -> AsyncIterator[Node]:
        """Have a daemon that holds nothing yet; what it stored is deleted at the end."""
        name = f"d{next(iter(self._numbers))}"
        node = await self.cluster.node(name, self.scheduler, REGISTRY, registry or self.registry)
        try:
            yield node
        finally:
            await node.process.stop()
            await asyncio.to_thread(shutil.rmtree, self.folder / name, ignore_errors=True)

    async def cold(self, containerd: Containerd, image: Image, registry: str, turns: int) -> dict[str, Any]:
        """Pull an image that nobody holds, through one daemon and straight from the registry, in turns."""
        through: list[float] = []
        straight: list[float] = []
        cpu_s: list[float] = []
        for _ in range(1 + turns):  # the first does not count: memory and caches are warm then
            async with self.daemon(registry) as node:
                through.append(await containerd.pull(image, registry, node.mirror))
                cpu_s.append(exact_cpu_s(node.process.child.pid))
                peak = peak_bytes(node.process.child.pid)
                late = lag_figures(await lag_buckets(node.metrics))
            straight.append(await containerd.pull(image, registry, None))
        return {
            "ratio": round(statistics.median(through[1:]) / statistics.median(straight[1:]), 3),
            "seconds": _rounded(through[1:]),
            "straight_seconds": _rounded(straight[1:]),
            "cpu_s_per_gb": round(statistics.median(cpu_s[1:]) / image.total_bytes * GB, 3),
            "peak_mib": round(peak / MIB, 1),
            **late,
        }

    async def first_bytes(self, near: Node, node: Node, image: Image) -> dict[str, Any]:
        """Ask for blobs, one after the other, that a neighbour holds; time the first byte of each."""
        await Pull(near.mirror, REGISTRY, image.name, image.tag).run()
        await _learn_manifest(node, image)
        waits = [await _first_byte_s(node, image, layer) for layer in image.layers]
        return {
            "p50_ms": round(1000 * quantile(waits, 0.5), 2),
            "p99_ms": round(1000 * quantile(waits, 0.99), 2),
            "blobs": len(waits),
        }

    async def small_blobs(self, near: Node, node: Node, image: Image) -> dict[str, Any]:
        """Get many small blobs that a neighbour holds, over CLIENTS connections."""
        await Pull(near.mirror, REGISTRY, image.name, image.tag).run()
        await _learn_manifest(node, image)
        pid = node.process.child.pid
        before_s, began = exact_cpu_s(pid), time.monotonic()
        waiting = list(image.layers)
        connector = aiohttp.TCPConnector(limit=CLIENTS)
        async with aiohttp.ClientSession(connector=connector) as session, asyncio.TaskGroup() as group:
            for _ in range(CLIENTS):
                group.create_task(_get_all(session, node, image, waiting))
        seconds = time.monotonic() - began
        return {
            "per_s": round(len(image.layers) / seconds, 1),
            "cpu_ms_each": round(1000 * (exact_cpu_s(pid) - before_s) / len(image.layers), 3),
        }

    async def many(self, near: Node, node: Node, image: Image, count: int) -> dict[str, Any]:
        """Let so many clients pull an image at once that a neighbour holds."""
        await Pull(near.mirror, REGISTRY, image.name, image.tag).run()
        pid = node.process.child.pid
        forget_peak(pid)
        before_s, began = exact_cpu_s(pid), time.monotonic()
        late_before = await lag_buckets(node.metrics)
        failures = await pull_at_once(node, image, count)
        seconds, moved = time.monotonic() - began, count * image.total_bytes
        return {
            "clients": count,
            "failures": failures,
            "gb_per_s": round(moved / seconds / GB, 3),
            "cpu_s_per_gb": round((exact_cpu_s(pid) - before_s) / moved * GB, 4),
            "peak_mib": round(peak_bytes(pid) / MIB, 1),
            **lag_figures(await lag_buckets(node.metrics), late_before),
        }

    async def idle_mib(self) -> float:
        """Return the memory of a daemon that has nothing to do."""
        async with self.daemon() as node:
            await asyncio.sleep(SETTLE_S)
            return round(rss_bytes(node.process.child.pid) / MIB, 1)

    async def layers_mib(self, image: Image) -> float:
        """Return the most memory of a daemon that fetches all layers of an image at once."""
        async with self.daemon() as node, aiohttp.ClientSession() as session:
            await _learn_manifest(node, image)
            async with asyncio.TaskGroup() as group:
                for layer in image.layers:
                    group.create_task(_get(session, node, image, layer))
            return round(peak_bytes(node.process.child.pid) / MIB, 1)


async def pull_at_once(node: Node, image: Image, count: int) -> int:
    """Let so many clients pull an image at once; return how many failed."""
    pulls = [Pull(node.mirror, REGISTRY, image.name, image.tag).run() for _ in range(count)]
    ended = await asyncio.gather(*pulls, return_exceptions=True)
    return sum(each is not None for each in ended)


async def _learn_manifest(node: Node, image: Image) -> None:
    """Get the manifest, as every client does first: it says that the blobs are of this repository."""
    url = f"http://{node.mirror}/v2/{image.name}/manifests/{image.tag}"
    async with (
        aiohttp.ClientSession(headers={"Accept": ACCEPT}) as session,
        session.get(url, params={"ns": REGISTRY}) as answer,
    ):
        await answer.read()
        if answer.status != 200:
            raise PullFailed(f"{url} was answered {answer.status}")


async def _first_byte_s(node: Node, image: Image, layer: BlobInfo) -> float:
    """Get a blob over a plain connection of its own; return the seconds until its first byte."""
    host, _, port = node.mirror.rpartition(":")
    async with asyncio.timeout(READ_S_MAX):
        reader, writer = await asyncio.open_connection(host, int(port))
        try:
            path = f"/v2/{image.name}/blobs/{layer.digest}?ns={REGISTRY}"
            began = time.monotonic()
            writer.write(f"GET {path} HTTP/1.1\r\nHost: {node.mirror}\r\nConnection: close\r\n\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 200 "):
                raise PullFailed(f"{path} was answered {head[:40]!r}")
            await reader.readexactly(1)
            took_s = time.monotonic() - began
            while await reader.read(CHUNK_BYTES):
                pass
        finally:
            writer.close()
    return took_s


async def _get_all(session: aiohttp.ClientSession, node: Node, image: Image, waiting: list[BlobInfo]) -> None:
    while waiting:
        await _get(session, node, image, waiting.pop())


async def _get(session: aiohttp.ClientSession, node: Node, image: Image, layer: BlobInfo) -> None:
    url = f"http://{node.mirror}/v2/{image.name}/blobs/{layer.digest}"
    async with session.get(url, params={"ns": REGISTRY}) as answer:
        count = 0
        async for part in answer.content.iter_chunked(CHUNK_BYTES):
            count += len(part)
    if (answer.status, count) != (200, layer.size):
        raise PullFailed(f"{layer.digest} was answered {answer.status} with {count} bytes")


def _rounded(values: list[float]) -> list[float]:
    return [round(value, 3) for value in values]
