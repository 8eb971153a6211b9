"""The byte paths of a daemon, each against the plain program that does as little as can be done, in turns.

A turn of each comes first that does not count: memory, caches and connections are warm then. Where a path says so,
everything that takes part is held to one core.
"""

import asyncio
import os
import resource
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import asdict, dataclass, field
from itertools import cycle, islice
from pathlib import Path as File

from benchmarks.byte_figures import Path, Turn
from benchmarks.io.bytes_stage import REPOSITORY, Blob, Stage
from benchmarks.io.bytes_worker import CONNECTIONS, WORKER, WorkerTask
from benchmarks.io.c_program import CProgramFailed
from benchmarks.io.cheap_client import Piece, http_sockets, pieces_plan, ranges_plan, whole_plan
from benchmarks.io.child_process import Child
from benchmarks.io.daemon_lag import lag_buckets, lag_figures
from benchmarks.io.flame_graph import flame_graph
from benchmarks.io.go_server import go_server
from benchmarks.io.held_sender import HeldSender
from benchmarks.io.local_cluster import Node
from benchmarks.io.page_cache import drop_pages
from benchmarks.io.peer_sockets import Server, data_sockets
from benchmarks.io.usage import exact_cpu_s, forget_peak, peak_bytes, pin
from swarm.ids import HostId

UPLOADS, MANY_UPLOADS = 8, 64
"""Connections of the upload paths."""
SHAPED_CONNECTIONS = 8
CORE = 0
"""The one core of the paths that have one."""

Work = Callable[[], Awaitable[Turn]]


