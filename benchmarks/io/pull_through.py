"""A pull-through cache, the swarm's competitor: one host takes each blob from the origin once, and gives it to all.

It streams: whoever asks while a blob is still coming gets what is there, and the rest as it comes. That is more than
most such caches do. All answers share the rate of one link. The program of a process:

    python -m benchmarks.io.pull_through --origin HOST:PORT --folder DIR [--bytes-per-s N]
"""

import argparse
import asyncio
import contextlib
import json
import os
import signal
import socket
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
from aiohttp import web

from benchmarks.io.pacing import Pacer

CHUNK_BYTES = 256 * 1024
"""Taken from the origin at once."""
BACKLOG = 1024
"""Clients that may wait to be accepted: a whole cluster comes at once."""
CONGESTION = b"reno"
"""As the daemons' sockets on loopback have."""


@dataclass(slots=True)
class Blob:
    """One blob: its file, how much of it is there, and how much there will be."""

    fd: int
    size: int
    have: int = 0
    grown: asyncio.Condition = field(default_factory=asyncio.Condition)


class Cache:
    """All blobs, and the link over which they leave."""

    def __init__(self, origin: str, folder: Path, bytes_per_s: int) -> None:
        self._origin = origin
        self._folder = folder
        self._link = Pacer(bytes_per_s or None)
        self._blobs: dict[str, asyncio.Task[Blob]] = {}
        self._fetching: set[asyncio.Task[None]] = set()
        self._session: aiohttp.ClientSession | None = None

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Answer a GET of a blob."""
        path = request.path
        if path not in self._blobs:
            self._blobs[path] = asyncio.create_task(self._open(path))
        blob = await self._blobs[path]
        response = web.StreamResponse()
        response.content_length = blob.size
        await response.prepare(request)
        at = 0
        with contextlib.suppress(ConnectionError):
            while at < blob.size:
                async with blob.grown:
                    await blob.grown.wait_for(lambda: blob.have > at)  # noqa: B023 - awaited in this turn
                data = os.pread(blob.fd, min(blob.have - at, self._link.step_bytes), at)
                await self._link.take(len(data))
                await response.write(data)
                at += len(data)
        return response

    async def _open(self, path: str) -> Blob:
        """Ask the origin; the bytes come in the background."""
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None))
        answer = await self._session.get(f"http://{self._origin}{path}")
        answer.raise_for_status()
        fd = os.open(self._folder / f"cached-{len(self._blobs)}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
        blob = Blob(fd, answer.content_length or 0)
        fetching = asyncio.create_task(_fetch(answer, blob))
        self._fetching.add(fetching)
        return blob

    async def close(self) -> None:
        """Let go of the origin."""
        if self._session is not None:
            await self._session.close()


async def _fetch(answer: aiohttp.ClientResponse, blob: Blob) -> None:
    async for chunk in answer.content.iter_chunked(CHUNK_BYTES):
        os.pwrite(blob.fd, chunk, blob.have)
        blob.have += len(chunk)
        async with blob.grown:
            blob.grown.notify_all()


def listener() -> socket.socket:
    """Return a socket on a free port of loopback."""
    sock = socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)
    sock.setsockopt(socket.SOL_TCP, socket.TCP_CONGESTION, CONGESTION)
    return sock


async def run(cache: Cache) -> None:
    """Serve until SIGTERM."""
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    app = web.Application()
    app.router.add_get("/v2/{name:.+}", cache.serve)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    sock = listener()
    await web.SockSite(runner, sock).start()
    host, port = sock.getsockname()
    print(json.dumps({"address": f"{host}:{port}"}), flush=True)
    await stopped.wait()
    await cache.close()
    await runner.cleanup()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="pull_through", description="Cache an origin's blobs.")
    parser.add_argument("--origin", required=True, metavar="HOST:PORT")
    parser.add_argument("--folder", type=Path, required=True, metavar="DIR")
    parser.add_argument(
        "--bytes-per-s", type=int, default=0, metavar="N", help="limit of all answers together"
    )
    options = parser.parse_args()
    asyncio.run(run(Cache(options.origin, options.folder, options.bytes_per_s)))


if __name__ == "__main__":
    main()
