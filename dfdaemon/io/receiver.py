"""Receives pieces off the event loop: socket to buffer, hash, file, in a few worker threads.

Each thread serves many sockets with an epoll of its own, so a slow parent blocks nobody. `recv_into`, the
hashes and `pwrite` release the GIL. The loop hears once per piece.
"""

import asyncio
import os
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from dfdaemon.events import PeerFault
from dfdaemon.io.piece_file import PieceFile
from dfdaemon.io.token_bucket import TokenBucket
from swarm.piece_digest import PieceHash, piece_digest

BUFFER_BYTES = 512 * 1024
"""One buffer per thread, reused: fresh memory costs page faults, a small one costs system calls."""
LOOK_S = 0.05
"""How often to look for transfers that are silent for too long."""
JOIN_S_MAX = 5.0
"""How long close() waits for a thread that may be inside a write to a slow disk."""


@dataclass(frozen=True, slots=True)
class Received:
    """A whole piece is written; `digest` was made from its bytes. `silence_s`: the longest pause between them."""

    digest: bytes
    seconds: float
    silence_s: float


Outcome = Received | PeerFault
OnDone = Callable[[Outcome], None]


class Transfer:
    """One piece on its way from a socket to its place. Its thread owns it until `on_done` was called."""

    __slots__ = (
        "_worker",
        "fd",
        "hash",
        "left",
        "limit",
        "on_done",
        "place",
        "silence_s",
        "silence_s_max",
        "sock",
        "started",
        "touched",
    )

    def __init__(
        self,
        worker: "_Worker",
        sock: socket.socket,
        file: PieceFile,
        index: int,
        silence_s_max: float,
        limit: TokenBucket | None,
        on_done: OnDone,
    ) -> None:
        self._worker = worker
        self.sock = sock
        self.fd = file.fd
        self.place = file.place(index)
        self.left = file.pieces.length(index)
        self.hash = worker.make_hash()
        self.silence_s_max = silence_s_max
        self.limit = limit
        self.on_done = on_done
        self.silence_s = 0.0
        self.started = self.touched = time.monotonic()

    def cancel(self) -> None:
        """End it: `on_done(CANCELLED)` follows, when nothing writes any more, unless it was over before."""
        self._worker.post(self, False)


class ReceiverPool:
    """The worker threads. All methods are called on the event loop's thread."""

    def __init__(self, threads: int, kind: str) -> None:
        """Start `threads` workers that make piece digests of this kind ("xxh3" or "blake3")."""
        self._workers = [_Worker(number, piece_digest(kind)) for number in range(threads)]

    def receive(
        self,
        sock: socket.socket,
        file: PieceFile,
        index: int,
        silence_s_max: float,
        limit: TokenBucket | None,
        on_done: OnDone,
    ) -> Transfer:
        """Take piece `index` from a non-blocking socket, at its first byte, to its place in `file`.

        When no byte comes for `silence_s_max` it ends with TIMEOUT; `limit` holds for all transfers together. Until
        `on_done` is called on this loop, once, the socket and the file belong to the thread: the caller keeps both
        open and leaves the socket alone. After a Received it stands behind the piece.
        """
        worker = min(self._workers, key=lambda each: each.load)
        worker.load += 1
        loop = asyncio.get_running_loop()

        def finish(outcome: Outcome) -> None:
            worker.load -= 1
            on_done(outcome)

        transfer = Transfer(worker, sock, file, index, silence_s_max, limit, partial(_tell, loop, finish))
        worker.post(transfer, True)
        return transfer

    def close(self) -> None:
        """End all transfers as cancelled, and the threads."""
        for worker in self._workers:
            worker.stop()
        for worker in self._workers:
            worker.join()


def _tell(loop: asyncio.AbstractEventLoop, finish: OnDone, outcome: Outcome) -> None:
    try:
        loop.call_soon_threadsafe(finish, outcome)
    except RuntimeError:
        assert loop.is_closed(), "only a closed loop takes no more calls"


