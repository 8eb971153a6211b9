"""All that connects us to one parent: a control connection, and data connections opened as needed."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

from dfdaemon import events
from dfdaemon.data_opening import Opener
from dfdaemon.events import PeerFault
from dfdaemon.io.peer_connection import ControlConnection
from dfdaemon.io.peer_handshake import Identity, greet, refused
from dfdaemon.io.peer_socket import Target, connect, connect_first
from dfdaemon.io.peer_stream import PeerStream, carry, probe_when_silent
from dfdaemon.io.peer_tls import PeerTls
from dfdaemon.io.piece_connection import Answer, Key, PieceConnection, Taken, Wish
from dfdaemon.io.piece_file import PieceFile
from dfdaemon.io.receiver import ReceiverPool
from dfdaemon.io.token_bucket import TokenBucket
from dfdaemon.patience import Patience
from swarm.errors import PeerError, WireError
from swarm.facts import Note
from swarm.frames import (
    FROM_PARENT,
    VERSION_OPEN,
    AvailabilityFrame,
    Frame,
    GoneFrame,
    HaveFrame,
    Purpose,
    ReadyFrame,
    RefusedFrame,
    SubscribeFrame,
    UnsubscribeFrame,
)
from swarm.ids import TaskId
from swarm.messages import Parent
from swarm.pieces import PieceMap
from swarm.wire import encode

DATA_CONNECTIONS_MAX = 4
"""To one parent: it has as many upload slots for all its children."""
IDLE_S_MAX = 30.0
"""A parent of no task stays connected this long, for the next layer of the same image."""


class ParentLink:
    """The connections to one parent, and what was asked of it.

    It ends once, with `on_end`; `fault` says why, None means idle. Events are posted in order; every request
    is answered once, and before `on_end`.
    """

    def __init__(
        self,
        parent: Parent,
        identity: Identity,
        tls: PeerTls,
        receivers: ReceiverPool,
        patience: Patience,
        limit: TokenBucket | None,
        post: Callable[[events.Event], None],
        on_note: Callable[[Note], None],
        on_end: Callable[[], None],
    ) -> None:
        """Connect to a parent."""
        self.fault: PeerFault | None = None
        self._parent = parent
        self._identity = identity
        self._tls = tls
        self._receivers = receivers
        self._patience = patience
        self._limit = limit
        self._post = post
        self._on_note = on_note
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._control: ControlConnection | None = None
        self._target: Target | None = None
        self._opener: Opener | None = None
        self._is_let_in = False
        self._sizes: dict[TaskId, int] = {}
        self._waiting: dict[Key, Wish] = {}
        self._running: dict[Key, PieceConnection] = {}
        self._idle: list[PieceConnection] = []
        self._opening: set[asyncio.Task[None]] = set()
        self._ending = False
        self._finished = False
        self._idle_timer: asyncio.TimerHandle | None = None
        self._spawn(self._open_control())

    def subscribe(self, task: TaskId, size: int) -> None:
        """Ask what the parent holds of a blob of `size` bytes."""
        if self._ending:
            self.fault = self.fault or PeerFault.CLOSED
            return  # answered by the ParentLost that is on its way
        self._sizes[task] = size
        self._tell(SubscribeFrame(task))
        self._settle()

    def unsubscribe(self, task: TaskId) -> None:
        """Hear nothing more of a task. What was requested still comes."""
        if self._sizes.pop(task, None) is not None:
            self._tell(UnsubscribeFrame(task))
            self._settle()

    def request(self, task: TaskId, index: int, file: PieceFile, scratch: bool) -> None:
        """Ask for a piece."""
        wish = Wish(task, index, scratch, file.retain(), time.monotonic())
        assert wish.key not in self._waiting, "asked for while it waits"
        assert wish.key not in self._running, "asked for while it runs"
        if self._ending:
            self._report(wish, self.fault or PeerFault.CLOSED)
        else:
            self._waiting[wish.key] = wish
            self._settle()

    def cancel(self, key: Key) -> None:
        """Take a request back."""
        wish = self._waiting.pop(key, None)
        if wish is not None:
            self._report(wish, PeerFault.CANCELLED)
            self._settle()
        elif key in self._running:
            self._running[key].cancel(PeerFault.CANCELLED)

    def end(self, fault: PeerFault | None) -> None:
        """Close everything; `on_end` follows when nothing writes any more."""
        if self._ending:
            return
        self._ending, self.fault = True, fault
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        if self._control is not None:
            self._control.close()
        for task in self._opening:
            task.cancel()
        for connection in self._idle:
            connection.close()
        self._idle.clear()
        for wish in self._waiting.values():
            self._report(wish, fault or PeerFault.CANCELLED)
        self._waiting.clear()
        for connection in self._running.values():
            connection.cancel(fault or PeerFault.CANCELLED)
        self._finish()

    # --- opening --------------------------------------------------------------------------------------------

    def _spawn(self, opening: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(opening)
        self._opening.add(task)
        task.add_done_callback(self._opened)

    def _opened(self, task: asyncio.Task[None]) -> None:
        self._opening.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            message = f"opening a connection to {self._parent.host} failed"
            self._loop.call_exception_handler({"message": message, "exception": error})
            self.end(PeerFault.UNREACHABLE)
        self._settle()

    async def _open_control(self) -> None:
        try:
            sock = await connect(self._parent.addresses, self._patience)
            target = (sock.family, sock.getpeername())
            stream = await self._tls.open(sock, self._patience)
            welcomed = await greet(stream, self._identity, self._parent.host, Purpose.CONTROL, self._patience)
            self._control = control = ControlConnection(FROM_PARENT, self._heard, self._lost)
            probe_when_silent(stream)
            await carry(stream, control)
        except (PeerError, OSError) as error:
            self._lost(_fault_of(error), str(error))
            return
        self._target = target
        if welcomed.version >= VERSION_OPEN:
            self._opener = Opener(self._identity.host, welcomed.key)
        for task in self._sizes:
            control.send(SubscribeFrame(task))

    async def _open_data(self, target: Target) -> None:
        try:
            sock = await connect_first([target], self._patience)
            stream = await self._tls.open(sock, self._patience)
            if not self._waiting:
                stream.close()  # it was taken back meanwhile: nobody is left waiting for an OPEN
                return
            opening = await self._introduce(stream)
        except PeerError as error:
            self._note("parent_data_failed", str(error))
            self._doubt()
            if self._waiting:
                self._report(self._waiting.pop(next(iter(self._waiting))), _fault_of(error))
            return
        self._idle.append(
            PieceConnection(
                stream, opening, self._receivers, self._patience, self._limit, self._answered, self._closed
            )
        )

    async def _introduce(self, stream: PeerStream) -> bytes:
        """Return what goes out before the first REQUEST: OPEN, or nothing, after a handshake.

        Until the parent was heard, OPEN may overtake our PROOF, and be refused.
        """
        if self._opener is not None and self._is_let_in:
            return encode(self._opener.open())
        await greet(stream, self._identity, self._parent.host, Purpose.DATA, self._patience)
        return b""

    # --- the control connection -----------------------------------------------------------------------------

    def _tell(self, frame: Frame) -> None:
        if self._control is not None:
            self._control.send(frame)

    def _doubt(self) -> None:
        """It let a request wait: if it is there it says so, if it hangs it is lost soon."""
        if self._control is not None:
            self._control.suspect()

    def _heard(self, frame: Frame) -> None:
        host = self._parent.host
        self._is_let_in = True  # it has read our PROOF
        if isinstance(frame, HaveFrame):  # nearly all frames are
            self._gained(frame)
        elif isinstance(frame, ReadyFrame):
            self._post(events.ParentReady(host))
        elif isinstance(frame, RefusedFrame):
            self._lost(PeerFault.UNREACHABLE, str(refused(host, frame)))
        elif isinstance(frame, GoneFrame):
            self._gone(frame.task)
        elif isinstance(frame, AvailabilityFrame):
            if self._sizes.get(frame.task, frame.size) != frame.size:
                self._tell(UnsubscribeFrame(frame.task))
                self._gone(frame.task)
            elif frame.task in self._sizes:
                self._post(events.ParentAvailable(host, frame.task, frame.bits))

    def _gone(self, task: TaskId) -> None:
        if self._sizes.pop(task, None) is not None:
            self._post(events.ParentGone(self._parent.host, task))
            self._settle()

    def _gained(self, frame: HaveFrame) -> None:
        size = self._sizes.get(frame.task)
        if size is None:
            return  # it crossed our UNSUBSCRIBE
        count = PieceMap.of(size).count
        if max(record.index for record in frame.records) >= count:
            self._lost(PeerFault.PROTOCOL, f"it has pieces of {frame.task} beyond the last of {count}")
        else:
            self._post(events.ParentHas(self._parent.host, frame.task, frame.records))

    def _lost(self, fault: PeerFault, reason: str) -> None:
        if not self._ending:
            self._note("parent_lost", reason)
        self.end(fault)

    def _note(self, name: str, reason: str) -> None:
        self._on_note(Note(name, host=self._parent.host, fields=(("reason", reason),)))

    # --- the data connections -------------------------------------------------------------------------------

    def _settle(self) -> None:
        """After any change: use what is free, or find out that it is over."""
        if self._ending:
            self._finish()
            return
        while self._waiting and self._idle:
            wish = self._waiting.pop(next(iter(self._waiting)))
            self._running[wish.key] = connection = self._idle.pop()
            connection.ask(wish)
        if self._target is not None:
            room = DATA_CONNECTIONS_MAX - len(self._running) - len(self._opening)
            for _ in range(min(room, len(self._waiting) - len(self._opening))):
                self._spawn(self._open_data(self._target))
        self._mind_idleness()

    def _mind_idleness(self) -> None:
        used = bool(self._sizes or self._waiting or self._running)
        if used and self._idle_timer is not None:
            self._idle_timer.cancel()
            self._idle_timer = None
        elif not used and self._idle_timer is None:
            self._idle_timer = self._loop.call_later(IDLE_S_MAX, self.end, None)

    def _answered(self, connection: PieceConnection, wish: Wish, answer: Answer) -> None:
        del self._running[wish.key]
        self._report(wish, answer)
        if answer is PeerFault.TIMEOUT:
            self._doubt()
        if self._ending and not connection.closed:
            connection.close()
        elif not connection.closed:
            self._idle.append(connection)
        self._settle()

    def _closed(self, connection: PieceConnection) -> None:
        self._idle.remove(connection)

    def _report(self, wish: Wish, answer: Answer) -> None:
        wish.file.release()
        host, task, index, scratch = self._parent.host, *wish.key
        if isinstance(answer, Taken):
            seconds = time.monotonic() - wish.since
            self._post(events.PieceArrived(host, task, answer.claimed, answer.actual, seconds, scratch))
        elif isinstance(answer, PeerFault):
            self._post(events.PieceFailed(host, task, index, answer, scratch))
        else:
            self._post(events.ParentBusy(host, task, index))

    def _finish(self) -> None:
        if not self._running and not self._opening and not self._finished:
            self._finished = True
            self._on_end()


def _fault_of(error: Exception) -> PeerFault:
    return PeerFault.PROTOCOL if isinstance(error, WireError) else PeerFault.UNREACHABLE
