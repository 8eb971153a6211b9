"""Receives bytes off the event loop, in a few worker threads: from parents and from origins.

Each thread serves many sockets with an epoll of its own, so a slow sender blocks nobody. `recv_into`, the
hashes and `pwrite` release the GIL. The loop hears once per piece.
"""

import asyncio
import contextlib
import math
import mmap
import os
import select
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from enum import Enum, auto
from functools import partial
from typing import Any, Generic, TypeVar

from dfdaemon.io.piece_hash import piece_hash
from dfdaemon.io.token_bucket import TokenBucket

BUFFER_BYTES = 512 * 1024
"""One buffer per thread, reused: fresh memory costs page faults, a small one costs system calls. It is mapped, so that
it takes memory only from the first transfer on."""
LOOK_S = 0.05
"""How often to look for transfers that are silent for too long."""
UNTOLD_S_MAX = 0.25
"""What has arrived is taken after so long, although a socket tells only of more (low_water.py): a slow sender is not
silent, and progress is told."""
JOIN_S_MAX = 5.0
"""How long close() waits for a thread that may be inside a write to a slow disk."""

T = TypeVar("T")


class Step(Enum):
    """What a transfer that is not over needs next."""

    READ = auto()
    """Another step: at once if bytes are `pending`, else when its socket has some."""
    WAIT = auto()
    """Its socket had nothing: another step when it has."""
    PAUSE = auto()
    """No step until Transfer.resume()."""


class Transfer(ABC, Generic[T]):
    """Bytes on their way from a socket to a file. Its thread owns it until its outcome was told."""

    def __init__(self, fd: int, silence_s_max: float, limit: TokenBucket | None) -> None:
        """`fd`: of the socket, which is non-blocking. `limit` holds for all that share it."""
        self.fd = fd
        self.silence_s_max = silence_s_max
        self.limit = limit
        self.granted = 0
        """Bytes that the limit lets it read now, or when it goes on; a step takes off what it reads."""
        self.touched = self.looked = time.monotonic()
        """When bytes came last, and when they were last looked for though no socket told of any."""
        self.tell: Callable[[T], None] = _nobody
        self.report: Callable[[dict[str, Any]], None] = _nobody
        self.post: Callable[[Order], None] = _nobody

    def cancel(self) -> None:
        """End it: the outcome `cancelled` follows, when nothing writes any more, unless it was over before."""
        self.post(Order.CANCEL)

    def resume(self) -> None:
        """Go on after a PAUSE."""
        self.post(Order.RESUME)

    @abstractmethod
    def step(self, room: memoryview) -> Step | T:
        """In the thread: read once, at most `room`, and store it; return the outcome when it is over."""

    @property
    def pending(self) -> bool:
        """Whether bytes wait that the socket will not tell of."""
        return False

    @property
    @abstractmethod
    def cancelled(self) -> T:
        """The outcome of one that was cancelled."""

    @property
    @abstractmethod
    def timed_out(self) -> T:
        """The outcome of one that was silent for too long."""

    @property
    def failed(self) -> T:
        """The outcome of one in which a fault of ours showed: nothing more comes of it, as after a silence."""
        return self.timed_out


class Order(Enum):
    """What the loop tells a thread of a transfer."""

    START = auto()
    CANCEL = auto()
    RESUME = auto()


class ReceiverPool:
    """The worker threads. All methods are called on the event loop's thread."""

    def __init__(self, threads: int, kind: str) -> None:
        """Start `threads` workers; pieces get digests of this kind ("xxh3" or "blake3")."""
        self.make_hash = piece_hash(kind)
        self._workers = [_Worker(number) for number in range(threads)]

    def start(self, transfer: Transfer[T], on_done: Callable[[T], None]) -> None:
        """Start a transfer. `on_done` is called once, on this loop.

        Until then its socket and file belong to the thread: the caller keeps both open and leaves them alone. When
        no byte comes for `silence_s_max` it ends as `timed_out`. What raises an exception ends as `failed`, and the
        loop's exception handler hears of it.
        """
        worker = min(self._workers, key=lambda each: each.load)
        worker.load += 1
        loop = asyncio.get_running_loop()

        def finish(outcome: T) -> None:
            worker.load -= 1
            on_done(outcome)

        transfer.tell = partial(call_on, loop, finish)
        transfer.report = partial(call_on, loop, loop.call_exception_handler)
        transfer.post = partial(worker.post, transfer)
        transfer.post(Order.START)

    def close(self) -> None:
        """End all transfers as cancelled, and the threads."""
        for worker in self._workers:
            worker.stop()
        for worker in self._workers:
            worker.join()


def call_on(loop: asyncio.AbstractEventLoop, take: Callable[..., None], *news: Any) -> None:
    """From a thread: call something on a loop, unless that has ended."""
    try:
        loop.call_soon_threadsafe(take, *news)
    except RuntimeError:
        assert loop.is_closed(), "only a closed loop takes no more calls"


def _nobody(news: Any) -> None:
    raise AssertionError("a transfer is told of only once it was started")


