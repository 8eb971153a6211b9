"""Retry-After, in both of its forms."""

import pytest

from dfdaemon.retry_after import RETRY_AFTER_DEFAULT_S, RETRY_AFTER_MAX_S, retry_after_s

NOON = 784_903_551.0  # Tue, 15 Nov 1994 12:45:51 GMT


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0.0),
        (" 7 ", 7.0),
        ("86400", RETRY_AFTER_MAX_S),
        ("9" * 40, RETRY_AFTER_MAX_S),
        ("Tue, 15 Nov 1994 12:46:01 GMT", 10.0),
        ("Tue, 15 Nov 1994 12:00:00 GMT", 0.0),
        ("Fri, 01 Jan 2100 00:00:00 GMT", RETRY_AFTER_MAX_S),
        (None, RETRY_AFTER_DEFAULT_S),
        ("", RETRY_AFTER_DEFAULT_S),
        ("soon", RETRY_AFTER_DEFAULT_S),
        ("-5", RETRY_AFTER_DEFAULT_S),
        ("Tue, 99 Nov 1994 12:46:01 GMT", RETRY_AFTER_DEFAULT_S),
    ],
)
def test_seconds_to_wait(text: str | None, expected: float) -> None:
    assert retry_after_s(text, NOON) == expected
