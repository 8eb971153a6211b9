import pytest

from dfdaemon.readers import PATIENCE_PIECES, PATIENCE_S, Readers
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
