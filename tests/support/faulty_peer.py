"""A parent that misbehaves: the real peer server with one fault, in this process or as one of its own.

    python -m tests.support.faulty_peer corrupt BLOB --listen 127.0.0.1:0 --scheduler 127.0.0.1:4000

holds the file BLOB, says so to the scheduler, and prints `listening HOST:PORT`. It runs until its stdin closes.
"""

import argparse
import asyncio
import socket
import sys
from enum import Enum
from pathlib import Path

from dfdaemon.config import PeerConfig, SchedulerLinkConfig
from dfdaemon.events import ChildLost, ChildSubscribed, Event, PieceRequested, SchedulerAttached
from dfdaemon.io.peer_handshake import FirstFrame
from dfdaemon.io.peer_server import PeerServer
from dfdaemon.io.piece_file import PieceFile
from dfdaemon.io.scheduler_client import LinkEvent, SchedulerClient
from dfdaemon.patience import Patience
from swarm.availability import full
from swarm.digest import Digest
from swarm.frames import HelloFrame, PieceFrame, WelcomeFrame
from swarm.ids import UNGRANTED, HostId, RequestId, TaskId
from swarm.messages import Address, HeldBlob, Hello, HostInfo, PieceRecord
from swarm.piece_digest import piece_digest
from swarm.pieces import PieceMap
from swarm.wire import encode

FAULTY = HostId("faulty")


class Fault(Enum):
    """What the peer does wrong."""

    NONE = "none"
    CORRUPT = "corrupt"
    """Each piece has a wrong byte; the digests are the right ones."""
    LIE = "lie"
    """Each piece has a wrong byte, and a digest to match."""
    SILENT = "silent"
    """Requests are never answered."""
    STALL = "stall"
    """Half a piece comes, and then nothing."""
    RESET = "reset"
    """Half a piece comes, and then the connection ends."""
    LONG = "long"
    """Pieces claim to be longer than they are."""
    OTHER = "other"
    """Pieces claim to be their neighbours."""
    BUSY = "busy"
    """Every request is answered BUSY."""
    ABSENT = "absent"
    """Pieces that were offered are not there."""
    SIZE = "size"
    """The blob is said to have another size."""
    GARBAGE = "garbage"
    """The control connection carries noise."""
    VERSION = "version"
    """The handshake chooses a version that does not exist."""


