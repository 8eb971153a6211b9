"""Where each piece of a download stands, as one bitmap per stage.

    MISSING ──> REQUESTED ──> WRITTEN ──> VERIFIED        REQUESTED: one parent, or its hedge, sends it
       │                        ^            │            LEASED:    our own fetch from the origin brings it
       └─────> LEASED ──────────┘            │            WRITTEN:   bytes right and in place, record on its way
       <──── from every stage, when it fails ┘            PASSED:    behind all readers of a ring: not held, not wanted

A piece is in exactly one stage, so at any time at most one transfer writes at its place (hedges go to scratch).
"""

from enum import IntEnum

from swarm import availability


class Stage(IntEnum):
    """How far one piece is."""

    MISSING = 0
    REQUESTED = 1
    LEASED = 2
    WRITTEN = 3
    VERIFIED = 4
    PASSED = 5

    __hash__ = int.__hash__  # Enum's own takes longer than all else of a move


LEGAL_MOVES = frozenset(
    {
        (Stage.MISSING, Stage.REQUESTED),
        (Stage.MISSING, Stage.LEASED),
        (Stage.MISSING, Stage.WRITTEN),  # a tiny blob that came through the scheduler
        (Stage.MISSING, Stage.VERIFIED),  # found on disk
        (Stage.REQUESTED, Stage.WRITTEN),
        (Stage.REQUESTED, Stage.MISSING),
        (Stage.LEASED, Stage.WRITTEN),
        (Stage.LEASED, Stage.MISSING),
        (Stage.WRITTEN, Stage.VERIFIED),
        (Stage.WRITTEN, Stage.MISSING),
        (Stage.VERIFIED, Stage.MISSING),  # damaged, proven wrong, or pushed out of a ring
        (Stage.VERIFIED, Stage.PASSED),
        (Stage.MISSING, Stage.PASSED),
        (Stage.LEASED, Stage.PASSED),
        (Stage.PASSED, Stage.MISSING),
    }
)


class PieceTable:
    """The stages of `count` pieces. Bitmaps follow swarm/availability.py."""

    __slots__ = ("_bits", "count", "everything")

    def __init__(self, count: int) -> None:
        self.count = count
        self.everything = availability.full(count)
        self._bits = [0] * len(Stage)
        self._bits[Stage.MISSING] = self.everything

    @property
    def missing(self) -> int:
        """Pieces that nobody is bringing."""
        return self._bits[0]

    @property
    def verified(self) -> int:
        """Pieces that are recorded, and may be announced, served and read."""
        return self._bits[4]

    @property
    def had(self) -> int:
        """How many pieces are verified, or were before they left a ring."""
        return (self._bits[4] | self._bits[5]).bit_count()

    @property
    def is_whole(self) -> bool:
        """Whether every piece is verified."""
        return self._bits[4] == self.everything

    def at(self, stage: Stage) -> int:
        """Return the bitmap of the pieces in a stage."""
        return self._bits[stage]

    def is_at(self, index: int, stage: Stage) -> bool:
        """Tell whether one piece is in a stage."""
        return bool(self._bits[stage] >> index & 1)

    def move(self, bits: int, old: Stage, new: Stage) -> None:
        """Take pieces, all of them in stage `old`, to stage `new`."""
        assert (old, new) in LEGAL_MOVES, f"no piece goes from {old.name} to {new.name}"
        table = self._bits
        assert not bits & ~table[old], f"pieces {bits & ~table[old]:#x} are not {old.name}"
        table[old] ^= bits
        table[new] |= bits

    def validate(self) -> None:
        """Assert that every piece is in exactly one stage."""
        together = 0
        for stage in Stage:
            assert not together & self._bits[stage], f"a piece is {stage.name} and something else"
            together |= self._bits[stage]
        assert together == self.everything, "a piece is in no stage"
