"""The low-water mark of a socket that bytes of a known count are awaited on (SO_RCVLOWAT).

Without it the kernel tells of each packet, and a link of 1 Gbit/s is read, hashed and written in steps of one to a few
packets. The mark must never be above what still comes: such a wait would not end. The kernel lowers it to half of a
receive buffer of fixed size, makes an automatic one larger, and tells at once of an end, an error and a full window.
"""

import socket

MARK_BYTES = 256 * 1024
"""Worth a wakeup: two of them fill a receiver's buffer."""


class LowWater:
    """The mark of one socket. It begins at 1, the kernel's own."""

    __slots__ = ("_mark", "_sock")

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._mark = 1

    def expect(self, count: int) -> None:
        """At least `count` more bytes come: let waits for them end when many are there, or the last. 0: any byte."""
        mark = max(1, min(MARK_BYTES, count))
        if mark != self._mark:
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, mark)
            self._mark = mark
