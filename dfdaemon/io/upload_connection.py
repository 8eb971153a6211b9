"""The parent's end of a data connection: takes a REQUEST, answers it, and sends the piece with sendfile."""

import asyncio
import fcntl
import socket
import struct
import termios
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from dfdaemon.io.peer_stream import (
    PeerStream,
    flush,
    hold,
    pending,
    reset_on_close,
    send_file,
    unsent_bytes,
    watch,
)
from dfdaemon.io.piece_file import DISK_FAULTS, PieceFile
from dfdaemon.io.send_rounds import send_rounds
from dfdaemon.io.token_bucket import TokenBucket
from dfdaemon.patience import Patience
from swarm.errors import WireError
from swarm.frames import REQUESTS, AbsentFrame, BusyFrame, Frame, PieceFrame, RequestFrame
from swarm.ids import TaskId
from swarm.messages import PieceRecord
from swarm.wire import Decoder, encode

STEP_BYTES = 4 << 20
"""Handed to the socket in one go, if it has room: up to a millisecond."""
REQUEST_BYTES = 256
"""Read at once: more than a request has, so that it takes one call and not two."""
STALL_S = 1.0
"""An upload whose child takes nothing for this long, where nobody is busy (patience.py), is ended: the slot is worth
more to another."""
LOOK_S = 0.5
"""How often an upload is looked at, and whether its child takes anything."""
IDLE_S_MAX = 60.0
"""An unused connection is closed after this; children close theirs after half of it."""


@dataclass(frozen=True, slots=True)
class Sent:
    """How an upload ended: bytes of the piece handed to the socket, and whether some are missing.

    `unreadable`: why, where it was our own file that did not give them.
    """

    sent_bytes: int
    seconds: float
    failed: bool
    unreadable: str = ""


class _Upload:
    """A piece on its way out."""

    __slots__ = (
        "file",
        "granted",
        "header",
        "left",
        "length",
        "on_end",
        "place",
        "started",
        "taken",
        "touched",
        "unreadable",
    )

    def __init__(
        self, frame: PieceFrame, file: PieceFile, now: float, on_end: Callable[[Sent], None]
    ) -> None:
        self.header = encode(frame)
        self.file = file.retain()
        self.place = file.place(frame.record.index)
        self.left = self.length = frame.length
        self.on_end = on_end
        self.started = self.touched = now
        self.granted = 0
        """Bytes that the limit lets pass now, or when the upload goes on."""
        self.taken = -len(self.header)
        """Bytes of the piece that the child's kernel has acknowledged, when last looked at."""
        self.unreadable = ""


