"""The local clients that read one blob while it arrives, and where they are."""

from swarm import availability
from swarm.ids import ReaderId
from swarm.pieces import PieceMap

READERS_MAX = 1024
"""Readers of one blob; the mirror takes no more connections than that."""


class Readers:
    """Places of readers, in pieces."""

    def __init__(self, pieces: PieceMap) -> None:
        self._pieces = pieces
        self._places: dict[ReaderId, int] = {}
        self._ends: dict[ReaderId, int] = {}

    def __len__(self) -> int:
        return len(self._places)

    def open(self, reader: ReaderId, offset: int, end: int) -> None:
        """A client starts to read bytes [offset, end)."""
        assert len(self._places) < READERS_MAX, "the mirror let too many readers in"
        self._places[reader] = self._pieces.index_at(offset)
        self._ends[reader] = self._pieces.index_at(max(end, 1) - 1) + 1

    def advance(self, reader: ReaderId, offset: int) -> None:
        """A client got everything before `offset`. Late news of a closed reader means nothing."""
        if reader in self._places:
            self._places[reader] = max(self._places[reader], self._pieces.index_at(offset))

    def close(self, reader: ReaderId) -> None:
        """A client is gone."""
        self._places.pop(reader, None)
        self._ends.pop(reader, None)

    def lowest(self) -> int:
        """Return the first piece that a reader may still need; past the last piece when there is no reader."""
        return min(self._places.values(), default=self._pieces.count)

    def waiting(self, held: int) -> list[int]:
        """Return for each reader the first piece from its place that is not held, if it reads that far."""
        places = []
        for reader, place in self._places.items():
            first = place + availability.first_missing(held >> place)
            if first < self._ends[reader]:
                places.append(first)
        return places
