"""Headers that go on to the next hop."""

from dfdaemon.hop_headers import end_to_end


def test_repeated_headers_stay_in_order() -> None:
    headers = [("Accept", "a"), ("X", "1"), ("accept", "b"), ("Set-Cookie", "c"), ("Set-Cookie", "d")]
    assert end_to_end(headers) == headers


def test_hop_by_hop_headers_go() -> None:
    headers = [
        ("Connection", "close, X-Private"),
        ("x-private", "1"),
        ("Transfer-Encoding", "chunked"),
        ("Keep-Alive", "timeout=5"),
        ("Proxy-Authorization", "Basic x"),
        ("Host", "mirror"),
        ("Authorization", "Bearer x"),
    ]
    assert end_to_end(headers, frozenset({"host"})) == [("Authorization", "Bearer x")]


def test_what_nobody_may_send_stays_here() -> None:
    assert end_to_end([("A", "x\ty"), ("B", "x\x00y"), ("C", "x\x7f"), ("D", "\xff")]) == [
        ("A", "x\ty"),
        ("D", "\xff"),
    ]
