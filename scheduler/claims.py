"""Claims that a host gave a piece which is not what the owner of a lease told: did it forge the piece, or pass it on?

A wrong piece whose digest fits goes from host to host, since receivers cannot know better. So a claim counts only after
the accused had time to look: it is told what is right, finds the piece among its own, and says who gave it that, or
that it was given it. Who does not say so made it (scheduler/trust.py judges).
"""

from collections import deque
from dataclasses import dataclass

from swarm.ids import HostId, TaskId

ANSWER_S = 2.0
"""Time for an accused host to look: it takes a round trip, or a little more on a busy machine."""
OPEN_MAX = 4096
"""Claims that wait; those beyond it are not taken: there will be more if they are true."""
INFORM_S = 1.0
"""How long an accused host is not told again what is right."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A host says that another gave it a piece whose bytes hash to `digest`."""

    due_at: float
    task: TaskId
    index: int
    digest: bytes
    reporter: HostId
    accused: HostId


class Claims:
    """Claims that wait for the answer of the accused, in the order in which they came."""

    def __init__(self) -> None:
        self._open: deque[Claim] = deque()

    def __len__(self) -> int:
        return len(self._open)

    def add(self, claim: Claim) -> None:
        """Let a claim wait, unless too many do."""
        if len(self._open) < OPEN_MAX:
            self._open.append(claim)

    def next_at(self) -> float:
        """Return when the next claim is due; infinity when none is."""
        return self._open[0].due_at if self._open else float("inf")

    def take_due(self, now: float) -> list[Claim]:
        """Return the claims that the accused had its time to answer; they wait no more."""
        due = []
        while self.next_at() <= now:
            due.append(self._open.popleft())
        return due

    def validate(self) -> None:
        """Assert the bound and the order."""
        assert len(self._open) <= OPEN_MAX, "too many claims wait"
        times = [claim.due_at for claim in self._open]
        assert times == sorted(times), "claims are judged in the order in which they came"
