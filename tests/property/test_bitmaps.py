"""Bitmaps against sets of numbers, which say the same more slowly."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from swarm import availability

SETS = st.sets(st.integers(0, 600))


def bits_of(held: set[int]) -> int:
    return sum(1 << index for index in held)


@given(SETS)
def test_a_bitmap_says_what_the_set_says(held: set[int]) -> None:
    bits = bits_of(held)
    assert list(availability.indexes(bits)) == sorted(held)
    assert {index for index in range(601) if availability.has(bits, index)} == held
    assert availability.first_missing(bits) == min(set(range(602)) - held)


@given(SETS)
def test_runs_are_the_bitmap_in_as_few_spans_as_can_be(held: set[int]) -> None:
    runs = list(availability.runs(bits_of(held)))
    assert sum(availability.span(start, end) for start, end in runs) == bits_of(held)
    for (_, end), (start, _) in pairwise(runs):
        assert end < start


@given(SETS, st.integers(0, 64))
def test_a_bitmap_survives_the_wire(held: set[int], spare: int) -> None:
    bits = bits_of(held)
    count = bits.bit_length() + spare
    data = availability.encode(bits, count)
    assert len(data) == (count + 7) // 8
    assert availability.decode(data, count) == bits


@given(st.binary(max_size=40), st.integers(0, 320))
def test_bytes_are_refused_or_mean_one_bitmap(data: bytes, count: int) -> None:
    try:
        bits = availability.decode(data, count)
    except availability.WireError:
        return
    assert availability.encode(bits, count) == data
    assert bits <= availability.full(count)
