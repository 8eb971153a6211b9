"""Children of a daemon, made by hand: data connections after their handshake, for a cheap program to use."""

import asyncio
import itertools
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from dfdaemon.events import PeerFault
from dfdaemon.io.peer_connection import ControlConnection
from dfdaemon.io.peer_handshake import Identity, greet
from dfdaemon.io.peer_server import UPLOAD_CONNECTIONS_MAX
from dfdaemon.io.peer_socket import connect
from dfdaemon.patience import Patience
from swarm.addresses import parse_listen
from swarm.frames import FROM_PARENT, AvailabilityFrame, Frame, Purpose, SubscribeFrame
from swarm.ids import HostId, TaskId
from swarm.messages import Address

AVAILABLE_S_MAX = 10.0
_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Server:
    """A daemon to take pieces from: its name, and the address of its peer wire (host:port)."""

    host: HostId
    address: str


@asynccontextmanager
async def data_sockets(server: Server, task: TaskId, count: int) -> AsyncIterator[list[socket.socket]]:
    """Have `count` data connections to a daemon, of as many children as that takes; whoever uses them closes them.

    Raises PeerError, and TimeoutError when the daemon says nothing of the task.
    """
    controls: list[ControlConnection] = []
    sockets: list[socket.socket] = []
    try:
        while len(sockets) < count:
            child = Identity(HostId(f"bench-{os.getpid()}-{next(_numbers)}"), b"")
            controls.append(await _subscribe(server, child, task))
            for _ in range(min(UPLOAD_CONNECTIONS_MAX, count - len(sockets))):
                sockets.append(await _connect(server, child, Purpose.DATA))
        yield sockets
    finally:
        for control in controls:
            control.close()
        for each in sockets:
            each.close()


async def _subscribe(server: Server, child: Identity, task: TaskId) -> ControlConnection:
    available = asyncio.get_running_loop().create_future()

    def heard(frame: Frame) -> None:
        if isinstance(frame, AvailabilityFrame) and not available.done():
            available.set_result(None)

    def lost(fault: PeerFault, reason: str) -> None:
        if not available.done():
            available.set_exception(ConnectionError(reason))

    sock = await _connect(server, child, Purpose.CONTROL)
    control = ControlConnection(FROM_PARENT, heard, lost)
    await asyncio.get_running_loop().create_connection(lambda: control, sock=sock)
    control.send(SubscribeFrame(task))
    async with asyncio.timeout(AVAILABLE_S_MAX):
        await available
    return control


async def _connect(server: Server, child: Identity, purpose: Purpose) -> socket.socket:
    host, port = parse_listen(server.address, "the daemon's peer wire")
    patience = Patience()
    sock = await connect([Address(host, port)], patience)
    await greet(sock, child, server.host, purpose, patience)
    return sock
