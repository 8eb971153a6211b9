"""A tiny blob that comes whole through the scheduler, instead of as a piece."""

from dfdaemon.blob_state import BlobState
from dfdaemon.commands import WriteInline
from dfdaemon.piece_table import Stage

NEVER = float("inf")
INLINE_S = 5.0
"""Time for the store to write a tiny blob before it counts as lost: its digest was wrong, or the disk is."""


class InlineSide:
    """Waits until nothing else writes the blob, has it written, and gives up if that takes too long."""

    def __init__(self, blob: BlobState) -> None:
        self._blob = blob
        self._content: bytes | None = None
        self.until = NEVER
        """When the write counts as lost; NEVER when none runs."""

    @property
    def is_writing(self) -> bool:
        """Whether the store has the content in hand."""
        return self.until != NEVER

    def take(self, content: bytes) -> None:
        """The content is here."""
        if not self.is_writing:
            self._content = content

    def settle(self, now: float) -> None:
        """Have the content written, if there is one and nothing else writes."""
        table = self._blob.table
        if self._content is None or table.missing != table.everything or self._blob.closing:
            return
        table.move(table.everything, Stage.MISSING, Stage.WRITTEN)
        self.until = now + INLINE_S
        self._blob.do(WriteInline(self._blob.task, self._content))
        self._content = None

    def end(self) -> bool:
        """The write is over, one way or another: all pieces are missing again. False when none ran."""
        if not self.is_writing:
            return False
        self.until = NEVER
        self._blob.free(self._blob.table.at(Stage.WRITTEN), Stage.WRITTEN)
        return True
