"""A blob for which there is no room on disk streams through a ring of pieces in memory.

Piece i lies in place i modulo `slots`, so only pieces [base, base + slots) may be held or written. The base is the
lowest place of any reader. It normally only grows; when it leaps (a reader left, or a new one begins further back),
whatever is in flight outside the new window is stopped first, and nothing new is asked for until that is over.
"""

from dfdaemon.piece_table import PieceTable, Stage
from swarm import availability


class Ring:
    """The window of one blob."""

    def __init__(self, slots: int, table: PieceTable) -> None:
        self.slots = slots
        self.base = 0
        self._table = table

    @property
    def end(self) -> int:
        """The first piece that has no place yet."""
        return min(self._table.count, self.base + self.slots)

    @property
    def window(self) -> int:
        """Bitmap of the pieces that have a place."""
        return availability.span(self.base, self.end)

    def move_to(self, base: int) -> None:
        """Let the lowest reader's piece be `base`: free what is behind, want again what is before it."""
        table = self._table
        if base < self.base:
            table.move(
                table.at(Stage.PASSED) & availability.span(base, table.count), Stage.PASSED, Stage.MISSING
            )
        self.base = base
        behind = availability.span(0, base)
        for stage in (Stage.VERIFIED, Stage.MISSING, Stage.LEASED):
            table.move(table.at(stage) & behind, stage, Stage.PASSED)
        table.move(table.verified & ~self.window, Stage.VERIFIED, Stage.MISSING)

    def validate(self) -> None:
        """Assert that no more is held than there are places."""
        assert not self._table.verified & ~self.window, "a piece is held outside the ring"
        assert self._table.verified.bit_count() <= self.slots, "the ring holds too much"
