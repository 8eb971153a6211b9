"""The piece map: how a blob of a given size is cut. A function of the size alone, so nobody negotiates."""

from dataclasses import dataclass
from functools import lru_cache

MIB = 1 << 20
PIECE_BYTES_MIN = MIB
"""Below this the cost of a request shows."""
PIECE_BYTES_USUAL = 8 * MIB
"""Above this a piece blocks a slot for too long on a slow link."""
PIECE_BYTES_MAX = 16 * MIB
"""What the largest blobs are cut into: where 8 MiB take 3 ms, the round trips between pieces cost 4 % of a link of
25 Gbit/s (simulated, docs/decisions/0082). A ring in memory must hold one."""
PIECES_WANTED = 512
"""A piece is passed on only when it is whole, so what a swarm lags behind its origin is a few piece times: 256 pieces
cost a herd of 100 another 3 % over the bound (simulated); above 512 the round trip between pieces tells."""
PIECES_MANY = 2048
"""So many pieces of 16 MiB and more has a blob that is cut into them: 32 GiB and above."""
INLINE_BYTES_MAX = 128 * 1024
"""Blobs up to this size travel inside the scheduler's answer."""
BLOB_BYTES_MAX = 1 << 42
"""4 TiB: far above any layer, low enough that a bitmap has at most 32 KiB."""

MAPS_KEPT = 1024
"""Piece maps remembered: every word from another host about a blob needs its map."""


def piece_bytes_for(size: int) -> int:
    """Return the bytes of a piece of a blob of `size` bytes: size / 512 down to a power of two, 1 MiB to 8 MiB.

    But 16 MiB where these are PIECES_MANY and more.
    """
    wanted = max(min(size // PIECES_WANTED, PIECE_BYTES_USUAL), size // PIECES_MANY, PIECE_BYTES_MIN)
    return min(PIECE_BYTES_MAX, 1 << (wanted.bit_length() - 1))


@dataclass(frozen=True, slots=True)
class PieceMap:
    """The ranges of a blob's pieces. `size` in bytes, 0 to BLOB_BYTES_MAX; pieces are numbered from 0."""

    size: int
    piece_bytes: int
    count: int

    @staticmethod
    @lru_cache(maxsize=MAPS_KEPT)
    def of(size: int) -> "PieceMap":
        """Cut a blob of `size` bytes. An empty blob has no pieces."""
        assert 0 <= size <= BLOB_BYTES_MAX, f"a blob of {size} bytes is outside what the wire allows"
        piece_bytes = piece_bytes_for(size)
        return PieceMap(size, piece_bytes, -(-size // piece_bytes))

    def start(self, index: int) -> int:
        """Return the offset of a piece's first byte."""
        return index * self.piece_bytes

    def length(self, index: int) -> int:
        """Return the bytes of one piece; only the last may be short."""
        return min(self.piece_bytes, self.size - index * self.piece_bytes)

    def end(self, index: int) -> int:
        """Return the offset after a piece's last byte."""
        return min(self.size, (index + 1) * self.piece_bytes)

    def index_at(self, offset: int) -> int:
        """Return the piece that holds the byte at `offset`."""
        return offset // self.piece_bytes

    def span_bytes(self, start: int, end: int) -> int:
        """Return the bytes of pieces [start, end)."""
        return 0 if end <= start else self.end(end - 1) - self.start(start)
