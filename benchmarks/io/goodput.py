"""What one TCP connection carries over a link, in bytes of payload: a link's rate counts headers too."""

import threading
import time
from socket import SHUT_WR, socket

STEP_BYTES = 256 << 10
WARM_S = 0.5
"""Left out at the beginning: the token bucket is full then, and the connection still learns the rate."""
MEASURE_S = 1.5


def goodput_bytes_per_s(sender: socket, receiver: socket) -> float:
    """Send as fast as it goes, for two seconds; return the rate at which the payload arrived. Closes both sockets."""
    with sender, receiver:
        stop = threading.Event()
        sending = threading.Thread(target=_send, args=(sender, stop))
        sending.start()
        try:
            _receive(receiver, WARM_S)
            count, seconds = _receive(receiver, MEASURE_S)
        finally:
            stop.set()
            while receiver.recv(STEP_BYTES):
                pass
            sending.join()
    return count / seconds


def _send(sender: socket, stop: threading.Event) -> None:
    step = bytes(STEP_BYTES)
    while not stop.is_set():
        sender.sendall(step)
    sender.shutdown(SHUT_WR)


def _receive(receiver: socket, for_s: float) -> tuple[int, float]:
    """Receive for a while; return how many bytes came in how many seconds."""
    count, began = 0, time.monotonic()
    while (seconds := time.monotonic() - began) < for_s:
        count += len(receiver.recv(STEP_BYTES))
    return count, seconds
