"""The fetches from the origin of one download: leases that the scheduler granted, and at most one of our own.

A lease covers pieces [start, end). It *reserves* those that nobody else is bringing, and fetches them in contiguous
runs, one after the other; most leases are one run. It is over when all its pieces are verified, or it has failed.
"""

from dataclasses import dataclass

from swarm import availability
from swarm.ids import UNGRANTED, Epoch
from swarm.messages import OriginFault

LEASES_MAX = 16
"""Leases of one download on one host; the scheduler grants one or two ahead of need."""
ALIVE_SHARE = 3
"""A lease that waits for its readers says three times within its time-out that it is alive."""


@dataclass(slots=True)
class Lease:
    """One grant and how far it is. Bitmaps follow swarm/availability.py."""

    epoch: Epoch
    start: int
    end: int
    bits: int
    """All its pieces: [start, end), or what we chose ourselves."""
    timeout_s: float
    inline: bool = False
    no_range: bool = False
    reserved: int = 0
    """Pieces that only this lease may bring: LEASED in the table."""
    running: tuple[int, int] | None = None
    """The run [first, end) that is being fetched."""
    limit: int = -1
    """Where the run must stop for now, in a ring."""
    received_bytes: int = 0
    received_before: int = 0
    """Bytes of the runs before this one."""
    arrived_in_run: int = 0
    """Pieces of this run that arrived."""
    stopping: bool = False
    """StopFetch was sent."""
    voided: bool = False
    """Nothing of it counts any more once its fetch has ended."""
    fault: OriginFault | None = None
    """It failed; told when what arrived is recorded."""
    retry_after_s: float = 0.0
    true_size: int = -1
    answered: bool = False
    """The origin has begun to answer."""
    told_at: float = 0.0
    """When the scheduler was last to hear of it."""

    @property
    def is_own(self) -> bool:
        """Whether no scheduler granted it."""
        return self.epoch == UNGRANTED

    def next_run(self, place: int) -> tuple[int, int] | None:
        """Return the next run to fetch: what readers at `place` and after wait for before the rest."""
        ahead = self.reserved >> place << place
        return next(availability.runs(ahead or self.reserved), None)

    @property
    def place(self) -> int:
        """The piece that its run brings next."""
        assert self.running is not None, "only a fetch that runs has a place"
        first, end = self.running
        ahead = self.reserved & availability.span(first, end)
        return (ahead & -ahead).bit_length() - 1 if ahead else end

    def next_piece(self, done: int) -> int:
        """Return the first of its pieces that is not done; its end when all are."""
        return min(self.end, self.start + availability.first_missing(done >> self.start))
