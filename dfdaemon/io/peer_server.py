"""Serves pieces to children: lets those in who know the cluster token, and sends what the machine decides.

Every start_upload() is answered by exactly one UploadEnded; all those of a child come before its ChildLost.
Events are emitted from the loop, never from inside a call.
"""

import asyncio
import socket
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

from dfdaemon.config import PeerConfig
from dfdaemon.data_opening import Gate
from dfdaemon.events import (
    ChildLost,
    ChildSubscribed,
    ChildUnsubscribed,
    Event,
    PeerFault,
    PieceRequested,
    UploadEnded,
)
from dfdaemon.io.identity import parse_address
from dfdaemon.io.newcomers import Newcomers
from dfdaemon.io.peer_connection import CHILD_PING_AFTER_S, ControlConnection
from dfdaemon.io.peer_handshake import FirstFrame, Greeting, Identity, refuse, take_greeting
from dfdaemon.io.peer_socket import choose_congestion_control, listen, tune
from dfdaemon.io.peer_stream import PeerStream, carry, probe_when_silent
from dfdaemon.io.peer_tls import PeerTls
from dfdaemon.io.piece_file import PieceFile
from dfdaemon.io.token_bucket import TokenBucket
from dfdaemon.io.upload_connection import Sent, UploadConnection
from dfdaemon.patience import Patience
from swarm.errors import PeerError
from swarm.facts import Note
from swarm.frames import (
    FROM_CHILD,
    AvailabilityFrame,
    Frame,
    GoneFrame,
    HelloFrame,
    OpenFrame,
    Purpose,
    ReadyFrame,
    Refusal,
    RequestFrame,
    SubscribeFrame,
    UnsubscribeFrame,
    have_frames,
)
from swarm.ids import HostId, RequestId, TaskId
from swarm.messages import Address, HostInfo, PieceRecord
from swarm.wire import encode

UPLOAD_CONNECTIONS_MAX = 8
"""Data connections of one child: twice what ours open, so that closed ones may linger."""
SUBSCRIPTIONS_MAX = 1024
"""Tasks that one child may follow: the layers of a hundred images."""


@dataclass(frozen=True, slots=True)
class PeerServerStats:
    """What the metrics show of serving: `children` and `uploads` now, the others since the start."""

    children: int
    uploads: int
    sent_bytes: int
    refused: int


@dataclass(slots=True, eq=False)
class _Child:
    """A host that takes pieces from us."""

    host: HostId
    zone: str
    control: ControlConnection
    gate: Gate
    tasks: set[TaskId] = field(default_factory=set)
    connections: set[UploadConnection] = field(default_factory=set)
    requests: dict[RequestId, UploadConnection] = field(default_factory=dict)


