"""What the byte paths of a daemon are measured on: blobs, nginx that serves them, daemons that hold them."""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from benchmarks.io.cheap_client import CheapClient, Piece
from benchmarks.io.local_cluster import LocalCluster, Node, ProcessFailed, local_cluster
from benchmarks.io.static_nginx import Nginx
from swarm.digest import Digest
from swarm.pieces import PieceMap

REGISTRY, REPOSITORY = "registry.bench", "bench/app"
BLOCK_BYTES = 1 << 20
SINGLE_BYTES = 512 << 10
"""A blob that is one small piece."""
SINGLES_MAX = 48
"""Blobs of that size: fewer than a daemon keeps open, so that opening files is not what is measured."""
UPLOAD_SLOTS = 64
"""As many uploads at once as connections are measured: nobody is answered BUSY."""
PULL_S_MAX = 300.0
DROP_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Blob:
    """A blob that nginx serves."""

    digest: Digest
    file: Path

    @property
    def pieces(self) -> PieceMap:
        """How it is cut."""
        return PieceMap.of(self.file.stat().st_size)

    @property
    def path(self) -> str:
        """Where a registry has it."""
        return f"/v2/{REPOSITORY}/blobs/{self.digest}"

    def piece(self, index: int) -> Piece:
        """Return what to ask for to get a piece."""
        return Piece(self.digest.task, self.path, self.pieces, index)


def make_blob(root: Path, size: int) -> Blob:
    """Write a blob of `size` bytes to where nginx looks for it; no two of its blocks are alike."""
    folder = root / "v2" / REPOSITORY / "blobs"
    folder.mkdir(parents=True, exist_ok=True)
    new, hasher, block = folder / "new", hashlib.sha256(), bytearray(os.urandom(BLOCK_BYTES))
    with new.open("wb") as file:
        for place in range(0, size, BLOCK_BYTES):
            block[:8] = place.to_bytes(8, "big")
            part = memoryview(block)[: size - place]
            file.write(part)
            hasher.update(part)
    digest = Digest("sha256", hasher.hexdigest())
    return Blob(digest, new.rename(folder / str(digest)))


@dataclass(slots=True)
class Stage:
    """The parts that stand while paths are measured."""

    folder: Path
    cluster: LocalCluster
    nginx: Nginx
    client: CheapClient
    large: Blob
    small: Blob
    singles: Sequence[Blob]
    """Blobs of one piece of SINGLE_BYTES."""
    daemon: Node
    shaped: Node
    shaped_bytes_per_s: int

    def stored(self, node: Node, blob: Blob) -> Path:
        """Return the file in which a daemon keeps a blob."""
        digest = blob.digest
        return (
            self.folder / node.name / "blobs/blobs" / digest.algorithm / digest.hex[:2] / digest.hex / "data"
        )

    def scratch(self, blob: Blob) -> Path:
        """Return a file as large as the blob, for a receiver to write to, again and again: its pages are warm."""
        path = self.folder / "scratch"
        with path.open("ab") as file:
            file.truncate(blob.pieces.size)
        return path


@asynccontextmanager
async def stage(
    folder: Path, large_bytes: int, small_bytes: int, shaped_bytes_per_s: int
) -> AsyncIterator[Stage]:
    """Set everything up, and take it down however it ends. Raises NginxFailed, CProgramFailed and ProcessFailed."""
    root, nginx_folder = folder / "root", folder / "nginx"
    nginx_folder.mkdir()
    client = await CheapClient.compile(folder)
    large = await asyncio.to_thread(make_blob, root, large_bytes)
    small = await asyncio.to_thread(make_blob, root, small_bytes)
    singles = [
        await asyncio.to_thread(make_blob, root, SINGLE_BYTES)
        for _ in range(min(SINGLES_MAX, small_bytes // SINGLE_BYTES))
    ]
    async with local_cluster(folder) as cluster:
        nginx = await Nginx.start(nginx_folder, root)
        try:
            daemon = await _daemon(cluster, folder, "daemon", nginx, 0)
            shaped = await _daemon(cluster, folder, "shaped", nginx, shaped_bytes_per_s)
            for blob, node in ((large, daemon), (small, daemon), (large, shaped)):
                await pull(node.mirror, blob)
            for blob in singles:
                await pull(daemon.mirror, blob)
            await asyncio.to_thread(os.sync)  # what is still to be written would disturb what is measured
            yield Stage(
                folder, cluster, nginx, client, large, small, singles, daemon, shaped, shaped_bytes_per_s
            )
        finally:
            await nginx.stop()


async def pull(mirror: str, blob: Blob) -> None:
    """Get a blob through a daemon's mirror once, so that it holds it; raises ProcessFailed."""
    timeout = aiohttp.ClientTimeout(total=PULL_S_MAX)
    async with (
        aiohttp.ClientSession(timeout=timeout) as session,
        session.get(f"http://{mirror}{blob.path}", params={"ns": REGISTRY}) as answer,
    ):
        count, part = 0, b""
        async for part in answer.content.iter_chunked(DROP_BYTES):
            count += len(part)
    if answer.status != 200 or count != blob.pieces.size:
        raise ProcessFailed(f"the mirror answered {answer.status} with {count} bytes: {part[:300]!r}")


async def _daemon(cluster: LocalCluster, folder: Path, name: str, nginx: Nginx, bytes_per_s: int) -> Node:
    return await cluster.daemon(
        name,
        _SETTINGS.format(
            name=name,
            folder=folder / name,
            slots=UPLOAD_SLOTS,
            rate=bytes_per_s,
            registry=REGISTRY,
            origin=nginx.plain,
            certificate=nginx.certificate,
            key=nginx.key,
        ),
    )


_SETTINGS = """\
host = "{name}"
control_socket = "{folder}/s"
metrics_listen = "127.0.0.1:0"

[mirror]
listen = "127.0.0.1:0"

[peer]
listen = "127.0.0.1:0"
upload_slots = {slots}
upload_bytes_per_s_max = {rate}
tls = "accept"
certificate_file = "{certificate}"
key_file = "{key}"
ca_file = "{certificate}"

[store]
directory = "{folder}/blobs"
free_bytes_min = 0

[[origin.registries]]
name = "{registry}"
url = "http://{origin}"
"""