class _Worker:
    """One thread and its transfers. `load` is the loop's count of them; the rest is the thread's."""

    def __init__(self, number: int) -> None:
        self.load = 0
        self._inbox: deque[tuple[Transfer[Any], Order]] = deque()
        self._stopping = False
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._epoll = select.epoll()
        self._epoll.register(self._wake, select.EPOLLIN)
        self._active: dict[int, Transfer[Any]] = {}
        """Transfers by their socket's descriptor."""
        self._ready: set[int] = set()
        """Those with bytes that no socket will tell of."""
        self._look_at = 0.0
        self._resting: dict[int, tuple[float, float]] = {}
        """Those that the limit holds back, or that are paused: until when, and since when."""
        self._buffer = memoryview(mmap.mmap(-1, BUFFER_BYTES, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))
        self._thread = threading.Thread(target=self._run, name=f"receiver-{number}", daemon=True)
        self._thread.start()

    def post(self, transfer: Transfer[Any], order: Order) -> None:
        """From the loop: start, cancel or resume a transfer."""
        self._inbox.append((transfer, order))
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
            told = {fd for fd, _ in self._epoll.poll(0 if self._ready else self._wait_s())}
            if self._wake in told:
                os.eventfd_read(self._wake)
                self._read_inbox()
            for fd in told | self._ready:
                if fd in self._active and fd not in self._resting:
                    self._advance(self._active[fd])
            if self._resting:
                self._go_on(time.monotonic())
            if self._active and time.monotonic() >= self._look_at:
                self._expire()
        self._read_inbox()
        for transfer in list(self._active.values()):
            self._finish(transfer, transfer.cancelled)

    def _wait_s(self) -> float | None:
        if not self._active:
            return None
        wake_at = min((self._look_at, *(until for until, _ in self._resting.values())))
        return max(0.0, wake_at - time.monotonic())

    def _rest(self, transfer: Transfer[Any], now: float, until: float) -> None:
        """Read nothing more of it for a while: what has arrived stays in its socket, and holds its sender back."""
        self._epoll.unregister(transfer.fd)
        self._ready.discard(transfer.fd)
        self._resting[transfer.fd] = until, now

    def _go_on(self, now: float) -> None:
        """Go on with those that have rested; their senders are not to blame for this time."""
        for fd in [fd for fd, (until, _) in self._resting.items() if until <= now]:
            _, since = self._resting.pop(fd)
            self._active[fd].touched += now - since
            self._listen(self._active[fd])

    def _expire(self) -> None:
        """End what was silent for too long. It comes after reading: what arrived meanwhile, or untold, counts."""
        now = time.monotonic()
        for fd, transfer in list(self._active.items()):
            silent_s_max = transfer.silence_s_max
            known_at = max(transfer.touched, transfer.looked)
            if fd in self._resting or now - known_at < min(UNTOLD_S_MAX, silent_s_max):
                continue
            transfer.looked = now
            self._advance(transfer)
            waits = fd in self._active and fd not in self._resting
            if waits and now - transfer.touched >= silent_s_max:
                self._finish(transfer, transfer.timed_out)
        self._look_at = now + LOOK_S

    def _read_inbox(self) -> None:
        while self._inbox:
            transfer, order = self._inbox.popleft()
            fd = transfer.fd
            if order is Order.START:
                self._active[fd] = transfer
                self._listen(transfer)
            elif self._active.get(fd) is not transfer:
                continue  # it is over
            elif order is Order.CANCEL:
                self._finish(transfer, transfer.cancelled)
            elif fd in self._resting and self._resting[fd][0] == math.inf:  # the limit's waits go on
                self._resting[fd] = 0.0, self._resting[fd][1]

    def _listen(self, transfer: Transfer[Any]) -> None:
        """Read it whenever its socket has something, beginning now."""
        try:
            self._epoll.register(transfer.fd, select.EPOLLIN)
        except Exception as error:
            self._fail(transfer, error)
        else:
            self._ready.add(transfer.fd)

    def _finish(self, transfer: Transfer[Any], outcome: Any) -> None:
        del self._active[transfer.fd]
        self._ready.discard(transfer.fd)
        if self._resting.pop(transfer.fd, None) is None:
            with contextlib.suppress(OSError, ValueError):  # its socket was closed, against the contract
                self._epoll.unregister(transfer.fd)
        if transfer.granted and transfer.limit is not None:
            transfer.limit.reserve(-transfer.granted, time.monotonic())
        transfer.tell(outcome)

    def _fail(self, transfer: Transfer[Any], error: Exception) -> None:
        """End one transfer in which a fault of ours showed: the thread serves many others, and goes on."""
        message = f"{type(transfer).__name__} failed in its thread; please report this"
        transfer.report({"message": message, "exception": error})
        self._finish(transfer, transfer.failed)

    def _advance(self, transfer: Transfer[Any]) -> None:
        try:
            self._step(transfer)
        except Exception as error:
            self._fail(transfer, error)

    def _step(self, transfer: Transfer[Any]) -> None:
        limit, room = transfer.limit, self._buffer
        if limit is not None:
            if not transfer.granted and not self._may_go_on(transfer, limit):
                return
            room = room[: transfer.granted]
        found = transfer.step(room)
        if found is Step.PAUSE:
            self._rest(transfer, time.monotonic(), math.inf)
        elif not isinstance(found, Step):
            self._finish(transfer, found)
        elif found is Step.READ and transfer.pending:
            self._ready.add(transfer.fd)
        else:
            self._ready.discard(transfer.fd)

    def _may_go_on(self, transfer: Transfer[Any], limit: TokenBucket) -> bool:
        """Ask for the next step of a limited transfer, each in its turn; where it must wait it rests until then."""
        now = time.monotonic()
        transfer.granted = limit.step_bytes
        wait_s = limit.reserve(transfer.granted, now)
        if wait_s > 0:
            self._rest(transfer, now, now + wait_s)
        return wait_s <= 0
