import pytest

from swarm.pieces import BLOB_BYTES_MAX, PIECE_BYTES_MAX, PIECE_BYTES_MIN, PieceMap, piece_bytes_for

MIB = 1 << 20


@pytest.mark.parametrize(
    ("size", "piece_bytes"),
    [
        (0, PIECE_BYTES_MIN),
        (1, PIECE_BYTES_MIN),
        (128 * MIB, PIECE_BYTES_MIN),
        (512 * MIB, PIECE_BYTES_MIN),
        (1024 * MIB - 1, 1 * MIB),
        (1024 * MIB, 2 * MIB),
        (3000 * MIB, 4 * MIB),
        (4096 * MIB, 8 * MIB),
        (32 * 1024 * MIB - 1, 8 * MIB),
        (32 * 1024 * MIB, PIECE_BYTES_MAX),
        (BLOB_BYTES_MAX, PIECE_BYTES_MAX),
    ],
)
def test_pieces_are_a_power_of_two_just_below_a_512th_and_larger_only_in_huge_blobs(
    size: int, piece_bytes: int
) -> None:
    assert piece_bytes_for(size) == piece_bytes


def test_an_empty_blob_has_no_pieces() -> None:
    assert PieceMap.of(0).count == 0


def test_only_the_last_piece_is_short() -> None:
    pieces = PieceMap.of(2 * PIECE_BYTES_MIN + 7)
    assert [pieces.length(index) for index in range(pieces.count)] == [PIECE_BYTES_MIN, PIECE_BYTES_MIN, 7]
    assert [pieces.start(index) for index in range(pieces.count)] == [0, PIECE_BYTES_MIN, 2 * PIECE_BYTES_MIN]
    assert pieces.end(2) == pieces.size


def test_a_byte_lies_in_one_piece() -> None:
    pieces = PieceMap.of(3 * PIECE_BYTES_MIN)
    offsets = (0, PIECE_BYTES_MIN - 1, PIECE_BYTES_MIN, pieces.size - 1)
    assert [pieces.index_at(offset) for offset in offsets] == [0, 0, 1, 2]


def test_the_bytes_of_a_span() -> None:
    pieces = PieceMap.of(2 * PIECE_BYTES_MIN + 7)
    assert pieces.span_bytes(0, 3) == pieces.size
    assert pieces.span_bytes(1, 3) == PIECE_BYTES_MIN + 7
    assert pieces.span_bytes(2, 2) == pieces.span_bytes(3, 1) == 0


@pytest.mark.parametrize("size", [-1, BLOB_BYTES_MAX + 1])
def test_sizes_outside_the_wires_range_are_a_fault_of_the_caller(size: int) -> None:
    with pytest.raises(AssertionError, match="outside what the wire allows"):
        PieceMap.of(size)
