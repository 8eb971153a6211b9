"""What this machine can do at best: the bytes of a fan-out through plain sockets, in a random tree.

Every node takes the blob from one other, receives into a reused buffer, hashes (xxh3), writes to a file of its own
and passes on with sendfile what it has so far. No protocol, no verification, no decisions. `machine_limit` runs it in
a process for each core; this module is also the program of such a process, which speaks JSON lines with its parent.
"""

import asyncio
import json
import os
import random
import resource
import select
import socket
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.io.child_process import Child
from benchmarks.report import MachineLimit
from dfdaemon.io.piece_hash import piece_hash

BUFFER_BYTES = 512 * 1024
"""As the daemon's receivers have."""
SEND_BYTES = 1 << 20
"""Most in one sendfile, as the daemon's uploads."""
FAN_OUT = 4
"""Most children of a node: as many as a daemon has upload slots."""
CONGESTION = b"reno"
"""As the daemon's sockets on loopback have."""


def random_tree(nodes: int, seed: int) -> list[int]:
    """Return the parent of each node (-1 for node 0): one that comes before it and has fewer than FAN_OUT children."""
    dice = random.Random(seed)  # noqa: S311 - a tree, no secret
    parents, room = [-1], [0] * FAN_OUT
    for node in range(1, nodes):
        place = dice.randrange(len(room))
        room[place], room[-1] = room[-1], room[place]
        parents.append(room.pop())
        room += [node] * FAN_OUT
    return parents


async def machine_limit(folder: Path, blob: Path, nodes: int, seed: int, processes: int) -> MachineLimit:
    """Bring the file `blob` to `nodes` files below `folder`; raises ChildFailed."""
    parents = random_tree(nodes + 1, seed)  # node 0 is the origin
    shares = [list(range(1 + part, nodes + 1, processes)) for part in range(processes)]
    children = [
        await Child.start(f"limit-{part}", folder, "benchmarks.io.fanout_limit") for part in range(processes)
    ]
    try:
        for child, share in zip(children, shares, strict=True):
            await child.tell({"nodes": share, "parents": parents, "blob": str(blob), "folder": str(folder)})
        ports = [(await child.hear())["port"] for child in children]
        await _all(children, {"ports": ports})
        began = time.monotonic()
        ended = await _all(children, {"go": True})
        return MachineLimit(time.monotonic() - began, sum(each["cpu_s"] for each in ended))
    finally:
        await asyncio.gather(*(child.stop() for child in children))


async def _all(children: list[Child], message: dict[str, Any]) -> list[dict[str, Any]]:
    for child in children:
        await child.tell(message)
    return [await child.hear() for child in children]


@dataclass(slots=True, eq=False)
class _Feed:
    """A child of a node, and how far it was fed."""

    sock: socket.socket
    node: "_Node"
    sent: int = 0
    waits: bool = False


@dataclass(slots=True, eq=False)
class _Node:
    """A node: its file, what it has, its source and its children."""

    fd: int
    have: int = 0
    source: socket.socket | None = None
    hash: Any = field(default_factory=piece_hash("xxh3"))
    feeds: list[_Feed] = field(default_factory=list)


class _Tree:
    """The nodes of one process, all on one thread: a core is busy with copying, more threads would only switch."""

    def __init__(self, task: dict[str, Any]) -> None:
        self._blob = os.open(task["blob"], os.O_RDONLY)
        self._size = os.fstat(self._blob).st_size
        self._parents: list[int] = task["parents"]
        self._nodes = {number: _Node(self._file(task["folder"], number)) for number in task["nodes"]}
        self._nodes[0] = _Node(self._blob)
        self._epoll = select.epoll()
        self._sources: dict[int, _Node] = {}
        self._feeds: dict[int, _Feed] = {}
        self._unfinished = len(task["nodes"])
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self._listener.setsockopt(socket.SOL_TCP, socket.TCP_CONGESTION, CONGESTION)
        self.port: int = self._listener.getsockname()[1]

    def _file(self, folder: str, number: int) -> int:
        os.makedirs(f"{folder}/limit-{number}")
        fd = os.open(f"{folder}/limit-{number}/data", os.O_RDWR | os.O_CREAT)
        os.posix_fallocate(fd, 0, self._size)
        return fd

    def connect(self, ports: list[int]) -> None:
        """Connect each node to its parent, wherever that is, and take the children of our own nodes."""
        mine = set(self._nodes)
        for number, node in self._nodes.items():
            parent = self._parents[number]
            if parent >= 0:
                port = self.port if parent == 0 else ports[(parent - 1) % len(ports)]
                node.source = sock = socket.create_connection(("127.0.0.1", port))
                sock.sendall(parent.to_bytes(4, "big"))
                self._sources[sock.fileno()] = node
        for number, parent in enumerate(self._parents):
            if parent in mine and (parent > 0 or number in mine):
                self._accept()
        for fd, node in self._sources.items():
            assert node.source is not None, "every node but the first has a source"
            node.source.setblocking(False)
            self._epoll.register(fd, select.EPOLLIN)

    def _accept(self) -> None:
        sock, _ = self._listener.accept()
        node = self._nodes[int.from_bytes(sock.recv(4, socket.MSG_WAITALL), "big")]
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_TCP, socket.TCP_NODELAY, 1)
        feed = _Feed(sock, node)
        node.feeds.append(feed)
        self._feeds[sock.fileno()] = feed

    def run(self) -> None:
        """Pass everything on until all nodes have it."""
        buffer = memoryview(bytearray(BUFFER_BYTES))
        self._nodes[0].have = self._size
        for feed in self._nodes[0].feeds:
            self._feed(feed)
        while self._unfinished or any(feed.sent < self._size for feed in self._feeds.values()):
            for fd, _ in self._epoll.poll():
                if fd in self._sources:
                    self._receive(self._sources[fd], fd, buffer)
                else:
                    self._feed(self._feeds[fd])

    def _receive(self, node: _Node, fd: int, buffer: memoryview) -> None:
        assert node.source is not None, "only a node with a source receives"
        count = node.source.recv_into(buffer)
        assert count, "a parent went away"
        data = buffer[:count]
        node.hash.update(data)
        os.pwrite(node.fd, data, node.have)
        node.have += count
        if node.have == self._size:
            self._epoll.unregister(fd)
            self._unfinished -= 1
        for feed in node.feeds:
            if not feed.waits:
                self._feed(feed)

    def _feed(self, feed: _Feed) -> None:
        fd = feed.sock.fileno()
        wanted = min(SEND_BYTES, feed.node.have - feed.sent)
        try:
            while wanted:
                feed.sent += os.sendfile(fd, feed.node.fd, feed.sent, wanted)
                wanted = min(SEND_BYTES, feed.node.have - feed.sent)
        except BlockingIOError:
            if not feed.waits:
                feed.waits = True
                self._epoll.register(fd, select.EPOLLOUT)
            return
        if feed.waits:
            feed.waits = False
            self._epoll.unregister(fd)


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """One process: read what to do, say where it listens, connect, go."""
    tree = _Tree(json.loads(sys.stdin.readline()))
    print(json.dumps({"port": tree.port}), flush=True)
    tree.connect(json.loads(sys.stdin.readline())["ports"])
    print(json.dumps({"ready": True}), flush=True)
    sys.stdin.readline()
    before = _cpu_s()
    tree.run()
    print(json.dumps({"cpu_s": _cpu_s() - before}), flush=True)
    sys.stdin.readline()


if __name__ == "__main__":
    main()