class _Server(PeerServer):
    """The real server, and the faults that lie below its interface."""

    fault = Fault.NONE

    async def _admit(self, sock: socket.socket, first: FirstFrame, hello: HelloFrame | None) -> None:
        if self.fault is not Fault.VERSION:
            await super()._admit(sock, first, hello)
            return
        loop = asyncio.get_running_loop()
        with sock:
            if hello is None:
                await first.wait()
            await loop.sock_sendall(sock, encode(WelcomeFrame(99, self._identity.host, bytes(32), bytes(32))))
            await loop.sock_recv(sock, 4096)

    def send_half(self, child: HostId, request: RequestId, record: PieceRecord, content: bytes) -> None:
        """Send a piece's header and its first half, as far as the socket takes it."""
        connection = self._connection(child, request)
        assert connection is not None, "it has just asked"
        asked = connection._asked
        assert asked is not None, "nobody answered it yet"
        connection._sock.send(encode(PieceFrame(asked, len(content), record)))
        connection._sock.send(content[: len(content) // 2])

    def say(self, child: HostId, data: bytes) -> None:
        """Send any bytes on the control connection."""
        self._children[child].control.write(data)


class FaultyPeer:
    """Holds one whole blob and serves it, with a fault."""

    def __init__(
        self,
        fault: Fault,
        content: bytes,
        *,
        host: HostId = FAULTY,
        token: bytes = b"",
        listen: str = "127.0.0.1:0",
        kind: str = "xxh3",
    ) -> None:
        self.fault = fault
        self.host = host
        self.task: TaskId = Digest.of(content).task
        self.pieces = PieceMap.of(len(content))
        self.requests = 0
        """How many pieces were asked for."""
        self._left = asyncio.Event()
        self._served = _spoil(content, self.pieces) if fault in (Fault.CORRUPT, Fault.LIE) else content
        claimed = self._served if fault is Fault.LIE else content
        self._records = [self._record(claimed, index, kind) for index in range(self.pieces.count)]
        self._file = PieceFile.ring(len(content), max(1, self.pieces.count))
        with open(self._file.fd, "wb", closefd=False) as file:
            file.write(self._served)
        self._server = _Server(HostInfo(host, ()), token, PeerConfig(listen=listen), Patience(), self._react)
        self._server.fault = fault

    async def start(self) -> Address:
        """Listen; return where."""
        return await self._server.start()

    async def close(self) -> None:
        """Leave all children."""
        await self._server.close(0)
        self._file.release()

    def say(self, child: HostId, data: bytes) -> None:
        """Send any bytes on a child's control connection."""
        self._server.say(child, data)

    async def left(self) -> None:
        """Wait until a child has left."""
        await self._left.wait()

    def held(self) -> HeldBlob:
        """What it tells the scheduler."""
        return HeldBlob(self.task, self.pieces.size)

    def _piece(self, content: bytes, index: int) -> bytes:
        return content[self.pieces.start(index) : self.pieces.end(index)]

    def _record(self, content: bytes, index: int, kind: str) -> PieceRecord:
        made = piece_digest(kind)()
        made.update(self._piece(content, index))
        return PieceRecord(index, made.digest(), UNGRANTED)

    def _react(self, event: Event) -> None:
        if isinstance(event, ChildSubscribed):
            self._offer(event)
        elif isinstance(event, PieceRequested):
            self.requests += 1
            self._answer(event)
        elif isinstance(event, ChildLost):
            self._left.set()

    def _offer(self, event: ChildSubscribed) -> None:
        if event.task != self.task:
            self._server.send_gone(event.child, event.task)
        elif self.fault is Fault.GARBAGE:
            self.say(event.child, b"HTTP/1.1 200 OK\r\n\r\n")
        elif self.fault is Fault.SIZE:
            self._server.send_availability(event.child, self.task, self.pieces.size + 1, 1)
        else:
            bits = full(self.pieces.count)
            self._server.send_availability(event.child, self.task, self.pieces.size, bits)

    def _answer(self, event: PieceRequested) -> None:
        child, request, index = event.child, event.request, event.index
        if self.fault is Fault.SILENT:
            return
        if self.fault in (Fault.BUSY, Fault.ABSENT):
            self._server.refuse(child, request, self.fault is Fault.ABSENT)
            return
        record, length = self._records[index], self.pieces.length(index)
        if self.fault in (Fault.STALL, Fault.RESET):
            self._server.send_half(child, request, record, self._piece(self._served, index))
            if self.fault is Fault.RESET:
                self._server.abort(child, request)
            return
        if self.fault is Fault.LONG:
            length += 1
        elif self.fault is Fault.OTHER:
            record = self._records[index - 1]
            length = self.pieces.length(record.index)
        self._server.start_upload(child, request, self.task, record, self._file, length)


def _spoil(content: bytes, pieces: PieceMap) -> bytes:
    """Return the content with the last byte of each piece changed."""
    spoiled = bytearray(content)
    for index in range(pieces.count):
        spoiled[pieces.end(index) - 1] ^= 0xFF
    return bytes(spoiled)


def attach(peer: FaultyPeer, at: Address, scheduler: str, token: bytes) -> SchedulerClient:
    """Tell a scheduler what the peer holds, whenever it listens."""

    def react(event: LinkEvent) -> None:
        if isinstance(event, SchedulerAttached):
            client.tell(Hello(HostInfo(peer.host, (at,)), held=(peer.held(),)))

    client = SchedulerClient(SchedulerLinkConfig(addresses=(scheduler,)), peer.host, token, react)
    client.start()
    return client


async def _run(arguments: argparse.Namespace) -> None:
    token = arguments.token_file.read_bytes().strip() if arguments.token_file else b""
    content = arguments.blob.read_bytes()
    host = HostId(arguments.host)
    peer = FaultyPeer(Fault(arguments.fault), content, host=host, token=token, listen=arguments.listen)
    at = await peer.start()
    link = attach(peer, at, arguments.scheduler, token) if arguments.scheduler else None
    print(f"listening {at.host}:{at.port}", flush=True)
    try:
        await asyncio.to_thread(sys.stdin.read)
    finally:
        if link is not None:
            await link.close()
        await peer.close()


def main() -> None:
    """Run a faulty peer until stdin closes."""
    parser = argparse.ArgumentParser(description="A parent that misbehaves.")
    parser.add_argument("fault", choices=[fault.value for fault in Fault])
    parser.add_argument("blob", type=Path)
    parser.add_argument("--listen", default="127.0.0.1:0")
    parser.add_argument("--host", default=FAULTY)
    parser.add_argument("--token-file", type=Path)
    parser.add_argument("--scheduler", default="")
    asyncio.run(_run(parser.parse_args()))


if __name__ == "__main__":
    main()