class PeerServer:
    """The connections of all children. All methods are called on the event loop's thread."""

    def __init__(
        self,
        identity: HostInfo,
        token: bytes,
        config: PeerConfig,
        patience: Patience,
        emit: Callable[[Event], None],
        on_note: Callable[[Note], None] = lambda note: None,
        tls: PeerTls | None = None,
    ) -> None:
        """Listen nowhere yet. `token` is the cluster's (empty: none)."""
        self._tls = tls or PeerTls(config, on_note)
        self._identity = Identity(identity.host, token, identity.zone)
        self._config = config
        self._patience = patience
        self._limit = TokenBucket.of(config.upload_bytes_per_s_max)
        self._emit = emit
        self._on_note = on_note
        self._loop = asyncio.get_running_loop()
        self._newcomers = Newcomers(
            self._let_in, lambda reason: self._note("children_not_accepted", None, reason)
        )
        self._children: dict[HostId, _Child] = {}
        self._last_request = 0
        self._uploads = 0
        self._sent_bytes = 0
        self._refused = 0
        self._quiet = asyncio.Event()
        self.on_unreadable: Callable[[TaskId, str], object] = lambda task, reason: None
        """Hears of an upload that ended because its file could not be read, before its UploadEnded."""

    async def start(self) -> Address:
        """Listen; return where. Raises ConfigError when the address cannot be had."""
        listener = listen(parse_address(self._config.listen, "peer.listen"))
        if self._config.congestion_control:
            choose_congestion_control(listener, self._config.congestion_control)
        self._newcomers.open(listener)
        name = listener.getsockname()
        return Address(name[0], name[1])

    async def close(self, grace_s: float) -> None:
        """Take no new connections, give uploads `grace_s` to finish, then close all."""
        self._newcomers.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                while self._uploads:
                    self._quiet.clear()
                    await self._quiet.wait()
        for child in list(self._children.values()):
            self._drop(child, "this daemon stops")

    def stats(self) -> PeerServerStats:
        """Return the counters."""
        return PeerServerStats(len(self._children), self._uploads, self._sent_bytes, self._refused)

    # --- what the machine says ------------------------------------------------------------------------------

    def send_availability(self, child: HostId, task: TaskId, size: int, bits: int) -> None:
        """Answer a child's SUBSCRIBE; a child that went away hears nothing, here and below."""
        self._tell(child, AvailabilityFrame(task, size, bits))

    def send_gone(self, child: HostId, task: TaskId) -> None:
        """Tell a child that nothing is held of a task: it does not follow that any more, and says so no more."""
        if child in self._children:
            self._children[child].tasks.discard(task)
        self._tell(child, GoneFrame(task))

    def send_have(self, children: tuple[HostId, ...], task: TaskId, records: tuple[PieceRecord, ...]) -> None:
        """Tell children what was gained."""
        data = b"".join([encode(frame) for frame in have_frames(task, records)])
        for host in children:
            if host in self._children:
                self._children[host].control.write(data)

    def wake(self, child: HostId) -> None:
        """Tell a child that was answered BUSY that there is room."""
        self._tell(child, ReadyFrame())

    def start_upload(
        self,
        child: HostId,
        request: RequestId,
        task: TaskId,
        record: PieceRecord,
        file: PieceFile,
        length: int,
    ) -> None:
        """Send a piece of `length` bytes from its place in `file`, which is retained until UploadEnded."""
        connection = self._connection(child, request)
        if connection is None:
            self._post(UploadEnded(child, request, task, 0, 0.0, failed=True))
            return
        self._uploads += 1
        connection.send(record, file, length, partial(self._upload_ended, child, request, task))

    def refuse(self, child: HostId, request: RequestId, gone: bool) -> None:
        """Answer a request with BUSY, or that the piece is not here."""
        connection = self._connection(child, request)
        if connection is not None:
            del self._children[child].requests[request]
            connection.refuse(gone)

    def abort(self, child: HostId, request: RequestId) -> None:
        """Take an upload's slot back: UploadEnded(failed) follows, unless it ended before."""
        connection = self._connection(child, request)
        if connection is not None:
            connection.close("its slot was taken back")

    def stop_sending(self, task: TaskId, bits: int) -> None:
        """Have nothing of these pieces on its way any more: UploadEnded(failed) follows for uploads that run."""
        for child in list(self._children.values()):
            for connection in list(child.connections):
                connection.stop_sending(task, bits)

    def _tell(self, host: HostId, frame: Frame) -> None:
        if host in self._children:
            self._children[host].control.send(frame)

    def _connection(self, host: HostId, request: RequestId) -> UploadConnection | None:
        child = self._children.get(host)
        return child.requests.get(request) if child is not None else None

    # --- who connects ---------------------------------------------------------------------------------------

    def _let_in(self, sock: socket.socket) -> Coroutine[None, None, None] | None:
        """Take a data connection whose OPEN is here already, as nearly all are; others are greeted."""
        first, frame = FirstFrame(sock), None
        try:
            tune(sock)
            if not self._tls.takes:
                frame = first.read()
            if isinstance(frame, OpenFrame):
                self._admit_data(sock, self._opened_by(sock, frame))
                return None
        except (PeerError, OSError) as error:
            self._turn_away(sock, error)
            return None
        return self._admit(sock, first, frame)

    async def _admit(self, sock: socket.socket, first: FirstFrame, hello: HelloFrame | None) -> None:
        try:
            stream: PeerStream = sock
            if self._tls.takes:
                stream = await self._tls.accept(sock)
                first = FirstFrame(stream)
            frame = hello or await first.wait()
            if isinstance(frame, OpenFrame):
                self._admit_data(stream, self._opened_by(stream, frame))
                return
            greeting = await take_greeting(stream, frame, self._identity, self._patience)
            if greeting.purpose is Purpose.CONTROL:
                await self._admit_control(stream, greeting)
            else:
                self._admit_data(stream, self._child(stream, greeting.child))
        except (PeerError, OSError) as error:
            self._turn_away(sock, error)
        except BaseException:
            sock.close()
            raise

    def _turn_away(self, sock: socket.socket, error: Exception) -> None:
        sock.close()
        self._refused += 1
        self._note("child_refused", None, str(error))

    async def _admit_control(self, sock: PeerStream, greeting: Greeting) -> None:
        host = greeting.child
        if host not in self._children and len(self._children) >= self._config.children_max:
            raise refuse(sock, host, Refusal.CHILDREN, f"{len(self._children)} children are enough")
        if host in self._children:
            self._drop(self._children[host], "it connected anew")
        control = ControlConnection(
            FROM_CHILD,
            lambda frame: self._heard(child, frame),
            lambda fault, reason: self._drop(child, reason),
            CHILD_PING_AFTER_S,
        )
        child = self._children[host] = _Child(host, greeting.zone, control, Gate(greeting.key))
        probe_when_silent(sock)
        await carry(sock, control)

    def _child(self, sock: PeerStream, host: HostId) -> _Child:
        child = self._children.get(host)
        if child is None:
            raise refuse(sock, host, Refusal.STRANGER, "a control connection comes first")
        return child

    def _opened_by(self, sock: PeerStream, frame: OpenFrame) -> _Child:
        child = self._child(sock, frame.host)
        if not child.gate.admits(frame):
            text = "its OPEN is of another control connection, or not new"
            raise refuse(sock, frame.host, Refusal.OPENING, text)
        return child

    def _admit_data(self, sock: PeerStream, child: _Child) -> None:
        if len(child.connections) >= UPLOAD_CONNECTIONS_MAX:
            text = f"{UPLOAD_CONNECTIONS_MAX} data connections are enough"
            raise refuse(sock, child.host, Refusal.CONNECTIONS, text)
        child.connections.add(
            UploadConnection(
                sock,
                self._patience,
                self._limit,
                partial(self._asked, child),
                partial(self._data_closed, child),
            )
        )

    # --- what children say ----------------------------------------------------------------------------------

    def _heard(self, child: _Child, frame: Frame) -> None:
        if isinstance(frame, SubscribeFrame):
            child.tasks.add(frame.task)
            if len(child.tasks) > SUBSCRIPTIONS_MAX:
                reason = f"it follows more than {SUBSCRIPTIONS_MAX} tasks"
                child.control.fail(PeerFault.PROTOCOL, reason)
            else:
                self._post(ChildSubscribed(child.host, frame.task, child.zone))
        elif isinstance(frame, UnsubscribeFrame):
            child.tasks.discard(frame.task)
            self._post(ChildUnsubscribed(child.host, frame.task))

    def _asked(self, child: _Child, connection: UploadConnection, frame: RequestFrame) -> None:
        self._last_request += 1
        request = RequestId(self._last_request)
        child.requests[request] = connection
        self._post(PieceRequested(child.host, request, frame.task, frame.index))

    def _upload_ended(self, host: HostId, request: RequestId, task: TaskId, sent: Sent) -> None:
        self._uploads -= 1
        self._sent_bytes += sent.sent_bytes
        self._quiet.set()
        child = self._children.get(host)
        if child is not None:
            child.requests.pop(request, None)
        if sent.unreadable:
            self.on_unreadable(task, sent.unreadable)
        self._post(UploadEnded(host, request, task, sent.sent_bytes, sent.seconds, sent.failed))

    def _data_closed(self, child: _Child, connection: UploadConnection, reason: str) -> None:
        child.connections.discard(connection)
        child.requests = {
            request: other for request, other in child.requests.items() if other is not connection
        }

    def _drop(self, child: _Child, reason: str) -> None:
        """End all connections of a child."""
        del self._children[child.host]
        for connection in list(child.connections):
            connection.close(reason)
        child.control.close()
        self._note("child_lost", child.host, reason)
        self._post(ChildLost(child.host))

    def _post(self, event: Event) -> None:
        self._loop.call_soon(self._emit, event)

    def _note(self, name: str, host: HostId | None, reason: str) -> None:
        self._on_note(Note(name, host=host, fields=(("reason", reason),)))