class UploadConnection:
    """A data connection of one child. Requests come by `on_request`, one at a time."""

    def __init__(
        self,
        sock: PeerStream,
        patience: Patience,
        limit: TokenBucket | None,
        on_request: Callable[["UploadConnection", RequestFrame], None],
        on_closed: Callable[["UploadConnection", str], None],
    ) -> None:
        """Take over a socket after its handshake. `limit`: of all uploads. `on_closed` comes once, with the reason."""
        self._sock = sock
        self._patience = patience
        self._limit = limit
        self._on_request = on_request
        self._on_closed = on_closed
        self._loop = asyncio.get_running_loop()
        self._decoder = Decoder(REQUESTS)
        self._asked: int | None = None
        self._latest: RequestFrame | None = None
        self._upload: _Upload | None = None
        self._writes = False
        self._queued = False
        """Whether it waits for a round of the loop to send in."""
        self._rounds = send_rounds()
        self._closed = False
        self._pause: asyncio.TimerHandle | None = None
        """Set while the limit holds an upload back."""
        self._rested_at = self._loop.time()
        self._look_in(IDLE_S_MAX)
        watch(sock, self._readable)

    def refuse(self, gone: bool) -> None:
        """Answer the request: BUSY, or that the piece is not here."""
        if self._asked is None:
            return  # the connection broke in the meantime
        frame: Frame = AbsentFrame(self._asked) if gone else BusyFrame(self._asked)
        self._asked = None
        self._rested_at = self._loop.time()
        try:
            sent = self._sock.send(encode(frame))
        except OSError:
            sent = 0
        if not sent:  # nothing else is on its way, so there is room or the connection is dead
            self._loop.call_soon(self.close, "it takes no answer")

    def send(self, record: PieceRecord, file: PieceFile, length: int, on_end: Callable[[Sent], None]) -> None:
        """Answer with a piece of `length` bytes; `on_end` comes once, maybe before this returns."""
        assert self._asked is not None, "pieces are sent when they were asked for"
        frame = PieceFrame(self._asked, length, record)
        self._asked = None
        now = self._loop.time()
        self._upload = _Upload(frame, file, now, on_end)
        if now + LOOK_S < self._look_at:
            self._timer.cancel()
            self._look_in(LOOK_S)
        self._push()

    def close(self, reason: str) -> None:
        """Close; an upload that runs has failed. More calls do nothing."""
        if self._closed:
            return
        self._closed = True
        self._asked = None
        self._timer.cancel()
        self._loop.remove_reader(self._sock)
        self._end_upload(failed=True)
        self._sock.close()
        self._on_closed(self, reason)

    def stop_sending(self, task: TaskId, bits: int) -> None:
        """Send nothing more of these pieces, not even what is in the socket: that shares the pages of the file."""
        asked = self._latest
        if asked is None or asked.task != task or not bits >> asked.index & 1 or self._closed:
            return
        if self._upload is not None or self._queued_bytes():
            with suppress(OSError):  # it broke by itself
                reset_on_close(self._sock)
            self.close("the piece was dropped while it was sent")

    def _readable(self) -> None:
        try:
            data = self._sock.recv(REQUEST_BYTES)
            received = self._decoder.feed(data)
        except (BlockingIOError, InterruptedError):
            return
        except (OSError, WireError) as error:
            self.close(str(error))
            return
        if not data:
            self.close("it closed the connection")
        for frame in received:
            assert isinstance(frame, RequestFrame), "the decoder lets nothing else through"
            self._take(frame)
        if pending(self._sock) and not self._closed:
            self._readable()

    def _take(self, frame: RequestFrame) -> None:
        if self._closed:
            return
        if self._asked is not None or self._upload is not None:
            self.close("it asked again before it was answered")
            return
        self._asked, self._latest = frame.request, frame
        self._on_request(self, frame)

    def _push(self) -> None:
        """Send in the next round that has time."""
        if not self._queued:
            self._queued = True
            self._rounds.run(self._push_now)

    def _push_now(self) -> None:
        self._queued = False
        upload, limit = self._upload, self._limit
        if upload is None:
            return  # it ended while it waited
        self._pause = None
        if not upload.left:
            self._finish()
        elif limit is None or upload.granted or self._may_go_on(upload, limit):
            self._send_step(upload, limit)

    def _send_step(self, upload: _Upload, limit: TokenBucket | None) -> None:
        wanted = upload.granted or min(upload.left, STEP_BYTES)
        try:
            if upload.header:
                self._send_header(upload)
            count = send_file(self._sock, upload.file.fd, upload.place, wanted)
        except (BlockingIOError, InterruptedError):
            self._await_room()
            return
        except OSError as error:
            upload.unreadable = str(error) if error.errno in DISK_FAULTS else ""
            self.close(str(error))
            return
        upload.place += count
        upload.left -= count
        if limit is not None:
            upload.granted -= count
        if count == 0:
            upload.unreadable = "the file ends inside the piece"
            self.close(upload.unreadable)
        elif upload.left and (limit is None or upload.granted or self._may_go_on(upload, limit)):
            self._await_room()
        elif not upload.left:
            self._finish()

    def _send_header(self, upload: _Upload) -> None:
        """Send what comes before a piece, so that it travels with it. Raises OSError."""
        hold(self._sock)
        while upload.header:
            sent = self._sock.send(upload.header, socket.MSG_MORE)
            upload.header = upload.header[sent:]

    def _finish(self) -> None:
        """End an upload of which everything was taken, as soon as all is in the socket."""
        try:
            sent = flush(self._sock)
        except OSError as error:
            self.close(str(error))
            return
        if sent:
            self._rested_at = self._loop.time()
            self._end_upload(failed=False)
        else:
            self._await_room()

    def _may_go_on(self, upload: _Upload, limit: TokenBucket) -> bool:
        """Ask for the next step of a limited upload; where it must wait it goes on by itself then."""
        upload.granted = min(upload.left, limit.step_bytes)
        wait_s = limit.reserve(upload.granted, self._loop.time())
        if wait_s > 0:
            self._rest_from_sending(wait_s)
        return wait_s <= 0

    def _rest_from_sending(self, seconds: float) -> None:
        """Go on when the limit allows it. The child is not to blame for this time."""
        assert self._upload is not None, "only an upload is limited"
        self._no_room_awaited()
        self._upload.touched = self._loop.time() + seconds
        self._pause = self._loop.call_later(seconds, self._push)

    def _no_room_awaited(self) -> None:
        if self._writes:
            self._writes = False
            self._loop.remove_writer(self._sock)

    def _await_room(self) -> None:
        if not self._writes:
            self._writes = True
            self._loop.add_writer(self._sock, self._push)

    def _look_in(self, seconds: float) -> None:
        """Look after a while. The one timer goes on from piece to piece: setting it for each costs a tenth of one."""
        self._look_at = self._loop.time() + seconds
        self._timer = self._loop.call_later(seconds, self._look)

    def _look(self) -> None:
        """Close what is unused, or whose child takes nothing."""
        if self._upload is None:
            rests_s = 0.0 if self._asked is not None else self._loop.time() - self._rested_at
            if rests_s >= IDLE_S_MAX:
                self.close(f"unused for {IDLE_S_MAX:g} s")
            else:
                self._look_in(IDLE_S_MAX - rests_s)
        elif self._pause is not None or self._is_taken(self._upload):
            self._look_in(LOOK_S)

    def _is_taken(self, upload: _Upload) -> bool:
        """End an upload whose child took nothing for too long; room in our own buffer is no sign."""
        taken = upload.length - upload.left - self._queued_bytes()
        now = self._loop.time()
        if taken > upload.taken or self._queued:
            upload.taken, upload.touched = taken, now
        if now - upload.touched >= self._patience.limit_s(STALL_S):
            self.close(f"it took nothing for {now - upload.touched:.3g} s")
        return not self._closed

    def _queued_bytes(self) -> int:
        """Return how many bytes the child's kernel has not acknowledged."""
        queued: int = struct.unpack("i", fcntl.ioctl(self._sock, termios.TIOCOUTQ, bytes(4)))[0]
        return queued + unsent_bytes(self._sock)

    def _end_upload(self, failed: bool) -> None:
        upload, self._upload = self._upload, None
        if upload is None:
            return
        self._no_room_awaited()
        if self._pause is not None:
            self._pause.cancel()
        if upload.granted and self._limit is not None:
            self._limit.reserve(-upload.granted, self._loop.time())
        upload.file.release()
        seconds = self._loop.time() - upload.started
        upload.on_end(Sent(upload.length - upload.left, seconds, failed, upload.unreadable))
