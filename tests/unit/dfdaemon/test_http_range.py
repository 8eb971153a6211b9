"""Which bytes a Range asks for."""

import pytest

from dfdaemon.http_range import RANGES_MAX, ByteRange, Multipart, requested_ranges
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
    assert requested_ranges(header, 10) == (ByteRange(start, end, True),)


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
        "bytes=0-1,a-b",
        "bytes=0-1,5-3",
        "bytes=0-8,0-8",
        "bytes=" + ",".join(["0-0"] * (RANGES_MAX + 1)),
        "items=0-1",
        "bytes=+1-2",
    ],
)
def test_anything_else_is_the_whole(header: str | None) -> None:
    assert requested_ranges(header, 10) == (ByteRange(0, 10, False),)


@pytest.mark.parametrize(
    ("header", "size"),
    [("bytes=10-", 10), ("bytes=99-100", 10), ("bytes=-0", 10), ("bytes=0-", 0), ("bytes=10-,11-12", 10)],
)
def test_nothing_of_the_blob(header: str, size: int) -> None:
    with pytest.raises(BadRange) as caught:
        requested_ranges(header, size)
    assert caught.value.size == size


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=0-1,3-4", [(0, 2), (3, 5)]),
        ("bytes=8-,0-0, -1", [(8, 10), (0, 1), (9, 10)]),
        ("bytes=0-1,,3-4,", [(0, 2), (3, 5)]),
        ("bytes=0-1,99-", [(0, 2)]),
    ],
)
def test_several_ranges_keep_their_order(header: str, expected: list[tuple[int, int]]) -> None:
    assert requested_ranges(header, 10) == tuple(ByteRange(start, end, True) for start, end in expected)


def test_a_multipart_body_has_the_length_that_it_says() -> None:
    parts = requested_ranges("bytes=0-1,3-4", 10)
    body = Multipart(parts, 10, "a/b", "limit")
    whole = body.heads[0] + b"01" + body.heads[1] + b"34" + body.tail
    assert len(whole) == body.length
    assert whole.split(b"\r\n--limit") == [
        b"",
        b"\r\nContent-Type: a/b\r\nContent-Range: bytes 0-1/10\r\n\r\n01",
        b"\r\nContent-Type: a/b\r\nContent-Range: bytes 3-4/10\r\n\r\n34",
        b"--\r\n",
    ]