@dataclass(slots=True)
class Paths:
    """Measures paths on a stage. `turns` of each side; about `turn_bytes` move in a turn."""

    stage: Stage
    turns: int
    turn_bytes: int
    profile: File | None = None
    """The folder that a flame graph of our process in each path goes to."""
    lags: dict[str, dict[str, float]] = field(default_factory=dict)
    """How late the daemon's loop was in each path that a whole daemon takes part in."""
    peaks: dict[str, int] = field(default_factory=dict)
    """Most memory of our process in each path, in bytes."""

    async def measure(self, name: str) -> Path:
        """Measure one path of PATHS or OPTIONAL."""
        node = self.stage.shaped if name == "shaped" else self.stage.daemon
        before = await lag_buckets(node.metrics)
        path = await (PATHS | OPTIONAL)[name](self, name)
        self.lags[name] = lag_figures(await lag_buckets(node.metrics), before)
        return path

    # --- uploads --------------------------------------------------------------------------------------------

    async def upload(self, name: str, connections: int, *blobs: Blob) -> Path:
        """A daemon serves pieces over the peer wire; nginx the same ranges."""
        node, nginx = self.stage.daemon, self.stage.nginx
        return await self._in_turns(
            name,
            "nginx, sendfile",
            node.process.child.pid,
            lambda: self._pieces(node, blobs, connections),
            lambda: self._ranges(blobs, connections, nginx.worker),
        )

    async def upload_go(self, name: str) -> Path:
        """As upload(), against Go's net/http."""
        node, blob = self.stage.daemon, self.stage.large
        async with go_server(self.stage.folder, self.stage.folder / "root") as go:
            return await self._in_turns(
                name,
                "Go, net/http",
                node.process.child.pid,
                lambda: self._pieces(node, [blob], UPLOADS),
                lambda: self._ranges([blob], UPLOADS, go.pid, address=go.address),
            )

    async def shaped(self, name: str) -> Path:
        """A daemon that keeps to its rate limit, against one that has none."""
        free, held, blob = self.stage.daemon, self.stage.shaped, self.stage.large
        return await self._in_turns(
            name,
            "the same, not limited",
            held.process.child.pid,
            lambda: self._pieces(held, [blob], SHAPED_CONNECTIONS, self._shaped_count()),
            lambda: self._pieces(free, [blob], SHAPED_CONNECTIONS),
        )

    async def shaped_c(self, name: str) -> Path:
        """A program that does nothing but send and keeps to the same limit, against itself without one."""
        stage, blob = self.stage, self.stage.large
        sender = await HeldSender.compile(stage.folder)
        held_bytes = self._shaped_count() * blob.pieces.piece_bytes
        return await self._in_turns(
            name,
            "the same, not limited",
            os.getpid(),
            lambda: sender.run(blob.file, held_bytes, stage.shaped_bytes_per_s),
            lambda: sender.run(blob.file, self.turn_bytes),
        )

    async def warm_hit(self, name: str) -> Path:
        """A daemon's mirror serves a whole blob that it holds; nginx the same file."""
        node, nginx, blob = self.stage.daemon, self.stage.nginx, self.stage.small
        mirrored = f"{blob.path}?ns=registry.bench"
        return await self._in_turns(
            name,
            "nginx, static file",
            node.process.child.pid,
            lambda: self._whole(node.mirror, mirrored, blob, node.process.child.pid),
            lambda: self._whole(nginx.plain, blob.path, blob, nginx.worker),
        )

    async def cold_files(self, name: str) -> Path:
        """A daemon serves pieces that are on the disk and not in memory; nginx the same ranges."""
        node, nginx, blob = self.stage.daemon, self.stage.nginx, self.stage.small
        stored = self.stage.stored(node, blob)

        async def ours() -> Turn:
            await asyncio.to_thread(drop_pages, stored)
            return await self._pieces(node, [blob], UPLOADS, blob.pieces.count)

        async def other() -> Turn:
            await asyncio.to_thread(drop_pages, blob.file)
            return await self._ranges([blob], UPLOADS, nginx.worker, blob.pieces.count)

        return await self._in_turns(name, "nginx, sendfile", node.process.child.pid, ours, other)

    async def _pieces(self, node: Node, blobs: Sequence[Blob], connections: int, count: int = 0) -> Turn:
        async with data_sockets(_server(node), blobs[0].digest.task, connections) as sockets:
            plan = pieces_plan(self._wanted(blobs, connections, count), connections)
            return await self._served(node.process.child.pid, self.stage.client.run(sockets, plan))

    async def _ranges(
        self,
        blobs: Sequence[Blob],
        connections: int,
        pid: int,
        count: int = 0,
        address: str = "",
        core: int | None = None,
    ) -> Turn:
        sockets = http_sockets(address or self.stage.nginx.plain, connections)
        plan = ranges_plan(self._wanted(blobs, connections, count), connections)
        return await self._served(pid, self.stage.client.run(sockets, plan, core=core))

    def _wanted(self, blobs: Sequence[Blob], connections: int, count: int) -> Iterator[Piece]:
        """Return `count` pieces of these blobs, one after another; or as many as a turn moves."""
        pieces = [blob.piece(index) for blob in blobs for index in range(blob.pieces.count)]
        return islice(cycle(pieces), count or max(connections, self.turn_bytes // pieces[0].length))

    async def _whole(self, address: str, path: str, blob: Blob, pid: int) -> Turn:
        times = max(1, self.turn_bytes // (UPLOADS * blob.pieces.size))
        plan = whole_plan(path, blob.pieces.size, times, UPLOADS)
        return await self._served(pid, self.stage.client.run(http_sockets(address, UPLOADS), plan))

    async def _served(self, pid: int, client: Awaitable[Turn]) -> Turn:
        """Return a turn of the client, with the CPU of the server."""
        before_s = exact_cpu_s(pid)
        turn = await client
        return Turn(turn.seconds, exact_cpu_s(pid) - before_s, turn.bytes)

    # --- downloads ------------------------------------------------------------------------------------------

    async def download(self, name: str, core: int | None, kind: str = "download") -> Path:
        """Pieces from a daemon: verified and stored by ours, maybe over TLS; over plain TCP stored by C."""
        async with self._worker(name, kind, core) as (worker, _), self._pinned(core):
            return await self._in_turns(
                name,
                "C, recv and pwrite",
                worker.process.pid,
                lambda: _round(worker),
                lambda: self._stored_by_c(core),
            )

    async def relay(self, name: str, core: int | None) -> Path:
        """Pieces from a daemon: verified, stored and served on by ours; stored by C."""
        async with self._worker(name, "relay", core) as (worker, address), self._pinned(core):
            return await self._in_turns(
                name,
                "C, recv and pwrite",
                worker.process.pid,
                lambda: self._relayed(worker, address, core),
                lambda: self._stored_by_c(core),
            )

    async def relay_c(self, name: str, core: int | None) -> Path:
        """C stores pieces while nginx serves as many: a relay without a hash; against storing alone."""
        nginx = self.stage.nginx
        async with self._pinned(core), _held_to(nginx.worker, core):
            return await self._in_turns(
                name,
                "C, recv and pwrite",
                nginx.worker,
                lambda: self._relayed_by_c(core),
                lambda: self._stored_by_c(core),
            )

    async def tls_origin(self, name: str) -> Path:
        """A range of a blob from a registry over TLS: verified and stored by ours, dropped by curl."""
        async with self._worker(name, "origin", None) as (worker, _):
            return await self._in_turns(
                name, "curl to /dev/null", worker.process.pid, lambda: _round(worker), self._curled
            )

    async def _relayed(self, worker: Child, address: str, core: int | None) -> Turn:
        blob, count = self.stage.large, self._stored_count()
        async with data_sockets(Server(WORKER, address), blob.digest.task, CONNECTIONS) as sockets:
            plan = pieces_plan(map(blob.piece, range(count)), CONNECTIONS)
            receiving = asyncio.create_task(_round(worker))
            try:
                served = await self.stage.client.run(sockets, plan, core=core)
            finally:
                received = await receiving
        return Turn(max(served.seconds, received.seconds), received.cpu_s, received.bytes)

    async def _relayed_by_c(self, core: int | None) -> Turn:
        serving = self._ranges(
            [self.stage.large], CONNECTIONS, self.stage.nginx.worker, self._stored_count(), core=core
        )
        stored, served = await asyncio.gather(self._stored_by_c(core), serving)
        seconds = max(stored.seconds, served.seconds)
        return Turn(seconds, stored.cpu_s + served.cpu_s, stored.bytes)

    async def _stored_by_c(self, core: int | None) -> Turn:
        blob = self.stage.large
        async with data_sockets(_server(self.stage.daemon), blob.digest.task, CONNECTIONS) as sockets:
            plan = pieces_plan(map(blob.piece, range(self._stored_count())), CONNECTIONS)
            return await self.stage.client.run(sockets, plan, self.stage.scratch(blob), core)

    async def _curled(self) -> Turn:
        nginx, blob = self.stage.nginx, self.stage.large
        size = blob.pieces.span_bytes(0, self._stored_count())
        address = f"https://{nginx.tls}{blob.path}"
        words = ["curl", "--silent", "--show-error", "--fail", "--cacert", str(nginx.certificate)]
        clock = asyncio.get_running_loop().time
        began, before_s = clock(), _children_cpu_s()
        process = await asyncio.create_subprocess_exec(
            *words, "--range", f"0-{size - 1}", "--output", os.devnull, address
        )
        if await process.wait():
            raise CProgramFailed(f"curl ended with {process.returncode}")
        return Turn(clock() - began, _children_cpu_s() - before_s, size)

    def _stored_count(self) -> int:
        """Return how many pieces are stored in a turn: few enough that the disk's writing does not begin."""
        pieces = self.stage.large.pieces
        return min(pieces.count, max(CONNECTIONS, self.turn_bytes // STORED_SHARE // pieces.piece_bytes))

    def _shaped_count(self) -> int:
        """Return how many pieces go out in a turn of a daemon that is held back: seconds, not minutes."""
        pieces = self.stage.large.pieces
        return max(SHAPED_CONNECTIONS, self.turn_bytes // SHAPED_SHARE // pieces.piece_bytes)

    @asynccontextmanager
    async def _worker(self, name: str, kind: str, core: int | None) -> AsyncIterator[tuple[Child, str]]:
        """Start a process that receives; yields it, and where it listens."""
        stage, blob = self.stage, self.stage.large
        pinned = () if core is None else ("taskset", "-c", str(core))
        task = WorkerTask(
            kind, str(blob.digest), blob.pieces.size, self._stored_count(), str(stage.scratch(blob)), ""
        )
        worker = await Child.start(name, stage.folder, "benchmarks.io.bytes_worker", pinned)
        try:
            await worker.tell(asdict(task) | self._source(kind))
            yield worker, (await worker.hear())["address"]
        finally:
            await worker.stop()

    def _source(self, kind: str) -> dict[str, str]:
        nginx, node = self.stage.nginx, self.stage.daemon
        if kind == "origin":
            tls = {"address": f"https://{nginx.tls}", "certificate": str(nginx.certificate)}
            return tls | {"repository": REPOSITORY}
        secured = {"certificate": str(nginx.certificate), "key": str(nginx.key)}
        return {"address": node.peers, "parent": node.name} | (secured if kind == "download_tls" else {})

    def _pinned(self, core: int | None) -> AbstractAsyncContextManager[None]:
        """Hold the daemon that serves to one core too."""
        return _held_to(self.stage.daemon.process.child.pid, core)

    async def _in_turns(self, name: str, against: str, pid: int, ours: Work, other: Work) -> Path:
        for warm in (other, ours):
            await warm()
        forget_peak(pid)
        turns: tuple[list[Turn], list[Turn]] = ([], [])
        async with flame_graph(pid, self.profile and self.profile / f"{name}.svg"):
            for _ in range(self.turns):
                turns[0].append(await ours())
                turns[1].append(await other())
        self.peaks[name] = peak_bytes(pid)
        return Path(name, turns[0], turns[1], against)


@asynccontextmanager
async def _held_to(pid: int, core: int | None) -> AsyncIterator[None]:
    """Hold a process to one core for a while, if one is given."""
    all_cores = os.sched_getaffinity(0)
    if core is not None:
        pin(pid, {core})
    try:
        yield
    finally:
        pin(pid, all_cores)


STORED_SHARE = 8
"""A turn that stores moves this much less than one that only sends."""
SHAPED_SHARE = 16
"""And one that is held back."""
Measure = Callable[[Paths, str], Awaitable[Path]]
PATHS: dict[str, Measure] = {
    "upload_4mib": lambda paths, name: paths.upload(name, UPLOADS, paths.stage.large),
    "upload_512kib": lambda paths, name: paths.upload(name, UPLOADS, *paths.stage.singles),
    "upload_64conns": lambda paths, name: paths.upload(name, MANY_UPLOADS, paths.stage.large),
    "cold_files": lambda paths, name: paths.cold_files(name),
    "download": lambda paths, name: paths.download(name, CORE),
    "download_2core": lambda paths, name: paths.download(name, None),
    "download_tls": lambda paths, name: paths.download(name, CORE, "download_tls"),
    "download_tls_2core": lambda paths, name: paths.download(name, None, "download_tls"),
    "relay_1core": lambda paths, name: paths.relay(name, CORE),
    "relay_2core": lambda paths, name: paths.relay(name, None),
    "warm_hit": lambda paths, name: paths.warm_hit(name),
    "tls_origin": lambda paths, name: paths.tls_origin(name),
    "shaped": lambda paths, name: paths.shaped(name),
}
"""What is measured, by the name of its figures."""
OPTIONAL: dict[str, Measure] = {
    "upload_go": lambda paths, name: paths.upload_go(name),
    "relay_1core_c": lambda paths, name: paths.relay_c(name, CORE),
    "relay_2core_c": lambda paths, name: paths.relay_c(name, None),
    "shaped_c": lambda paths, name: paths.shaped_c(name),
}
"""What is measured only if it is asked for: it takes a program that few have, or says nothing of a daemon."""


def _server(node: Node) -> Server:
    return Server(HostId(node.name), node.peers)


async def _round(worker: Child) -> Turn:
    await worker.tell({})
    return Turn(**await worker.hear())


def _children_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
