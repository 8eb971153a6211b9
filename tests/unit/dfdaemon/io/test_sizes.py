"""Sizes as people read them."""

import pytest

from dfdaemon.io.sizes import human_bytes


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (5 << 20, "5.0 MiB"),
        (3 << 30, "3.0 GiB"),
        (2 << 40, "2.0 TiB"),
    ],
)
def test_the_unit_keeps_the_number_small(count: int, text: str) -> None:
    assert human_bytes(count) == text
