"""dfbench pull: what a pull through a daemon takes, with a real docker-registry and a real containerd (root).

The registry has a network namespace of its own behind a link that is shaped or not; all else shares the bridge's.
"""

import argparse
import asyncio
import json
import os
import signal
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.io import plots
from benchmarks.io.arguments import count_of_bytes, new_file, positive
from benchmarks.io.bystander import bystander
from benchmarks.io.child_process import ChildFailed
from benchmarks.io.image import Image, generate_image
from benchmarks.io.local_cluster import LocalCluster, ProcessFailed, local_cluster
from benchmarks.io.memory_limit import limited_memory
from benchmarks.io.namespaces import NoNamespaces, Place, network, require_namespaces
from benchmarks.io.pull_paths import Pulls
from benchmarks.io.puller import PullFailed
from benchmarks.io.real_parts import Containerd, PartsMissing, require_parts, start_registry

INTERRUPTED, CANNOT = 130, 2
"""Exit statuses: after Ctrl-C, as shells have it; where the parts or the privileges are missing."""
CONGESTION = "reno"
REGISTRY_PORT = 5000
HELD_BITS_PER_S = 1_000_000_000
MEMORY_LIMIT_BYTES = 256 << 20
LIMITED_PULLS = 100
"""Concurrent pulls under that limit."""
COLD = ("cold_ratio_1gbit", "cold_ratio")
PATHS = ("cold_1gbit", "cold", "first_byte", "small_blobs", "many", "memory", "limited")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what can be asked for."""
    parser.add_argument("--turns", type=positive, default=5, help="of the cold pulls (default 5)")
    parser.add_argument("--paths", nargs="+", choices=PATHS, default=list(PATHS), help="(default all)")
    sizes = (
        ("--image-bytes", 1_000_000_000, "of the image of cold pulls, in 4 layers (default 1GB)"),
        ("--layer-bytes", 500_000_000, "of each of the 10 layers in flight (default 500MB)"),
        ("--many-bytes", 100_000_000, "of the image that many clients pull (default 100MB)"),
        ("--blob-bytes", 1 << 20, "of the blobs whose first byte is timed (default 1MiB)"),
    )
    for name, usual, text in sizes:
        parser.add_argument(name, type=count_of_bytes, default=usual, metavar="B", help=text)
    parser.add_argument("--blobs", type=positive, default=200, help="whose first byte is timed (default 200)")
    parser.add_argument("--small-blobs", type=positive, default=1000, help="of 4 KB (default 1000)")
    parser.add_argument("--clients", type=positive, default=50, help="that pull at once (default 50)")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="for what is stored")
    parser.add_argument("--json", type=new_file, metavar="FILE", help="write the figures to a file too")
    parser.add_argument("--plot", type=new_file, metavar="FILE.png", help="draw the ratios of cold pulls")


def run(options: argparse.Namespace) -> int:
    """Run, print; returns the exit status: 1 when a pull failed."""
    console = Console(stderr=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that what was made is removed
    try:
        require_namespaces()
        require_parts()
        links = {"held": HELD_BITS_PER_S, "free": 0}
        with (
            network(links, CONGESTION) as places,
            tempfile.TemporaryDirectory(prefix="df", dir=options.folder) as folder,
        ):
            figures = asyncio.run(_measure(options, places, Path(folder)))
    except (NoNamespaces, PartsMissing) as error:
        console.print(f"dfbench pull: {error}", markup=False)
        return CANNOT
    except (ChildFailed, ProcessFailed, PullFailed, OSError, ExceptionGroup) as error:
        console.print(f"the benchmark failed: {error}", markup=False)
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")
    if options.plot:
        ratios: dict[str, float] = {
            name: figures[name] for name in ("cold_ratio_1gbit", "cold_ratio") if name in figures
        }
        plots.draw_ratios(options.plot, ratios, "time to that of a pull straight from the registry")
    return 1 if any(figures.get(name) for name in ("many_failures", "limited_failures")) else 0


async def _measure(options: argparse.Namespace, places: dict[str, Place], folder: Path) -> dict[str, Any]:
    conditions = {
        "turns": options.turns,
        "load_average": round(os.getloadavg()[0], 2),
        "congestion_control": CONGESTION,
    }
    figures: dict[str, Any] = {}
    paths: dict[str, dict[str, Any]] = {}
    async with local_cluster(folder) as cluster, bystander(folder) as other:
        bench = await Bench.prepare(options, cluster, places, folder)
        for name in options.paths:
            await other.figures()
            shown, paths[name] = await bench.measure(name)
            paths[name] |= await other.figures()
            figures |= shown
            line = " ".join(f"{key} {value}" for key, value in (shown | paths[name]).items())
            print(f"{name:<12} {line}", flush=True)
    return figures | conditions | {"paths": paths}


Shown = tuple[dict[str, Any], dict[str, Any]]


class Bench:
    """The parts, and what is measured with them: figures by their names, and what lies behind them."""

    def __init__(
        self, options: argparse.Namespace, pulls: Pulls, images: dict[str, Image], registries: dict[str, str]
    ) -> None:
        self._options = options
        self._pulls = pulls
        self._images = images
        self._registries = registries

    @classmethod
    async def prepare(
        cls, options: argparse.Namespace, cluster: LocalCluster, places: dict[str, Place], folder: Path
    ) -> "Bench":
        """Make the images that are needed, and start the registries and a scheduler."""
        images = await asyncio.to_thread(_make_images, options, folder)
        registries = {name: f"{place.address}:{REGISTRY_PORT}" for name, place in places.items()}
        for name, place in places.items():
            served = list(images.values())
            await start_registry(cluster, folder / name, served, registries[name], place.prefix)
        scheduler = await cluster.scheduler()
        pulls = Pulls(cluster, folder, scheduler, registries["free"])
        return cls(options, pulls, images, registries)

    async def _cold(self, registry: str, name: str) -> Shown:
        containerd = await Containerd.start(self._pulls.cluster, self._pulls.folder / f"c-{registry}")
        try:
            image, server = self._images["cold"], self._registries[registry]
            found = await self._pulls.cold(containerd, image, server, self._options.turns)
        finally:
            await containerd.process.stop()
        return {name: found.pop("ratio")}, found

    async def _first_byte(self) -> Shown:
        async with self._pulls.daemon() as near, self._pulls.daemon() as node:
            found = await self._pulls.first_bytes(near, node, self._images["first_byte"])
        return {f"first_byte_ms_{name}": found.pop(f"{name}_ms") for name in ("p50", "p99")}, found

    async def _small_blobs(self) -> Shown:
        async with self._pulls.daemon() as near, self._pulls.daemon() as node:
            found = await self._pulls.small_blobs(near, node, self._images["small_blobs"])
        return {"small_blobs_per_s": found.pop("per_s")}, found

    async def _many(self) -> Shown:
        async with self._pulls.daemon() as near, self._pulls.daemon() as node:
            found = await self._pulls.many(near, node, self._images["many"], self._options.clients)
        return {"many_failures": found.pop("failures")}, found

    async def _memory(self) -> Shown:
        idle, busy = await self._pulls.idle_mib(), await self._pulls.layers_mib(self._images["memory"])
        return {"rss_idle_mib": idle, "rss_10_layers_mib": busy}, {}

    async def _limited(self) -> Shown:
        async with self._pulls.daemon() as near, self._pulls.daemon() as node:
            with limited_memory(node.process.child.pid, MEMORY_LIMIT_BYTES) as group:
                found = await self._pulls.many(near, node, self._images["many"], LIMITED_PULLS)
                killed = group.killed() + (node.process.child.returncode is not None)
        return {"limited_failures": found.pop("failures"), "limited_killed": killed}, found

    async def measure(self, name: str) -> Shown:
        """Measure one of PATHS."""
        measures: dict[str, Callable[[], Awaitable[Shown]]] = {
            "cold_1gbit": lambda: self._cold("held", "cold_ratio_1gbit"),
            "cold": lambda: self._cold("free", "cold_ratio"),
            "first_byte": self._first_byte,
            "small_blobs": self._small_blobs,
            "many": self._many,
            "memory": self._memory,
            "limited": self._limited,
        }
        return await measures[name]()


LAYERS, MEMORY_LAYERS, SMALL_BYTES = 4, 10, 4096


def _make_images(options: argparse.Namespace, folder: Path) -> dict[str, Image]:
    """Write the images of the paths that were asked for."""
    layers = {
        "cold": [options.image_bytes // LAYERS] * LAYERS,
        "first_byte": [options.blob_bytes] * options.blobs,
        "small_blobs": [SMALL_BYTES] * options.small_blobs,
        "many": [options.many_bytes // LAYERS] * LAYERS,
        "memory": [options.layer_bytes] * MEMORY_LAYERS,
    }
    needed = {{"cold_1gbit": "cold", "limited": "many"}.get(name, name) for name in options.paths}
    return {
        name: generate_image(
            folder / "images" / name, f"bench/{name.replace('_', '-')}", "v1", sizes, seed=seed
        )
        for seed, (name, sizes) in enumerate(layers.items())
        if name in needed
    }
