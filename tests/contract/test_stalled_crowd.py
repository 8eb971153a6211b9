"""Those who neither read nor send cost a connection each: no thread, hardly memory, and nobody waits for them."""

import asyncio
import os
import socket
import threading
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from pathlib import Path

import pytest

from benchmarks.io.image import Image, generate_image
from benchmarks.io.origin_registry import OriginRegistry
from dfdaemon.commands import FetchRange
from dfdaemon.config import OriginConfig, RegistryConfig
from dfdaemon.events import (
    ChildLost,
    ChildSubscribed,
    Event,
    OriginAdvanced,
    OriginEnded,
    PieceRequested,
    UploadEnded,
)
from dfdaemon.io import peer_connection, upload_connection
from dfdaemon.io.origin_client import OriginClient, OriginSource
from dfdaemon.io.origin_fetch import OriginFetch
from dfdaemon.io.peer_handshake import Identity, greet
from dfdaemon.io.peer_server import PeerServer
from dfdaemon.io.piece_file import PieceFile
from dfdaemon.io.piece_transfer import Outcome, PieceTransfer, Received
from dfdaemon.io.receiver import ReceiverPool
from swarm.dice import Dice
from swarm.digest import Digest
from swarm.frames import Purpose, RequestFrame, SubscribeFrame
from swarm.ids import Epoch, HostId
from swarm.messages import Address
from swarm.pieces import MIB, PieceMap
from swarm.wire import encode
from tests.support.mirror import REGISTRY, Mirror, content_of, running_mirror
from tests.support.peers import PARENT, TOKEN, Blob, Inbox, quick, read_piece, receivers, serving

CROWD = 500
RECEIVE_BUFFER_BYTES = 16 * 1024
MEMORY_BYTES_MAX = 64 * MIB
"""For 2,000 stalled connections: 32 KiB each, both ends and the test's own part included."""
LARGE = PieceMap.of(2 << 30)
"""Its pieces, of 4 MiB, are larger than the buffers on the way."""
BLOB = Blob(2 * MIB)
DIGEST = Digest.of(BLOB.content)


def memory_bytes() -> int:
    """Return what this process holds in memory, files that are mapped left out."""
    resident, shared = (int(word) for word in Path("/proc/self/statm").read_text().split()[1:3])
    return (resident - shared) * os.sysconf("SC_PAGE_SIZE")


async def connected(at: Address, open_sockets: ExitStack) -> socket.socket:
    """Return a connection that takes little before its reader reads."""
    sock = open_sockets.enter_context(socket.socket())
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, (at.host, at.port))
    return sock


