import pytest

from swarm import availability
from swarm.errors import WireError


def bits_of(picture: str) -> int:
    """Read a picture of pieces: `#` is held, `.` is not, piece 0 first."""
    return sum(1 << index for index, mark in enumerate(picture) if mark == "#")


def test_full_and_spans() -> None:
    assert availability.full(0) == availability.NONE
    assert availability.full(4) == bits_of("####")
    assert availability.span(1, 3) == bits_of(".##.")
    assert availability.span(2, 2) == availability.span(3, 2) == availability.NONE


def test_a_piece_is_held_or_not() -> None:
    assert [availability.has(bits_of("#.#"), index) for index in range(4)] == [True, False, True, False]


@pytest.mark.parametrize(
    ("picture", "first", "runs"),
    [
        ("....", 0, []),
        ("#...", 1, [(0, 1)]),
        (".##.", 0, [(1, 3)]),
        ("##.#", 2, [(0, 2), (3, 4)]),
        ("####", 4, [(0, 4)]),
    ],
)
def test_what_is_missing_first_and_what_lies_together(
    picture: str, first: int, runs: list[tuple[int, int]]
) -> None:
    assert availability.first_missing(bits_of(picture)) == first
    assert list(availability.runs(bits_of(picture))) == runs


def test_indexes_come_lowest_first() -> None:
    assert list(availability.indexes(bits_of("#..##"))) == [0, 3, 4]


def test_on_the_wire_piece_0_is_the_lowest_bit_of_the_first_byte() -> None:
    assert availability.encode(bits_of("#........#"), 10) == b"\x01\x02"
    assert availability.encode(availability.NONE, 0) == b""


@pytest.mark.parametrize(("data", "count"), [(b"", 1), (b"\x00\x00", 8), (b"\x00", 9), (b"\x00", 0)])
def test_a_bitmap_of_the_wrong_length_is_refused(data: bytes, count: int) -> None:
    with pytest.raises(WireError, match=f"a bitmap of {count} pieces needs"):
        availability.decode(data, count)


def test_a_bitmap_that_names_a_piece_beyond_the_blob_is_refused() -> None:
    with pytest.raises(WireError, match="a bitmap of 3 pieces names piece 3"):
        availability.decode(b"\x08", 3)
