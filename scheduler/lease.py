"""A lease: the sole right of one host to fetch pieces [start, end) of a blob from the origin."""

from dataclasses import dataclass
from enum import Enum

from swarm import availability, messages
from swarm.ids import Epoch, HostId, TaskId

NEARLY_DONE = 0.1
"""With this share of its range left, a lease's connection is about to idle, so the next range is granted."""

RATE_S = 1.0
"""Time over which its rate is measured: it tells what it received twice as often, and with each piece."""


class LeaseState(Enum):
    """How far a lease is."""

    SAVING = "saving"
    """Its epoch is being made durable; the owner knows nothing yet."""
    GRANTED = "granted"
    """Sent to its owner."""
    STARTED = "started"
    """The origin has answered the owner."""
    SETTLING = "settling"
    """Fetched: the pieces are covered until the owner's Progress shows that it holds them."""


class LeaseEvent(Enum):
    """What happens to a lease."""

    SAVED = "saved"
    ADVANCED = "advanced"
    ENDED = "ended"


LEASE_STATES = {
    (LeaseState.SAVING, LeaseEvent.SAVED): LeaseState.GRANTED,
    (LeaseState.GRANTED, LeaseEvent.ADVANCED): LeaseState.STARTED,
    (LeaseState.GRANTED, LeaseEvent.ENDED): LeaseState.SETTLING,
    (LeaseState.STARTED, LeaseEvent.ADVANCED): LeaseState.STARTED,
    (LeaseState.STARTED, LeaseEvent.ENDED): LeaseState.SETTLING,
    (LeaseState.SETTLING, LeaseEvent.ADVANCED): LeaseState.SETTLING,
    (LeaseState.SETTLING, LeaseEvent.ENDED): LeaseState.SETTLING,
}


@dataclass(slots=True, eq=False)
class Lease:
    """One lease of one task. `bytes` is the length of its range when granted; `deadline` moves with progress.

    `adopted`: its owner brought it along when it attached. `rate`: bytes a second, lately; 0 until it is measured.
    `is_paused`: a private one, whose owner's readers take nothing now.
    """

    task: TaskId
    host: HostId
    registry: str
    epoch: Epoch
    start: int
    end: int
    bytes: int
    deadline: float
    private: bool = False
    inline: bool = False
    no_range: bool = False
    adopted: bool = False
    is_paused: bool = False
    state: LeaseState = LeaseState.SAVING
    next_piece: int = 0
    received: int = 0
    rate: float = 0.0
    _rated_at: float = -1.0
    _rated: int = 0

    def __post_init__(self) -> None:
        self.next_piece = max(self.next_piece, self.start)

    def happen(self, event: LeaseEvent) -> None:
        """Follow the table; a missing key is a bug."""
        self.state = LEASE_STATES[self.state, event]

    def message(self, timeout_s: float) -> messages.Lease:
        """Return what its owner is told of it."""
        return messages.Lease(
            self.task, self.epoch, self.start, self.end, timeout_s, self.private, self.inline, self.no_range
        )

    def measure(self, received: int, now: float) -> None:
        """Take in how many bytes its owner received in all."""
        self.received = max(self.received, received)
        elapsed = now - self._rated_at
        if self._rated_at >= 0 and elapsed < RATE_S:
            return
        if self._rated_at >= 0:
            self.rate = (self.received - self._rated) / elapsed
        self._rated_at, self._rated = now, self.received

    def bits(self) -> int:
        """Return the pieces that nobody else may fetch meanwhile; a private lease keeps none from others."""
        return 0 if self.private else availability.span(self.start, self.end)

    def nearly_done(self) -> bool:
        """Tell whether so little is left that its connection is about to idle."""
        left = self.end - self.next_piece
        if left > 1:
            return left <= NEARLY_DONE * (self.end - self.start)
        return self.next_piece > self.start or self.received >= (1 - NEARLY_DONE) * self.bytes

    def is_busy(self) -> bool:
        """Tell whether it takes one of its registry's connections; a tiny blob counts as none."""
        rests = self.inline or self.is_paused or self.state is LeaseState.SETTLING
        return not (rests or self.nearly_done())

    def is_unanswered(self) -> bool:
        """Tell whether its owner has not yet been answered by the origin."""
        return self.state is LeaseState.SAVING or self.state is LeaseState.GRANTED
