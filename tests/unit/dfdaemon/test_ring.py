import pytest

from dfdaemon.piece_table import PieceTable, Stage
from dfdaemon.ring import Ring


@pytest.fixture
def table() -> PieceTable:
    return PieceTable(8)


def verify(table: PieceTable, bits: int) -> None:
    table.move(bits, Stage.MISSING, Stage.VERIFIED)


def test_a_ring_has_places_for_its_slots(table: PieceTable) -> None:
    ring = Ring(3, table)
    assert (ring.end, ring.window) == (3, 0b111)


def test_moving_on_frees_what_was_read(table: PieceTable) -> None:
    ring = Ring(3, table)
    verify(table, 0b111)
    ring.move_to(2)
    ring.validate()
    assert ring.window == 0b11100
    assert (table.verified, table.at(Stage.PASSED)) == (0b100, 0b011)


def test_what_lies_before_the_first_reader_is_not_wanted(table: PieceTable) -> None:
    ring = Ring(3, table)
    ring.move_to(6)
    assert table.missing == 0b11000000
    assert ring.end == 8


def test_moving_back_wants_again_what_was_read_and_drops_what_has_no_place(table: PieceTable) -> None:
    ring = Ring(3, table)
    ring.move_to(4)
    verify(table, 0b01010000)
    ring.move_to(2)
    ring.validate()
    assert table.verified == 0b00010000
    assert table.missing == 0b11101100


def test_holding_more_than_there_are_places_is_noticed(table: PieceTable) -> None:
    ring = Ring(3, table)
    verify(table, 0b1000)
    with pytest.raises(AssertionError, match="outside the ring"):
        ring.validate()
