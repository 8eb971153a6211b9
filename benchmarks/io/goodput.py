"""What links are like when they are used: the payload that one connection carries, and the round trip beside it.

A link's rate counts headers too, and whoever sends fills the queue before the link: others wait there.
"""

import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from socket import IPPROTO_TCP, SHUT_WR, TCP_NODELAY, socket

STEP_BYTES = 256 << 10
WARM_S = 0.5
"""Left out at the beginning: the token bucket is full then, and the connection still learns the rate."""
MEASURE_S = 1.5
PINGS = 50
PING_PAUSE_S = 0.01

Connection = tuple[socket, socket]
"""The end that sends, and the end that receives."""


def goodput_bytes_per_s(sender: socket, receiver: socket) -> float:
    """Send as fast as it goes, for two seconds; return the rate at which the payload arrived. Closes both sockets."""
    with receiver, _flooded(sender) as stop:
        _receive(receiver, WARM_S)
        count, seconds = _receive(receiver, MEASURE_S)
        stop.set()
        _drain(receiver)
    return count / seconds


def loaded_rtt_s(there: Connection, back: Connection, beside: Connection) -> float:
    """Fill the links between two hosts both ways; return the median round trip of single bytes beside that.

    Closes all sockets.
    """
    with _drained(there[1]), _drained(back[1]), _flooded(there[0]), _flooded(back[0]):
        time.sleep(WARM_S)
        return statistics.median(_round_trips(*beside))


def _round_trips(near: socket, far: socket) -> Iterator[float]:
    with near, far:
        for end in (near, far):
            end.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
        for _ in range(PINGS):
            began = time.monotonic()
            near.sendall(b"?")
            far.recv(1)
            far.sendall(b"!")
            near.recv(1)
            yield time.monotonic() - began
            time.sleep(PING_PAUSE_S)


@contextmanager
def _flooded(sender: socket) -> Iterator[threading.Event]:
    """Send as fast as it goes, until the end or until the event is set; somebody must receive meanwhile."""
    stop = threading.Event()
    sending = threading.Thread(target=_send, args=(sender, stop))
    sending.start()
    try:
        yield stop
    finally:
        stop.set()
        sending.join()
        sender.close()


def _send(sender: socket, stop: threading.Event) -> None:
    step = bytes(STEP_BYTES)
    while not stop.is_set():
        sender.sendall(step)
    sender.shutdown(SHUT_WR)


@contextmanager
def _drained(receiver: socket) -> Iterator[None]:
    """Take what comes, until the sender ends."""
    taking = threading.Thread(target=_drain, args=(receiver,))
    taking.start()
    try:
        yield
    finally:
        taking.join()
        receiver.close()


def _drain(receiver: socket) -> None:
    while receiver.recv(STEP_BYTES):
        pass


def _receive(receiver: socket, for_s: float) -> tuple[int, float]:
    """Receive for a while; return how many bytes came in how many seconds."""
    count, began = 0, time.monotonic()
    while (seconds := time.monotonic() - began) < for_s:
        count += len(receiver.recv(STEP_BYTES))
    return count, seconds
