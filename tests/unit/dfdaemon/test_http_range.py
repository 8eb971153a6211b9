"""Which bytes a Range asks for."""

import pytest

from dfdaemon.http_range import ByteRange, requested_range
from swarm.errors import BadRange


@pytest.mark.parametrize(
    ("header", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=0-", 0, 10),
        ("bytes=9-", 9, 10),
        ("bytes=3-5", 3, 6),
        ("bytes=3-99", 3, 10),
        ("bytes=-4", 6, 10),
        ("bytes=-99", 0, 10),
        ("Bytes = 1 - 2 ", 1, 3),
    ],
)
def test_one_range(header: str, start: int, end: int) -> None:
    assert requested_range(header, 10) == ByteRange(start, end, True)


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "bytes",
        "bytes=",
        "bytes=-",
        "bytes=a-b",
        "bytes=5-3",
        "bytes=0-1,3-4",
        "items=0-1",
        "bytes=+1-2",
    ],
)
def test_anything_else_is_the_whole(header: str | None) -> None:
    assert requested_range(header, 10) == ByteRange(0, 10, False)


@pytest.mark.parametrize(
    ("header", "size"), [("bytes=10-", 10), ("bytes=99-100", 10), ("bytes=-0", 10), ("bytes=0-", 0)]
)
def test_nothing_of_the_blob(header: str, size: int) -> None:
    with pytest.raises(BadRange) as caught:
        requested_range(header, size)
    assert caught.value.size == size