class _Worker:
    """One thread and its transfers. `load` is the loop's count of them; the rest is the thread's."""

    def __init__(self, number: int, make_hash: Callable[[], PieceHash]) -> None:
        self.make_hash = make_hash
        self.load = 0
        self._inbox: deque[tuple[Transfer, bool]] = deque()
        self._stopping = False
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._epoll = select.epoll()
        self._epoll.register(self._wake, select.EPOLLIN)
        self._active: dict[int, Transfer] = {}
        """Transfers by their socket's descriptor."""
        self._look_at = 0.0
        self._resting: dict[int, float] = {}
        """Transfers that the limit holds back, by their socket's descriptor, and until when."""
        self._buffer = memoryview(bytearray(BUFFER_BYTES))
        self._thread = threading.Thread(target=self._run, name=f"receiver-{number}", daemon=True)
        self._thread.start()

    def post(self, transfer: Transfer, starts: bool) -> None:
        """From the loop: start or cancel a transfer."""
        self._inbox.append((transfer, starts))
        os.eventfd_write(self._wake, 1)

    def stop(self) -> None:
        """From the loop: end all transfers and the thread."""
        self._stopping = True
        os.eventfd_write(self._wake, 1)

    def join(self) -> None:
        """Wait for the end of the thread; leave it behind if its disk does not answer."""
        self._thread.join(JOIN_S_MAX)
        if not self._thread.is_alive():
            self._epoll.close()
            os.close(self._wake)

    def _run(self) -> None:
        while not self._stopping:
            for fd, _ in self._epoll.poll(self._wait_s()):
                if fd == self._wake:
                    os.eventfd_read(self._wake)
                    self._read_inbox()
                elif fd in self._active:
                    self._advance(self._active[fd])
            if self._resting:
                self._go_on(time.monotonic())
            if self._active and time.monotonic() >= self._look_at:
                self._expire()
        self._read_inbox()
        for transfer in list(self._active.values()):
            self._finish(transfer, PeerFault.CANCELLED)

    def _wait_s(self) -> float | None:
        if not self._active:
            return None
        return max(0.0, min((self._look_at, *self._resting.values())) - time.monotonic())

    def _rest(self, transfer: Transfer, until: float) -> None:
        """Read nothing more of it for a while: what has arrived stays in its socket, and holds its sender back."""
        fd = transfer.sock.fileno()
        self._epoll.unregister(fd)
        self._resting[fd] = until

    def _go_on(self, now: float) -> None:
        for fd in [fd for fd, until in self._resting.items() if until <= now]:
            del self._resting[fd]
            self._epoll.register(fd, select.EPOLLIN)
            self._active[fd].touched = now

    def _expire(self) -> None:
        """End what was silent for too long. It comes after reading: what arrived while we were busy counts."""
        now = time.monotonic()
        for transfer in list(self._active.values()):
            if (
                transfer.touched + transfer.silence_s_max <= now
                and transfer.sock.fileno() not in self._resting
            ):
                self._finish(transfer, PeerFault.TIMEOUT)
        self._look_at = now + LOOK_S

    def _read_inbox(self) -> None:
        while self._inbox:
            transfer, starts = self._inbox.popleft()
            fd = transfer.sock.fileno()
            if starts:
                self._active[fd] = transfer
                self._epoll.register(fd, select.EPOLLIN)
            elif self._active.get(fd) is transfer:
                self._finish(transfer, PeerFault.CANCELLED)

    def _finish(self, transfer: Transfer, outcome: Outcome) -> None:
        fd = transfer.sock.fileno()
        del self._active[fd]
        if self._resting.pop(fd, None) is None:
            self._epoll.unregister(fd)
        transfer.on_done(outcome)

    def _advance(self, transfer: Transfer) -> None:
        limit, wanted, now = transfer.limit, min(transfer.left, BUFFER_BYTES), time.monotonic()
        if limit is not None:
            if limit.wait_s(now) > 0:
                self._rest(transfer, now + limit.wait_s(now))
                return
            wanted = min(wanted, limit.step_bytes)
        try:
            count = transfer.sock.recv_into(self._buffer, wanted)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            count = 0
        if count == 0:
            self._finish(transfer, PeerFault.CLOSED)
            return
        if limit is not None:
            limit.take(count, now)
        try:
            self._store(transfer, self._buffer[:count])
        except OSError:
            self._finish(transfer, PeerFault.DISK)
            return
        if transfer.left == 0:
            seconds = transfer.touched - transfer.started
            self._finish(transfer, Received(transfer.hash.digest(), seconds, transfer.silence_s))

    def _store(self, transfer: Transfer, data: memoryview) -> None:
        transfer.hash.update(data)
        while data:
            count = os.pwrite(transfer.fd, data, transfer.place)
            transfer.place += count
            transfer.left -= count
            data = data[count:]
        now = time.monotonic()
        transfer.silence_s = max(transfer.silence_s, now - transfer.touched)
        transfer.touched = now
