"""Many hosts without a swarm: each takes its blobs from one HTTP server, writes them to a file and checks the digests.

What `dfbench fanout --compare` sets beside the daemons. The program of a process: it reads a PlainTask from standard
input, says that it is ready, and at the word "go" lets all hosts pull at once (benchmarks/io/child_process.py).
"""

import asyncio
import json
import os
import socket
import sys
import time
from dataclasses import dataclass
from typing import Any

import uvloop

from benchmarks.io.fanout_worker import BLOBS_AT_ONCE, PROGRESS_S, PULL_S_MAX, used
from benchmarks.io.pacing import Pacer
from benchmarks.report import NodeResult, as_dict
from swarm.digest import Digest

BUFFER_BYTES = 256 * 1024
"""Received at once; one buffer serves all hosts of a process."""
HEADER_BYTES_MAX = 16 * 1024
"""The head of an answer; ours have some hundreds of bytes."""


class BadAnswer(Exception):
    """The server's answer is not a whole blob with its digest."""


@dataclass(frozen=True, slots=True)
class PlainTask:
    """What one process has to do. `blobs`: digests and sizes; `server`: host:port; 0 bytes per second: no limit."""

    nodes: list[int]
    folder: str
    server: str
    repository: str
    blobs: list[tuple[str, int]]
    link_bytes_per_s: int


class Clients:
    """The hosts of this process."""

    def __init__(self, task: PlainTask) -> None:
        self.done = 0
        self.received_bytes = 0
        self._task = task
        self._buffer = memoryview(bytearray(BUFFER_BYTES))

    async def pull(self) -> list[NodeResult]:
        """Let all hosts pull all blobs at once."""
        return await asyncio.gather(*(self._pull(node) for node in self._task.nodes))

    async def _pull(self, node: int) -> NodeResult:
        began, failure = time.monotonic(), ""
        slots, link = asyncio.Semaphore(BLOBS_AT_ONCE), Pacer(self._task.link_bytes_per_s or None)
        try:
            async with asyncio.timeout(PULL_S_MAX), asyncio.TaskGroup() as group:
                for number, (digest, size) in enumerate(self._task.blobs):
                    path = f"{self._task.folder}/plain-{node}-{number}"
                    group.create_task(self._blob(Digest.parse(digest), size, path, slots, link))
        except TimeoutError:
            failure = f"not done within {PULL_S_MAX:g} s"
        except ExceptionGroup as errors:
            failure = str(errors.exceptions[0])
        self.done += 1
        return NodeResult(time.monotonic() - began, failure=failure)

    async def _blob(
        self, digest: Digest, size: int, path: str, slots: asyncio.Semaphore, link: Pacer
    ) -> None:
        async with slots:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
            sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            try:
                sock.setblocking(False)
                os.posix_fallocate(fd, 0, size)
                first = await self._ask(sock, digest)
                await self._store(sock, fd, first, size, digest, link)
            finally:
                sock.close()
                os.close(fd)

    async def _ask(self, sock: socket.socket, digest: Digest) -> bytes:
        """Send the request; return what came with the head of the answer."""
        loop = asyncio.get_running_loop()
        host, _, port = self._task.server.rpartition(":")
        await loop.sock_connect(sock, (host, int(port)))
        path = f"/v2/{self._task.repository}/blobs/{digest}"
        request = f"GET {path} HTTP/1.1\r\nHost: {self._task.server}\r\nConnection: close\r\n\r\n"
        await loop.sock_sendall(sock, request.encode())
        head = b""
        while b"\r\n\r\n" not in head:
            part = await loop.sock_recv(sock, HEADER_BYTES_MAX)
            head += part
            if not part or len(head) > HEADER_BYTES_MAX:
                raise BadAnswer("the server did not answer")
        if not head.startswith(b"HTTP/1.1 200 "):
            raise BadAnswer(f"the server answered {head.partition(bytes(2))[0][:40]!r}")
        return head.partition(b"\r\n\r\n")[2]

    async def _store(
        self, sock: socket.socket, fd: int, first: bytes, size: int, digest: Digest, link: Pacer
    ) -> None:
        loop, hasher = asyncio.get_running_loop(), digest.hasher()
        data, place = memoryview(first), 0
        while True:
            hasher.update(data)
            place += os.pwrite(fd, data, place)
            self.received_bytes += len(data)
            if place >= size:
                break
            await link.take(len(data))
            await _readable(loop, sock)
            count = sock.recv_into(self._buffer, min(size - place, link.step_bytes, BUFFER_BYTES))
            if not count:
                raise BadAnswer(f"the answer ended after {place} of {size} bytes")
            data = self._buffer[:count]
        if hasher.hexdigest() != digest.hex:
            raise BadAnswer(f"what came is not {digest}")


def _readable(loop: asyncio.AbstractEventLoop, sock: socket.socket) -> asyncio.Future[None]:
    """Wait until there is something to receive: a buffer can be shared only from then on."""
    ready = loop.create_future()
    loop.add_reader(sock, _found, loop, sock, ready)
    return ready


def _found(loop: asyncio.AbstractEventLoop, sock: socket.socket, ready: asyncio.Future[None]) -> None:
    loop.remove_reader(sock)
    if not ready.done():
        ready.set_result(None)


def _say(message: dict[str, Any]) -> None:
    print(json.dumps(message), flush=True)


async def _report(clients: Clients) -> None:
    while True:
        await asyncio.sleep(PROGRESS_S)
        _say({"done": clients.done, "received_bytes": clients.received_bytes})


async def run() -> None:
    """Do what standard input says."""
    clients = Clients(PlainTask(**json.loads(sys.stdin.readline())))
    _say({"ready": True})
    await asyncio.to_thread(sys.stdin.readline)
    reporting = asyncio.create_task(_report(clients))
    cpu_before_s, _ = used()
    results = await clients.pull()
    reporting.cancel()
    cpu_s, rss_bytes = used()
    shown = [as_dict(result) for result in results]
    _say({"results": shown, "cpu_s": cpu_s - cpu_before_s, "rss_bytes": rss_bytes})


def main() -> None:
    """One process."""
    uvloop.run(run())


if __name__ == "__main__":
    main()