class Bench:
    """The byte paths of one daemon: its receivers, its peer server, its mirror and its way to the origin."""

    def __init__(
        self, pool: ReceiverPool, server: PeerServer, at: Address, inbox: Inbox, mirror: Mirror, image: Image
    ) -> None:
        self.pool, self.server, self.at, self.inbox = pool, server, at, inbox
        self.mirror, self.image = mirror, image
        self.sockets = ExitStack()
        self.waiting: list[asyncio.Task[None]] = []

    # --- who stalls -----------------------------------------------------------------------------------------

    async def child(self, number: int, file: PieceFile) -> None:
        """A host that asks for a piece and reads nothing of it."""
        host, loop = HostId(f"child-{number}"), asyncio.get_running_loop()
        control = await connected(self.at, self.sockets)
        await greet(control, Identity(host, TOKEN), PARENT, Purpose.CONTROL, quick())
        await loop.sock_sendall(control, encode(SubscribeFrame(BLOB.task)))
        await self.inbox.next(ChildSubscribed)
        data = await connected(self.at, self.sockets)
        await greet(data, Identity(host, TOKEN), PARENT, Purpose.DATA, quick())
        await loop.sock_sendall(data, encode(RequestFrame(1, BLOB.task, 0)))
        asked = await self.inbox.next(PieceRequested)
        self.server.start_upload(host, asked.request, BLOB.task, BLOB.records[0], file, LARGE.piece_bytes)

    def parent(self, file: PieceFile, outcomes: "asyncio.Queue[Outcome]") -> PieceTransfer:
        """A host that sends the first bytes of a piece."""
        theirs, ours = (self.sockets.enter_context(end) for end in socket.socketpair())
        ours.setblocking(False)
        theirs.sendall(bytes(1000))
        transfer = PieceTransfer(ours, file, 0, self.pool.make_hash(), 600.0, None)
        self.pool.start(transfer, outcomes.put_nowait)
        return transfer

    async def fetch(self, origin: OriginClient, file: PieceFile) -> None:
        """A download from an origin that sends the head of its answer, and some bytes."""
        began = asyncio.Event()

        def take(event: Event) -> None:
            if isinstance(event, OriginAdvanced | OriginEnded):
                began.set()

        command = FetchRange(BLOB.task, Epoch(1), 0, LARGE.count, 600.0, -1)
        source = OriginSource("stalled.test", "a", DIGEST, "blob")
        fetch = OriginFetch(command, file, take, self.pool)
        self.waiting.append(asyncio.create_task(fetch.run(origin, source)))
        await began.wait()
        assert not self.waiting[-1].done()

    async def client(self) -> None:
        """A client of the mirror that asks for a layer and reads nothing of it."""
        sock = await connected(Address("127.0.0.1", self.mirror.port), self.sockets)
        path = f"/v2/{self.image.name}/blobs/{self.image.layers[0].digest}?ns={REGISTRY}"
        await asyncio.get_running_loop().sock_sendall(
            sock, f"GET {path} HTTP/1.1\r\nHost: m\r\n\r\n".encode()
        )

    # --- who does not ---------------------------------------------------------------------------------------

    async def healthy(self) -> None:
        """A piece out, a piece in, and a layer from the origin to a client, each whole."""
        layer = self.image.layers[0].digest
        answer = await self.mirror.get(f"/v2/{self.image.name}/blobs/{layer}")
        assert (answer.status, answer.body) == (200, content_of(self.image, layer))
        theirs, ours = socket.socketpair()
        file, outcomes = BLOB.empty_file(), asyncio.Queue[Outcome]()
        with theirs, ours:
            ours.setblocking(False)
            transfer = PieceTransfer(ours, file, 1, self.pool.make_hash(), 5.0, None)
            self.pool.start(transfer, outcomes.put_nowait)
            await asyncio.to_thread(theirs.sendall, BLOB.piece(1))
            received = await outcomes.get()
        assert isinstance(received, Received)
        assert (received.digest, read_piece(file, 1)) == (BLOB.records[1].digest, BLOB.piece(1))
        file.release()
        await self._piece_out()

    async def _piece_out(self) -> None:
        host, loop, file = HostId("reader"), asyncio.get_running_loop(), BLOB.file()
        with ExitStack() as own:
            control = await connected(self.at, own)
            await greet(control, Identity(host, TOKEN), PARENT, Purpose.CONTROL, quick())
            data = await connected(self.at, own)
            await greet(data, Identity(host, TOKEN), PARENT, Purpose.DATA, quick())
            await loop.sock_sendall(data, encode(RequestFrame(1, BLOB.task, 1)))
            asked = await self.inbox.next(PieceRequested)
            record, length = BLOB.records[1], BLOB.pieces.length(1)
            self.server.start_upload(host, asked.request, BLOB.task, record, file, length)
            came = b""
            while not came.endswith(BLOB.piece(1)):
                part = await loop.sock_recv(data, 100_000)
                assert part, "the connection was closed"
                came += part
        file.release()
        await self.inbox.next(UploadEnded)
        await self.inbox.next(ChildLost)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    image = generate_image(tmp_path, "demo/app", "v1", [16 * MIB])
    inbox = Inbox()
    async with (
        receivers(2) as pool,
        serving(inbox, children_max=CROWD + 8) as (server, at),
        OriginRegistry([image]) as registry,
        running_mirror(registry, tmp_path) as mirror,
    ):
        made = Bench(pool, server, at, inbox, mirror, image)
        yield made
        made.sockets.close()


@asynccontextmanager
async def stalled_origin() -> AsyncIterator[OriginClient]:
    """An origin that never gets further than the first bytes of a body, and the way to it."""
    serving: set[asyncio.StreamWriter] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.add(writer)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\nsome" % LARGE.size)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    config = OriginConfig(registries=(RegistryConfig(name="stalled.test", url=url),), read_timeout_s=600.0)
    client = OriginClient(config, Dice(1))
    try:
        yield client
    finally:
        await client.close()
        server.close()
        for writer in serving:
            writer.close()
        await asyncio.gather(*(writer.wait_closed() for writer in serving), return_exceptions=True)


async def test_crowds_that_stall_do_no_harm(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload_connection, "STALL_S", 600.0)
    monkeypatch.setattr(peer_connection, "PING_AFTER_S", 600.0)  # who stalls answers no ping
    large = PieceFile.ring(LARGE.size, 1)
    await bench.healthy()
    threads, memory = threading.active_count(), memory_bytes()
    async with AsyncExitStack() as closing:
        closing.callback(large.release)
        origin = await closing.enter_async_context(stalled_origin())
        outcomes: asyncio.Queue[Outcome] = asyncio.Queue()
        transfers = [bench.parent(large, outcomes) for _ in range(CROWD)]
        for number in range(CROWD):
            await bench.child(number, large)
            await bench.fetch(origin, large)
            await bench.client()
        blobs = bench.mirror.blobs
        while blobs.open_readers < CROWD:
            blobs.opened.clear()
            await blobs.opened.wait()
        await bench.healthy()
        assert threading.active_count() <= threads
        assert memory_bytes() - memory <= MEMORY_BYTES_MAX
        assert (bench.server.stats().uploads, blobs.open_readers) == (CROWD, CROWD)
        assert outcomes.empty()
        for task in bench.waiting:
            task.cancel()
        await asyncio.gather(*bench.waiting)
        for transfer in transfers:
            transfer.cancel()
        for _ in transfers:
            await outcomes.get()
