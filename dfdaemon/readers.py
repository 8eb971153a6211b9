"""The local clients that read one blob while it arrives, and where they are."""

from dataclasses import dataclass

from swarm import availability
from swarm.ids import ReaderId
from swarm.pieces import PieceMap

READERS_MAX = 1024
"""Readers of one blob; the mirror takes no more connections than that."""

PART_BYTES_MAX = 16 << 20
"""A range up to this long is a part: a file or some of an eStargz or zstd:chunked layer, and what they fetch ahead."""
PART_SHARE = 4
"""It is at most this part of the blob; of more, the rest is worth having too."""

PATIENCE_PIECES = 16
"""Times that a piece may take before the same holds where pieces take long."""
PATIENCE_S = 1.0
"""A reader that got nothing for this long is served first: it may be stuck behind one rare piece."""


def is_part(size: int, start: int, end: int) -> bool:
    """Tell whether a client that reads bytes [start, end) wants a part of the blob and nothing else of it."""
    return end - start <= min(PART_BYTES_MAX, size // PART_SHARE)


@dataclass(slots=True)
class Place:
    """Where one reader is, in pieces. `since`: when it last got anything, or began; `is_new`: it got nothing yet."""

    piece: int
    end: int
    since: float
    is_new: bool = True


class Readers:
    """Places of readers, in pieces."""

    def __init__(self, pieces: PieceMap) -> None:
        self._pieces = pieces
        self._places: dict[ReaderId, Place] = {}

    def __len__(self) -> int:
        return len(self._places)

    def open(self, reader: ReaderId, offset: int, end: int, now: float) -> None:
        """A client starts to read bytes [offset, end)."""
        assert len(self._places) < READERS_MAX, "the mirror let too many readers in"
        last = self._pieces.index_at(max(end, 1) - 1)
        self._places[reader] = Place(self._pieces.index_at(offset), last + 1, now)

    def advance(self, reader: ReaderId, offset: int, now: float) -> None:
        """A client got everything before `offset`. Late news of a closed reader means nothing."""
        place = self._places.get(reader)
        if place is not None:
            place.piece = max(place.piece, self._pieces.index_at(offset))
            place.since = now
            place.is_new = False

    def close(self, reader: ReaderId) -> None:
        """A client is gone."""
        self._places.pop(reader, None)

    def lowest(self) -> int:
        """Return the first piece that a reader may still need; past the last piece when there is no reader."""
        return min((place.piece for place in self._places.values()), default=self._pieces.count)

    def demand(self) -> int:
        """Return the bitmap of the pieces that readers may still need."""
        bits = availability.NONE
        for place in self._places.values():
            bits |= availability.span(place.piece, place.end)
        return bits

    def urgent(self, held: int, piece_s: float, now: float) -> list[int]:
        """Return the first piece that is not held, of each reader that should not wait longer; the longest wait first.

        That is one that got nothing yet, or nothing for PATIENCE_S, or PATIENCE_PIECES times `piece_s`, the time that
        a piece takes. Others wait for all hosts' good: if each asked in order, all would ask for the same pieces.
        """
        patience = max(PATIENCE_S, PATIENCE_PIECES * piece_s)
        waits = []
        for place in self._places.values():
            if place.is_new or now - place.since >= patience:
                first = place.piece + availability.first_missing(held >> place.piece)
                if first < place.end:
                    waits.append((place.since, first))
        waits.sort()
        return [first for _, first in waits]
