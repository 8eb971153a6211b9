"""The simulated origin registry: connections that send pieces in order and share its rate."""

from collections import deque
from collections.abc import Callable

from benchmarks.simulator.clock import Clock
from benchmarks.simulator.disk import Post, StoredBlob, true_digest
from benchmarks.simulator.life import Life
from benchmarks.simulator.network import Flow, Link
from benchmarks.simulator.scenario import OriginModel
from dfdaemon import commands, events
from swarm.ids import Epoch, TaskId
from swarm.messages import OriginFault, PieceRecord

ADVANCE_INTERVAL_S = 0.5
"""Signs of life between pieces, as a daemon's real fetches give them."""


class Origin:
    """What all connections share, and what they cost."""

    def __init__(self, clock: Clock, model: OriginModel) -> None:
        self.clock = clock
        self.model = model
        self.up = Link(model.bytes_per_s)
        self.requests = 0
        self.refused = 0
        """Requests answered 429."""
        self.sent_bytes = 0
        self.is_down = False
        self.fetches: dict[Fetch, None] = {}
        """Those that run."""
        self._asked: deque[float] = deque()

    def is_within_budget(self) -> bool:
        """Count a request; tell whether it is answered, or 429."""
        model, now = self.model, self.clock.now
        while self._asked and self._asked[0] <= now - model.window_s:
            self._asked.popleft()
        if model.requests_max and len(self._asked) >= model.requests_max:
            self.refused += 1
            return False
        self._asked.append(now)
        return True

    def slow_down(self, amount: float) -> None:
        """Give this many times the usual rate from now on."""
        self.up.change(self.model.bytes_per_s * amount)

    def fail(self) -> None:
        """Break all connections, and answer 503 until it returns."""
        self.is_down = True
        for fetch in list(self.fetches):
            fetch.break_off()


class Fetch:
    """One fetch of pieces [start, end): a request, then piece after piece at the connection's fair share."""

    def __init__(
        self,
        origin: Origin,
        down: Link,
        life: Life,
        command: commands.FetchRange,
        blob: StoredBlob,
        post: Post,
    ) -> None:
        self._origin = origin
        self._down = down
        self._life = life
        self._command = command
        self._blob = blob
        self._post = post
        whole = command.no_range or (command.start == 0 and command.end == blob.pieces.count)
        self._ignored = not whole and not origin.model.honours_range
        self._index = 0 if command.no_range else command.start
        self._limit = command.limit
        self._received = 0
        self._flow: Flow | None = None
        self.is_running = True

    def start(self) -> None:
        """Send the request."""
        self._origin.requests += 1
        self._origin.fetches[self] = None
        self._life.soon(self._origin.model.latency_s, self._answered)

    def raise_limit(self, limit: int) -> None:
        """Let the fetch go on up to piece `limit`."""
        self._limit = limit
        if self.is_running and self._flow is None and self._received:
            self._next()

    def stop(self) -> None:
        """Close the connection; the bytes of an unfinished piece were sent for nothing."""
        self._finish()
        if self._flow is not None:
            self._origin.sent_bytes += self._flow.cancel()
            self._flow = None

    def break_off(self) -> None:
        """The origin fails: the connection breaks."""
        if self.is_running:
            self.stop()
            self._life.soon(0.0, self._post, self._ended(OriginFault.CUT))

    def _finish(self) -> None:
        self.is_running = False
        self._origin.fetches.pop(self, None)

    def _ended(self, fault: OriginFault | None, retry_after_s: float = 0.0) -> events.OriginEnded:
        return events.OriginEnded(self._command.task, self._command.epoch, fault, retry_after_s)

    def _end(self, fault: OriginFault | None, retry_after_s: float = 0.0) -> None:
        self._finish()
        self._post(self._ended(fault, retry_after_s))

    def _answered(self) -> None:
        if not self.is_running:
            return
        origin = self._origin
        if origin.is_down:
            self._end(OriginFault.SERVER_ERROR)
        elif not origin.is_within_budget():
            self._end(OriginFault.THROTTLED, origin.model.retry_after_s)
        elif self._ignored:
            self._end(OriginFault.NO_RANGE)
        else:
            self._advance()
            self._next()

    def _advance(self) -> None:
        """Give a sign of life, now and again."""
        if self.is_running:
            running = self._flow.sent_bytes if self._flow is not None else 0
            received = self._received + running
            self._post(events.OriginAdvanced(self._command.task, self._command.epoch, received))
            self._life.soon(ADVANCE_INTERVAL_S, self._advance)

    def _next(self) -> None:
        if not self.is_running or self._flow is not None or 0 <= self._limit <= self._index:
            return  # its end, or a limit that was raised meanwhile, has begun the next piece already
        length = self._blob.pieces.length(self._index)
        rate = self._origin.model.connection_bytes_per_s
        origin = self._origin
        self._flow = Flow(origin.clock, origin.up, self._down, length, self._arrived, rate)

    def _arrived(self) -> None:
        self._flow = None
        command, index = self._command, self._index
        length = self._blob.pieces.length(index)
        self._origin.sent_bytes += length
        self._index += 1
        if index >= command.start:
            self._received += length
            record = PieceRecord(index, true_digest(command.task, index), command.epoch)
            self._post(events.OriginPieceArrived(command.task, command.epoch, record))
        if not self.is_running:
            return
        if self._index < command.end:
            self._next()
        else:
            self._end(None)


class OriginSide:
    """Carries out a machine's commands about the origin. A lease has one fetch at a time."""

    def __init__(
        self, origin: Origin, down: Link, life: Life, open_blob: Callable[[TaskId], StoredBlob]
    ) -> None:
        self._origin = origin
        self._down = down
        self._life = life
        self._open_blob = open_blob
        self.received_bytes = 0
        """In whole pieces."""
        self._fetches: dict[tuple[TaskId, Epoch], Fetch] = {}
        self._post: Post = lambda event: None
        self._share_inline: Callable[[TaskId], None] = lambda task: None

    def begin(self, post: Post, share_inline: Callable[[TaskId], None]) -> None:
        """A new life starts. `share_inline` gives a tiny blob to everybody."""
        self._post = post
        self._share_inline = share_inline

    @property
    def is_fetching(self) -> bool:
        """Whether anything comes from the origin."""
        return any(fetch.is_running for fetch in self._fetches.values())

    def table(self) -> dict[type, Callable[..., None]]:
        """Return who carries out which command."""
        return {
            commands.FetchRange: self._fetch,
            commands.RaiseLimit: lambda c: self._fetches[c.task, c.epoch].raise_limit(c.limit),
            commands.StopFetch: self._stop,
        }

    def die(self) -> None:
        """Break all connections."""
        for fetch in self._fetches.values():
            fetch.stop()
        self._fetches.clear()

    def _fetch(self, command: commands.FetchRange) -> None:
        def post(event: events.Event) -> None:
            if isinstance(event, events.OriginPieceArrived):
                self.received_bytes += blob.pieces.length(event.record.index)
                if command.inline:
                    self._share_inline(command.task)
            self._post(event)

        running = self._fetches.get((command.task, command.epoch))
        assert running is None or not running.is_running, "a lease has one fetch at a time"
        blob = self._open_blob(command.task)
        fetch = Fetch(self._origin, self._down, self._life, command, blob, post)
        self._fetches[command.task, command.epoch] = fetch
        fetch.start()

    def _stop(self, command: commands.StopFetch) -> None:
        fetch = self._fetches.get((command.task, command.epoch))
        if fetch is not None and fetch.is_running:
            fetch.stop()
            self._life.soon(0.0, self._post, events.OriginEnded(command.task, command.epoch))
