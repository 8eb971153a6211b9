"""The receiving half of a daemon, without the decisions of a swarm: downloads, relays, or fetches from an origin.

The program of a process of `dfbench bytes`. It reads a WorkerTask from standard input, says that it is ready, and does
its work once for each further line; answers are lines of JSON (benchmarks/io/child_process.py). What it runs is the
daemon's own: PeerClient, ReceiverPool, PeerServer, OriginClient and OriginFetch. Every piece's digest is checked.
"""

import asyncio
import json
import resource
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvloop

from dfdaemon import events
from dfdaemon.commands import FetchRange
from dfdaemon.config import OriginConfig, PeerConfig, RegistryConfig
from dfdaemon.io.origin_client import OriginClient, OriginSource
from dfdaemon.io.origin_fetch import OriginFetch
from dfdaemon.io.peer_client import PeerClient
from dfdaemon.io.peer_server import PeerServer
from dfdaemon.io.piece_file import PieceFile
from dfdaemon.io.receiver import ReceiverPool
from dfdaemon.patience import Patience
from swarm.addresses import parse_listen
from swarm.dice import Dice
from swarm.digest import Digest
from swarm.ids import Epoch, HostId, RequestId
from swarm.messages import Address, HostInfo, Parent, PieceRecord
from swarm.pieces import PieceMap

CONNECTIONS = 4
"""Requests at once to the one parent: as many as a daemon has data connections to it."""
ORIGIN_SILENCE_S = 20.0
WORKER = HostId("worker")


class WorkerFailed(Exception):
    """A piece did not come, or came wrong."""


@dataclass(frozen=True, slots=True)
class WorkerTask:
    """What to do: `kind` is a key of KINDS; the first `count` pieces of a blob go to their places in `file`.

    Pieces come from the daemon `parent` at `address` (host:port), or of `repository` from the registry at `address` (an
    URL) with this certificate; from the daemon over TLS if there is a `key` to it, which is then also ours.
    """

    kind: str
    digest: str
    size: int
    count: int
    file: str
    address: str
    parent: str = ""
    repository: str = ""
    certificate: str = ""
    key: str = ""


class Download:
    """Takes pieces from one parent."""

    def __init__(
        self, task: WorkerTask, on_piece: Callable[[PieceRecord], None] = lambda record: None
    ) -> None:
        self.task = task
        self._on_piece = on_piece
        self._digest = Digest.parse(task.digest)
        self._file = PieceFile.on_disk(Path(task.file), PieceMap.of(task.size))
        config = PeerConfig(
            tls="require" if task.key else "off",
            certificate_file=task.certificate,
            key_file=task.key,
            ca_file=task.certificate,
        )
        receivers = ReceiverPool(config.receive_threads, config.piece_digest)
        self._client = PeerClient(HostInfo(WORKER, ()), b"", config, receivers, Patience(), self._heard)
        self._wanted: deque[int] = deque()
        self._missing = 0
        self._available = asyncio.Event()
        self._done: asyncio.Future[None] | None = None

    async def start(self) -> None:
        """Connect to the parent."""
        host, port = parse_listen(self.task.address, "the parent's address")
        parent = Parent(HostId(self.task.parent), (Address(host, port),))
        self._client.subscribe(parent, self._digest.task, self.task.size)
        await self._available.wait()

    async def round(self) -> None:
        """Take all pieces once; raises WorkerFailed."""
        self._wanted.extend(range(self.task.count))
        self._missing, self._done = self.task.count, asyncio.get_running_loop().create_future()
        for _ in range(min(CONNECTIONS, self.task.count)):
            self._ask()
        await self._done

    def _ask(self) -> None:
        parent, index = HostId(self.task.parent), self._wanted.popleft()
        self._client.request(parent, self._digest.task, index, self._file, scratch=False)

    def _heard(self, event: events.Event) -> None:
        if isinstance(event, events.ParentAvailable):
            self._available.set()
        elif isinstance(event, events.PieceArrived) and event.actual == event.claimed.digest:
            self._on_piece(event.claimed)
            self._missing -= 1
            if self._wanted:
                self._ask()
            elif not self._missing and self._done is not None:
                self._done.set_result(None)
        elif self._done is not None and not self._done.done():
            self._done.set_exception(WorkerFailed(str(event)))


