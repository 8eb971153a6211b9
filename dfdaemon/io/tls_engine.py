"""TLS of one connection, fed from memory: whoever owns the socket moves the sealed bytes.

`ssl.SSLSocket` reads one record of 16 KiB with two system calls, and belongs to one event loop; here a hundred records
come from each call, and any thread may take them. One thread at a time owns an engine.
"""

import ssl
from threading import local
from typing import Any, cast

SEALED_BYTES = 256 * 1024
"""What is taken from a socket at once and handed to TLS; each thread has one such buffer."""
SEALED_BYTES_MIN = 4096
"""Less is never asked for: a record's own bytes come on top of its content."""
EMPTY_BYTES_MAX = 128 * 1024
"""Taken without any content: a record has 16 KiB. Endless new keys are records too, and would hold us for ever."""

_kept = local()


def sealed_room(count: int) -> memoryview:
    """Return room in this thread's buffer for what seals about `count` bytes."""
    if not hasattr(_kept, "room"):
        _kept.room = memoryview(bytearray(SEALED_BYTES))
    room: memoryview = _kept.room
    return room[: max(count, SEALED_BYTES_MIN)]


class TlsEngine:
    """One side of TLS. `host`: who the other side must prove to be, where the context asks for that."""

    def __init__(self, context: ssl.SSLContext, host: str | None = None, server_side: bool = False) -> None:
        self._came, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._empty_bytes = 0
        self._tls = context.wrap_bio(self._came, self._out, server_side=server_side, server_hostname=host)

    @property
    def certificate(self) -> dict[str, Any]:
        """What the other side proved to be, in the form of `ssl.SSLSocket.getpeercert`; empty before it did."""
        return dict(self._tls.getpeercert() or {})

    @property
    def pending(self) -> bool:
        """Whether sealed or opened bytes wait here; an unfinished record may be all there is."""
        return self._tls.pending() > 0 or self._came.pending > 0

    def shake_hands(self) -> bool:
        """Take the next step of the handshake; False until it is done: send what is sealed, and take more.

        Raises ssl.SSLError.
        """
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        self._empty_bytes = 0
        return True

    def take(self, sealed: bytes | memoryview) -> None:
        """Take bytes of the other side; none: it has ended."""
        if len(sealed):
            self._empty_bytes += len(sealed)
            self._came.write(sealed)
        else:
            self._came.write_eof()

    def open(self, room: memoryview) -> int:
        """Open what is there into `room`; return how many bytes, 0 at the end, -1 if none are there.

        Raises ssl.SSLError, and ConnectionError when nothing but records without content comes.
        """
        count, found = self._open(room)
        if count:
            self._empty_bytes = 0
        elif not found and self._empty_bytes > EMPTY_BYTES_MAX:
            raise ConnectionError(f"TLS brought {self._empty_bytes} bytes without any content")
        return count if count or found else -1

    def _open(self, room: memoryview) -> tuple[int, bool]:
        """Return how many bytes were opened, and whether the end was found behind them."""
        count = 0
        try:
            while count < len(room):
                step = cast(int, self._tls.read(len(room) - count, cast(bytearray, room[count:])))
                if not step:
                    return count, True
                count += step
        except ssl.SSLWantReadError:
            return count, False
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            return count, True  # an end without a farewell is common: who counts bytes sees what is missing
        return count, False

    def seal(self, data: bytes | memoryview) -> None:
        """Seal bytes for the other side. Raises ssl.SSLError."""
        self._tls.write(data)

    @property
    def unsent_bytes(self) -> int:
        """Return how much `sealed` would."""
        return self._out.pending

    def sealed(self) -> bytes:
        """Return what is to be sent, which may be nothing; it is not returned again."""
        return self._out.read()
