"""Which headers of an HTTP message go on to the next hop (RFC 9110, section 7.6.1)."""

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


def end_to_end(
    headers: Iterable[tuple[str, str]], dropped: frozenset[str] = frozenset()
) -> list[tuple[str, str]]:
    """Return the headers that go on, in order, repeated ones kept; without those that Connection names or `dropped`."""
    listed = list(headers)
    named = {
        option.strip().lower()
        for key, value in listed
        if key.lower() == "connection"
        for option in value.split(",")
    }
    gone = HOP_BY_HOP | dropped | named
    return [(key, value) for key, value in listed if key.lower() not in gone]