class Relay:
    """Takes pieces from a parent, and serves each as soon as it is verified."""

    def __init__(self, task: WorkerTask) -> None:
        self._task = task
        self._download = Download(task, self._gained)
        self._records: dict[int, PieceRecord] = {}
        self._waiting: dict[int, list[tuple[HostId, RequestId]]] = {}
        self._left = task.count
        self._served = asyncio.Event()
        self.address = ""

    async def start(self) -> None:
        """Connect to the parent, and listen at `address`."""
        pieces = PieceMap.of(self._task.size)
        self._file = PieceFile.on_disk(Path(self._task.file), pieces)
        self._pieces, self._blob = pieces, Digest.parse(self._task.digest).task
        config = PeerConfig(listen="127.0.0.1:0")
        self._server = PeerServer(HostInfo(WORKER, ()), b"", config, Patience(), self._asked)
        listening = await self._server.start()
        self.address = f"{listening.host}:{listening.port}"
        await self._download.start()

    async def round(self) -> None:
        """Take all pieces once, and serve each once; what is asked for before waits."""
        await self._download.round()
        await self._served.wait()
        self._records.clear()
        self._left = self._task.count
        self._served.clear()

    def _gained(self, record: PieceRecord) -> None:
        self._records[record.index] = record
        for child, request in self._waiting.pop(record.index, ()):
            self._upload(child, request, record)

    def _asked(self, event: events.Event) -> None:
        if isinstance(event, events.ChildSubscribed):
            self._server.send_availability(event.child, event.task, self._task.size, 0)
        elif isinstance(event, events.PieceRequested):
            record = self._records.get(event.index)
            if record is None:
                self._waiting.setdefault(event.index, []).append((event.child, event.request))
            else:
                self._upload(event.child, event.request, record)
        elif isinstance(event, events.UploadEnded):
            self._left -= 1
            if not self._left:
                self._served.set()

    def _upload(self, child: HostId, request: RequestId, record: PieceRecord) -> None:
        length = self._pieces.length(record.index)
        self._server.start_upload(child, request, self._blob, record, self._file, length)


class OriginDownload:
    """Fetches a range of pieces from an origin registry on one connection."""

    def __init__(self, task: WorkerTask) -> None:
        self._task = task
        self._ended: events.OriginEnded | None = None

    async def start(self) -> None:
        """Make what asks the origin; nothing is asked yet."""
        task = self._task
        registry = RegistryConfig(name="registry.bench", url=task.address, ca_file=task.certificate)
        self._origin = OriginClient(OriginConfig(registries=(registry,)), Dice(1))
        self._file = PieceFile.on_disk(Path(task.file), PieceMap.of(task.size))
        config = PeerConfig()
        self._receivers = ReceiverPool(config.receive_threads, config.piece_digest)
        self._source = OriginSource("registry.bench", task.repository, Digest.parse(task.digest), "blob")

    async def round(self) -> None:
        """Fetch; raises WorkerFailed."""
        command = FetchRange(self._source.task, Epoch(1), 0, self._task.count, ORIGIN_SILENCE_S)
        self._ended = None
        fetch = OriginFetch(command, self._file, self._heard, self._receivers)
        await fetch.run(self._origin, self._source)
        if self._ended is None or self._ended.fault is not None:
            raise WorkerFailed(str(self._ended))

    def _heard(self, event: events.Event) -> None:
        if isinstance(event, events.OriginEnded):
            self._ended = event


KINDS: dict[str, Callable[[WorkerTask], Any]] = {
    "download": Download,
    "download_tls": Download,
    "relay": Relay,
    "origin": OriginDownload,
}


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _say(message: dict[str, Any]) -> None:
    print(json.dumps(message), flush=True)


async def run() -> None:
    """Do what standard input says, once for each line, until it ends."""
    task = WorkerTask(**json.loads(sys.stdin.readline()))
    work = KINDS[task.kind](task)
    await work.start()
    _say({"address": getattr(work, "address", "")})
    moved = PieceMap.of(task.size).span_bytes(0, task.count)
    while await asyncio.to_thread(sys.stdin.readline):
        began, cpu_before_s = time.monotonic(), _cpu_s()
        await work.round()
        _say({"seconds": time.monotonic() - began, "cpu_s": _cpu_s() - cpu_before_s, "bytes": moved})


def main() -> None:
    """One process."""
    uvloop.run(run())


if __name__ == "__main__":
    main()
