"""Connections that have proved nothing yet: so many at most, and who had time enough makes room for others."""

import asyncio
import socket
from collections.abc import Callable, Coroutine

from dfdaemon.io.peer_handshake import HANDSHAKE_S

HANDSHAKES_MAX = 128
"""Connections that have not proved anything yet; more wait in the kernel's backlog."""
ACCEPT_PAUSE_S = 0.2
"""How long not to accept when there are no file descriptors left."""

Greet = Callable[[socket.socket], Coroutine[None, None, None] | None]
"""Takes a new connection at once (None), or returns how it is greeted, which ends with its being taken or closed."""


class Newcomers:
    """Accepts connections, on the event loop's thread."""

    def __init__(self, greet: Greet, on_refused: Callable[[str], None]) -> None:
        """`on_refused` hears why the system lets nothing be accepted for now."""
        self._greet = greet
        self._on_refused = on_refused
        self._loop = asyncio.get_running_loop()
        self._listener: socket.socket | None = None
        self._accepting = False
        self._since: dict[asyncio.Task[None], float] = {}
        """Those that are greeted, and since when."""
        self._room_timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._since)

    def open(self, listener: socket.socket) -> None:
        """Accept from now on."""
        self._listener = listener
        self._resume()

    def close(self) -> None:
        """Accept no more, close the listener, and end all greetings."""
        listener, self._listener = self._listener, None
        if listener is not None:
            self._pause(listener)
            listener.close()
        for task in self._since:
            task.cancel()

    def _resume(self) -> None:
        if self._listener is not None and not self._accepting:
            self._accepting = True
            self._loop.add_reader(self._listener, self._accept, self._listener)

    def _pause(self, listener: socket.socket) -> None:
        if self._accepting:
            self._accepting = False
            self._loop.remove_reader(listener)

    def _accept(self, listener: socket.socket) -> None:
        for _ in range(HANDSHAKES_MAX - len(self._since)):  # and then others get their turn
            try:
                sock = listener.accept()[0]
            except (BlockingIOError, InterruptedError, ConnectionError):
                return
            except OSError as error:
                self._on_refused(str(error))
                self._pause(listener)
                self._loop.call_later(ACCEPT_PAUSE_S, self._resume)
                return
            greeting = self._greet(sock)
            if greeting is not None:
                task = self._loop.create_task(greeting)
                self._since[task] = self._loop.time()
                task.add_done_callback(self._greeted)
        if len(self._since) >= HANDSHAKES_MAX:
            self._pause(listener)
            self._room_timer = self._room_timer or self._loop.call_later(HANDSHAKE_S, self._make_room)

    def _greeted(self, task: asyncio.Task[None]) -> None:
        self._since.pop(task, None)
        self._resume()

    def _make_room(self) -> None:
        """While others wait to be accepted, who had time enough to prove something makes room."""
        self._room_timer = None
        if self._accepting or self._listener is None:
            return
        late = self._loop.time() - HANDSHAKE_S
        for task, since in list(self._since.items()):
            if since <= late:
                task.cancel()
        oldest = min((since for since in self._since.values() if since > late), default=self._loop.time())
        self._room_timer = self._loop.call_at(oldest + HANDSHAKE_S, self._make_room)
