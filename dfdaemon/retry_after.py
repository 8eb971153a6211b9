"""How long a server asks us to wait: Retry-After (RFC 9110, section 10.2.3), in seconds or as a date."""

from email.utils import parsedate_to_datetime

RETRY_AFTER_MAX_S = 300.0
"""Longer waits are cut: a registry that means hours will say so again."""
RETRY_AFTER_DEFAULT_S = 5.0
"""What a 429 without the header, or with one that nobody can read, means."""


def retry_after_s(text: str | None, now: float) -> float:
    """Return the seconds to wait, 0 to RETRY_AFTER_MAX_S. `now` is wall-clock time, in seconds since 1970."""
    return min(RETRY_AFTER_MAX_S, max(0.0, _seconds(text or "", now)))


def _seconds(text: str, now: float) -> float:
    text = text.strip()
    if text.isascii() and text.isdecimal():
        return float(text[:9])
    try:
        return parsedate_to_datetime(text).timestamp() - now
    except (ValueError, TypeError, OverflowError):
        return RETRY_AFTER_DEFAULT_S
