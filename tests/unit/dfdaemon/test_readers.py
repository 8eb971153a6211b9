import pytest

from dfdaemon.readers import PART_BYTES_MAX, PATIENCE_PIECES, PATIENCE_S, Readers, is_part
from swarm.ids import ReaderId
from swarm.pieces import PIECE_BYTES_MIN as PIECE
from swarm.pieces import PieceMap

ONE, TWO = ReaderId(1), ReaderId(2)


@pytest.fixture
def readers() -> Readers:
    return Readers(PieceMap.of(10 * PIECE))


def test_a_new_reader_is_urgent(readers: Readers) -> None:
    readers.open(ONE, 2 * PIECE + 5, 10 * PIECE, now=0.0)
    assert readers.urgent(0, 0.1, now=0.0) == [2]
    assert readers.urgent(0b11100, 0.1, now=0.0) == [5]


def test_one_that_got_something_waits_for_all_hosts_good(readers: Readers) -> None:
    readers.open(ONE, 0, 10 * PIECE, now=0.0)
    readers.advance(ONE, PIECE, now=1.0)
    assert readers.urgent(0b1, 0.01, now=1.0) == []
    assert readers.urgent(0b1, 0.01, now=1.0 + PATIENCE_S) == [1]


def test_where_pieces_take_long_so_does_patience(readers: Readers) -> None:
    readers.open(ONE, 0, 10 * PIECE, now=0.0)
    readers.advance(ONE, PIECE, now=0.0)
    assert readers.urgent(0b1, 1.0, now=PATIENCE_PIECES - 1.0) == []
    assert readers.urgent(0b1, 1.0, now=PATIENCE_PIECES) == [1]


def test_the_longest_wait_comes_first(readers: Readers) -> None:
    readers.open(ONE, 0, 10 * PIECE, now=1.0)
    readers.open(TWO, 5 * PIECE, 10 * PIECE, now=0.0)
    assert readers.urgent(0, 0.1, now=1.0) == [5, 0]


def test_a_reader_wants_nothing_beyond_its_end(readers: Readers) -> None:
    readers.open(ONE, 0, 2 * PIECE, now=0.0)
    assert readers.urgent(0b01, 0.1, now=0.0) == [1]
    assert readers.urgent(0b11, 0.1, now=0.0) == []


def test_the_lowest_place_is_where_a_ring_begins(readers: Readers) -> None:
    assert readers.lowest() == 10
    readers.open(ONE, 4 * PIECE, 10 * PIECE, now=0.0)
    readers.open(TWO, 6 * PIECE, 10 * PIECE, now=0.0)
    assert readers.lowest() == 4
    readers.advance(ONE, 9 * PIECE, now=0.0)
    assert readers.lowest() == 6
    readers.close(TWO)
    assert (readers.lowest(), len(readers)) == (9, 1)


def test_news_of_a_closed_reader_mean_nothing(readers: Readers) -> None:
    readers.advance(ONE, PIECE, now=0.0)
    readers.close(ONE)
    assert len(readers) == 0


def test_an_empty_blob_can_be_read() -> None:
    readers = Readers(PieceMap.of(0))
    readers.open(ONE, 0, 0, now=0.0)
    assert readers.lowest() == 0


@pytest.mark.parametrize(
    ("size", "start", "end", "expected"),
    [
        (1 << 30, 0, 2, True),
        (1 << 30, 5, 5 + PART_BYTES_MAX, True),
        (1 << 30, (1 << 30) - 100, 1 << 30, True),
        (1 << 30, 0, PART_BYTES_MAX + 1, False),
        (1 << 30, 0, 1 << 30, False),
        (1000, 0, 300, False),
        (0, 0, 0, True),
    ],
)
def test_what_is_a_part(size: int, start: int, end: int, expected: bool) -> None:
    assert is_part(size, start, end) is expected


def test_what_readers_may_still_need(readers: Readers) -> None:
    assert readers.demand() == 0
    readers.open(ONE, 2 * PIECE + 5, 4 * PIECE, now=0.0)
    readers.open(TWO, 8 * PIECE, 8 * PIECE + 1, now=0.0)
    assert readers.demand() == 0b1_0000_1100
    readers.advance(ONE, 3 * PIECE, now=1.0)
    readers.close(TWO)
    assert readers.demand() == 0b1000
