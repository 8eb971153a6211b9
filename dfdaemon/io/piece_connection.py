"""The child's end of a data connection: one REQUEST at a time, its answer, its bytes to the receivers."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from dfdaemon.events import PeerFault
from dfdaemon.io.peer_stream import PeerStream, watch
from dfdaemon.io.piece_file import PieceFile
from dfdaemon.io.piece_transfer import Outcome, PieceTransfer, Received
from dfdaemon.io.receiver import ReceiverPool
from dfdaemon.io.token_bucket import TokenBucket
from dfdaemon.patience import Patience
from swarm.errors import WireError
from swarm.frames import REPLIES, BusyFrame, Frame, PieceFrame, RefusedFrame, RequestFrame
from swarm.ids import TaskId
from swarm.messages import PieceRecord
from swarm.wire import Decoder, encode

REPLY_S = 3.0
"""A parent answers at once, from memory; where nobody is busy never after this long (patience.py)."""
SILENCE_S = 1.0
"""A transfer without a byte for this long, where nobody is busy, has failed: another parent is faster than waiting."""
IDLE_S_MAX = 30.0
"""An unused connection is closed after this; the parent waits twice as long, so the child closes."""

Key = tuple[TaskId, int, bool]


@dataclass(frozen=True, slots=True, eq=False)
class Wish:
    """A piece that the machine asked for: retained `file` is where its bytes go."""

    task: TaskId
    index: int
    scratch: bool
    file: PieceFile = field(repr=False)
    since: float

    @property
    def key(self) -> Key:
        """What names the request towards the machine; unique per parent while it runs."""
        return self.task, self.index, self.scratch


@dataclass(frozen=True, slots=True)
class Taken:
    """The piece came: what its parent claims it is, and the digest of its bytes."""

    claimed: PieceRecord
    actual: bytes


Answer = Taken | BusyFrame | PeerFault
OnAnswer = Callable[["PieceConnection", Wish, Answer], None]


class PieceConnection:
    """A data connection to a parent. After each answer it is idle again, or `closed`."""

    def __init__(
        self,
        sock: PeerStream,
        opening: bytes,
        receivers: ReceiverPool,
        patience: Patience,
        limit: TokenBucket | None,
        on_answer: OnAnswer,
        on_closed: Callable[["PieceConnection"], None],
    ) -> None:
        """Take over a socket after its handshake; or `opening`, its first frame, goes out before the first REQUEST.

        `on_closed` is called when it closes while idle.
        """
        self.closed = False
        self._sock = sock
        self._opening = opening
        self._receivers = receivers
        self._patience = patience
        self._limit = limit
        self._on_answer = on_answer
        self._on_closed = on_closed
        self._loop = asyncio.get_running_loop()
        self._decoder = Decoder(REPLIES)
        self._number = 0
        self._asked = 0.0
        self._limit_s = 0.0
        self._wish: Wish | None = None
        self._transfer: PieceTransfer | None = None
        self._fault = PeerFault.CANCELLED
        self._rested_at = self._loop.time()
        self._look_at_time(self._rested_at + IDLE_S_MAX)
        watch(sock, self._readable)

    def ask(self, wish: Wish) -> None:
        """Send a REQUEST on an idle connection. `on_answer` comes once, never from inside this call."""
        assert self._wish is None, "one request at a time"
        assert not self.closed, "a closed connection carries nothing"
        self._wish = wish
        self._number = (self._number + 1) & 0xFFFFFFFF
        frame = self._opening + encode(RequestFrame(self._number, wish.task, wish.index))
        self._opening = b""
        self._asked, self._limit_s = self._loop.time(), self._patience.limit_s(REPLY_S)
        if self._asked + self._limit_s < self._look_at:
            self._timer.cancel()
            self._look_at_time(self._asked + self._limit_s)
        try:
            sent = self._sock.send(frame)
        except OSError:
            sent = 0
        if sent != len(
            frame
        ):  # nothing else is on its way, so a request finds room or the connection is dead
            self._shut()
            self._loop.call_soon(self._end, PeerFault.CLOSED)

    def cancel(self, fault: PeerFault) -> None:
        """Take the request back; the answer is `fault`, unless another is already on its way. Closes."""
        self._fault = fault
        if self._transfer is not None:
            self._transfer.cancel()
        elif not self.closed:
            self._shut()
            self._loop.call_soon(self._end, fault)

    def close(self) -> None:
        """Close an idle connection; more calls do nothing."""
        assert self._wish is None, "a connection with a request is cancelled, not closed"
        self._shut()

    def _shut(self) -> None:
        if not self.closed:
            self.closed = True
            self._timer.cancel()
            self._loop.remove_reader(self._sock)
            self._sock.close()

    def _fail(self, fault: PeerFault) -> None:
        if self.closed or self._transfer is not None:
            return
        self._shut()
        self._end(fault)

    def _end(self, fault: PeerFault) -> None:
        wish, self._wish = self._wish, None
        if wish is None:
            self._on_closed(self)
        else:
            self._on_answer(self, wish, fault)

    def _readable(self) -> None:
        while self._read():  # all of the answer, mostly: a turn of the loop for its header alone costs more
            pass

    def _read(self) -> bool:
        """Read a part of an answer; tell whether there was one, and more of it may be there."""
        if self.closed or self._transfer is not None:
            return False  # called late: the bytes are the receivers' now, or nobody's
        try:
            data = self._sock.recv(self._decoder.wanted_bytes)
            received = self._decoder.feed(data)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError:
            self._fail(PeerFault.CLOSED)
        except WireError:
            self._fail(PeerFault.PROTOCOL)
        else:
            if not data:
                self._fail(PeerFault.CLOSED)
            elif received:
                self._replied(received[0])
            else:
                return True
        return False

    def _look_at_time(self, at: float) -> None:
        """Look then. The one timer goes on from piece to piece: most are answered long before."""
        self._look_at = at
        self._timer = self._loop.call_at(at, self._look)

    def _look(self) -> None:
        """End what waits for an answer, or for work, for too long; what came unread meanwhile counts."""
        now = self._loop.time()
        while self._due(now) <= now and self._read():
            pass
        if self.closed:
            return
        due = self._due(now)
        if due > now:
            self._look_at_time(due)
        elif self._wish is None:
            self._fail(PeerFault.CLOSED)
        else:
            self._patience.missed(self._limit_s)
            self._fail(PeerFault.TIMEOUT)

    def _due(self, now: float) -> float:
        """Return until when it may wait. While a piece comes, the receivers watch over it."""
        if self._wish is None:
            return self._rested_at + IDLE_S_MAX
        return (self._asked if self._transfer is None else now) + self._limit_s

    def _replied(self, frame: Frame) -> None:
        wish = self._wish
        self._patience.heard(self._loop.time() - self._asked)
        if isinstance(frame, RefusedFrame):
            self._fail(PeerFault.UNREACHABLE)
        elif wish is None or getattr(frame, "request", None) != self._number:
            self._fail(PeerFault.PROTOCOL)
        elif isinstance(frame, PieceFrame):
            self._receive(wish, frame)
        else:
            self._answer(wish, frame if isinstance(frame, BusyFrame) else PeerFault.GONE)

    def _receive(self, wish: Wish, frame: PieceFrame) -> None:
        right = wish.index, wish.file.pieces.length(wish.index)
        if (frame.record.index, frame.length) != right:
            self._fail(PeerFault.PROTOCOL)
            return
        self._loop.remove_reader(self._sock)

        def done(outcome: Outcome) -> None:
            self._transfer = None
            if isinstance(outcome, Received):
                watch(self._sock, self._readable)
                self._answer(wish, Taken(frame.record, outcome.digest))
            else:
                if outcome is PeerFault.TIMEOUT:
                    self._patience.missed(limit_s)
                self._fail(self._fault if outcome is PeerFault.CANCELLED else outcome)

        limit_s = self._patience.limit_s(SILENCE_S)
        piece_hash = self._receivers.make_hash()
        self._transfer = PieceTransfer(self._sock, wish.file, wish.index, piece_hash, limit_s, self._limit)
        self._receivers.start(self._transfer, done)

    def _answer(self, wish: Wish, answer: Answer) -> None:
        self._wish = None
        self._rested_at = self._loop.time()
        self._on_answer(self, wish, answer)
