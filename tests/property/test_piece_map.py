from hypothesis import given
from hypothesis import strategies as st

from swarm.pieces import BLOB_BYTES_MAX, PIECE_BYTES_MAX, PIECE_BYTES_MIN, PieceMap

SIZES = st.integers(0, BLOB_BYTES_MAX) | st.integers(0, 1 << 32) | st.integers(1 << 32, 1 << 36)


@given(SIZES)
def test_pieces_are_within_their_limits(size: int) -> None:
    piece_bytes = PieceMap.of(size).piece_bytes
    assert PIECE_BYTES_MIN <= piece_bytes <= PIECE_BYTES_MAX
    assert piece_bytes & (piece_bytes - 1) == 0


@given(SIZES, st.data())
def test_pieces_cover_the_blob_without_gap_or_overlap(size: int, data: st.DataObject) -> None:
    pieces = PieceMap.of(size)
    assert pieces.span_bytes(0, pieces.count) == size
    if not size:
        return
    index = data.draw(st.integers(0, pieces.count - 1))
    assert 0 < pieces.length(index) <= pieces.piece_bytes
    assert pieces.end(index) == pieces.start(index) + pieces.length(index)
    assert pieces.end(index) == (size if index == pieces.count - 1 else pieces.start(index + 1))
    assert pieces.index_at(pieces.start(index)) == pieces.index_at(pieces.end(index) - 1) == index


@given(SIZES, SIZES)
def test_a_larger_blob_has_no_smaller_pieces(one: int, other: int) -> None:
    smaller, larger = sorted((one, other))
    assert PieceMap.of(smaller).piece_bytes <= PieceMap.of(larger).piece_bytes
