import pytest

from dfdaemon.piece_table import LEGAL_MOVES, PieceTable, Stage

PAIRS = [(old, new) for old in Stage for new in Stage]


def test_all_pieces_begin_missing() -> None:
    table = PieceTable(4)
    assert table.missing == 0b1111
    assert not table.is_whole


def test_an_empty_blob_is_whole() -> None:
    assert PieceTable(0).is_whole


def test_pieces_move_together() -> None:
    table = PieceTable(4)
    table.move(0b0101, Stage.MISSING, Stage.REQUESTED)
    table.move(0b0100, Stage.REQUESTED, Stage.WRITTEN)
    table.move(0b0100, Stage.WRITTEN, Stage.VERIFIED)
    table.validate()
    assert (table.missing, table.at(Stage.REQUESTED), table.verified) == (0b1010, 0b0001, 0b0100)
    assert table.is_at(2, Stage.VERIFIED)


def test_a_piece_must_be_where_it_is_taken_from() -> None:
    table = PieceTable(4)
    with pytest.raises(AssertionError, match="not REQUESTED"):
        table.move(0b1, Stage.REQUESTED, Stage.WRITTEN)


@pytest.mark.parametrize(("old", "new"), PAIRS)
def test_only_legal_moves_are_made(old: Stage, new: Stage) -> None:
    table = PieceTable(1)
    if (old, new) in LEGAL_MOVES:
        table.move(0, old, new)
    else:
        with pytest.raises(AssertionError, match="no piece goes"):
            table.move(0, old, new)


def test_nothing_is_verified_without_being_written_but_what_was_on_disk() -> None:
    assert {old for old, new in LEGAL_MOVES if new is Stage.VERIFIED} == {Stage.WRITTEN, Stage.MISSING}
