"""Two ends of the peer wire on loopback, and a blob between them."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from dfdaemon.config import PeerConfig
from dfdaemon.events import ChildSubscribed, Event, ParentAvailable
from dfdaemon.io.peer_client import PeerClient
from dfdaemon.io.peer_server import PeerServer
from dfdaemon.io.piece_file import PieceFile
from dfdaemon.io.receiver import ReceiverPool
from dfdaemon.patience import Patience
from swarm.availability import full
from swarm.digest import Digest
from swarm.facts import Note
from swarm.frames import VERSION_MAX
from swarm.ids import Epoch, HostId, TaskId
from swarm.messages import Address, HostInfo, Parent, PieceRecord
from swarm.piece_digest import piece_digest
from swarm.pieces import PieceMap
from tests.support.certificates import make_certificate

E = TypeVar("E")
PARENT, CHILD = HostId("parent"), HostId("child")
TOKEN = b"a token of the tests"
SECURED: ContextVar[dict[str, Any] | None] = ContextVar("SECURED", default=None)
"""Settings of TLS that both ends have, unless a test says otherwise."""


def tls_settings(directory: Path, mode: str = "require") -> dict[str, Any]:
    """Return settings of TLS between hosts, with an authority made for them."""
    certificate, key = make_certificate(directory, "127.0.0.1")
    files = {"certificate_file": str(certificate), "key_file": str(key), "ca_file": str(certificate)}
    return {"tls": mode} | files


class Inbox:
    """Events in the order in which they came; a reaction may answer them like a machine would."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.notes: list[Note] = []
        self.react: Callable[[Event], None] = lambda event: None
        self._news = asyncio.Event()
        self._read = 0

    def emit(self, event: Event) -> None:
        self.events.append(event)
        self._news.set()
        self.react(event)

    async def next(self, kind: type[E]) -> E:
        """Wait for the next event, which must be of this kind."""
        while self._read == len(self.events):
            self._news.clear()
            await self._news.wait()
        event = self.events[self._read]
        self._read += 1
        assert isinstance(event, kind), f"{event} came where {kind.__name__} was expected"
        return event

    async def wait_for(self, wanted: Callable[[Event], bool]) -> None:
        """Wait until such an event came; reads nothing."""
        while not any(wanted(event) for event in self.events):
            self._news.clear()
            await self._news.wait()

    @property
    def unread(self) -> list[Event]:
        """What came and was not asked for."""
        return self.events[self._read :]


class Blob:
    """Random bytes, their pieces' records, and files with and without them."""

    def __init__(self, size: int, kind: str = "xxh3", seed: int = 7) -> None:
        self.content = random.Random(seed).randbytes(size)
        self.task: TaskId = Digest.of(self.content).task
        self.pieces = PieceMap.of(size)
        self.records = [self._record(index, kind) for index in range(self.pieces.count)]

    def _record(self, index: int, kind: str) -> PieceRecord:
        made = piece_digest(kind)()
        made.update(self.piece(index))
        return PieceRecord(index, made.digest(), Epoch(index + 1))

    def piece(self, index: int) -> bytes:
        return self.content[self.pieces.start(index) : self.pieces.end(index)]

    def empty_file(self) -> PieceFile:
        return PieceFile.ring(self.pieces.size, max(1, self.pieces.count))

    def file(self) -> PieceFile:
        file = self.empty_file()
        with open(file.fd, "wb", closefd=False) as out:
            out.write(self.content)
        return file


def read_piece(file: PieceFile, index: int) -> bytes:
    """Return the bytes at a piece's place."""
    parts: list[bytes] = []
    file.feed(index, lambda data: parts.append(bytes(data)))
    return b"".join(parts)


class Ends:
    """A child and a parent, not yet connected."""

    def __init__(
        self, server: PeerServer, client: PeerClient, at: Address, served: Inbox, got: Inbox
    ) -> None:
        self.server, self.client, self.at = server, client, at
        self.served, self.got = served, got

    @property
    def parent(self) -> Parent:
        return Parent(PARENT, (self.at,))


def quick() -> Patience:
    """A patience that begins with the least that its users ask for."""
    return Patience(start_s=0.0)


@asynccontextmanager
async def receivers(threads: int = 2, kind: str = "xxh3") -> AsyncIterator[ReceiverPool]:
    pool = ReceiverPool(threads, kind)
    try:
        yield pool
    finally:
        pool.close()


@asynccontextmanager
async def serving(
    inbox: Inbox,
    *,
    host: HostId = PARENT,
    token: bytes = TOKEN,
    listen: str = "127.0.0.1:0",
    children_max: int = 8,
    version_max: int = VERSION_MAX,
    secured: dict[str, Any] | None = None,
) -> AsyncIterator[tuple[PeerServer, Address]]:
    settings = secured or SECURED.get() or {}
    config = PeerConfig(listen=listen, children_max=children_max, **settings)
    server = PeerServer(HostInfo(host, ()), token, config, quick(), inbox.emit, inbox.notes.append)
    server._identity = replace(server._identity, version_max=version_max)
    at = await server.start()
    try:
        yield server, at
    finally:
        await server.close(0)


@asynccontextmanager
async def taking(
    inbox: Inbox,
    *,
    host: HostId = CHILD,
    token: bytes = TOKEN,
    pool: ReceiverPool | None = None,
    version_max: int = VERSION_MAX,
    secured: dict[str, Any] | None = None,
) -> AsyncIterator[PeerClient]:
    config = PeerConfig(**(secured or SECURED.get() or {}))
    async with receivers() as own:
        client = PeerClient(
            HostInfo(host, ()), token, config, pool or own, quick(), inbox.emit, inbox.notes.append
        )
        client._identity = replace(client._identity, version_max=version_max)
        try:
            yield client
        finally:
            await client.close()


@asynccontextmanager
async def two_ends(
    listen: str = "127.0.0.1:0", *, child_speaks: int = VERSION_MAX, parent_speaks: int = VERSION_MAX
) -> AsyncIterator[Ends]:
    """A child and a parent, each with the newest version of the wire that it speaks."""
    served, got = Inbox(), Inbox()
    async with (
        serving(served, listen=listen, version_max=parent_speaks) as (server, at),
        taking(got, version_max=child_speaks) as client,
    ):
        yield Ends(server, client, at, served, got)


async def subscribe(ends: Ends, blob: Blob) -> None:
    """Connect, and let the parent say that it has all of a blob."""
    ends.client.subscribe(ends.parent, blob.task, blob.pieces.size)
    assert await ends.served.next(ChildSubscribed) == ChildSubscribed(CHILD, blob.task)
    bits = full(blob.pieces.count)
    ends.server.send_availability(CHILD, blob.task, blob.pieces.size, bits)
    assert await ends.got.next(ParentAvailable) == ParentAvailable(PARENT, blob.task, bits)
