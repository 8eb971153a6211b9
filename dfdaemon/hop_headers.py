"""Which headers of an HTTP message go on to the next hop (RFC 9110, section 7.6.1)."""

import re
from collections.abc import Iterable

HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)


_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


def is_sendable(value: str) -> bool:
    """Tell whether a header's value may be sent at all (RFC 9110, section 5.5): no control characters but tabs."""
    return not _CONTROL.search(value)


def end_to_end(
    headers: Iterable[tuple[str, str]], dropped: frozenset[str] = frozenset()
) -> list[tuple[str, str]]:
    """Return the headers that go on, in order, repeated ones kept; without those that Connection names or `dropped`.

    A value that nobody may send is left out.
    """
    listed = list(headers)
    named = {
        option.strip().lower()
        for key, value in listed
        if key.lower() == "connection"
        for option in value.split(",")
    }
    gone = HOP_BY_HOP | dropped | named
    return [(key, value) for key, value in listed if key.lower() not in gone and is_sendable(value)]
