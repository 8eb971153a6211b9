"""A Range header over a hundred bytes."""

import pytest

from benchmarks.origin.byte_range import RangeNotSatisfiable, requested_range


@pytest.mark.parametrize(
    ("header", "start", "stop", "partial"),
    [
        (None, 0, 100, False),
        ("bytes=0-99", 0, 100, True),
        ("bytes=0-0", 0, 1, True),
        ("bytes=99-", 99, 100, True),
        ("bytes=50-1000", 50, 100, True),
        ("bytes=-1", 99, 100, True),
        ("bytes=-1000", 0, 100, True),
        ("bytes=", 0, 100, False),
        ("bytes=-", 0, 100, False),
        ("bytes=9-3", 0, 100, False),
        ("bytes=0-1,5-6", 0, 100, False),
        ("lines=0-1", 0, 100, False),
        ("bytes=٣-٤", 0, 100, False),
    ],
)
def test_a_range_becomes_an_interval(header: str | None, start: int, stop: int, partial: bool) -> None:
    asked = requested_range(header, 100)
    assert (asked.start, asked.stop, asked.partial, asked.length) == (start, stop, partial, stop - start)


@pytest.mark.parametrize(("header", "size"), [("bytes=100-", 100), ("bytes=-0", 100), ("bytes=-1", 0)])
def test_a_range_of_nothing_cannot_be_satisfied(header: str, size: int) -> None:
    with pytest.raises(RangeNotSatisfiable):
        requested_range(header, size)
