import pytest

from swarm.addresses import bind_host, is_loopback, join_address, parse_listen
from swarm.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:4010", "127.0.0.1", 4010),
        ("[::1]:0", "::1", 0),
        ("scheduler.example:65535", "scheduler.example", 65535),
        (":4010", "", 4010),
    ],
)
def test_addresses_are_read(text: str, host: str, port: int) -> None:
    assert parse_listen(text, "listen") == (host, port)
    assert join_address(host, port) == text


@pytest.mark.parametrize(
    "text", ["", "host", "host:", "host:x", "host:65536", "::1:80", "host:-1", "host:²", "[::1]"]
)
def test_malformed_addresses_name_the_key(text: str) -> None:
    with pytest.raises(ConfigError, match="listen = "):
        parse_listen(text, "listen")


def test_all_addresses_are_those_of_both_families() -> None:
    assert [bind_host(host) for host in ("", "::", "0.0.0.0", "::1")] == [None, None, "0.0.0.0", "::1"]


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("localhost", True),
        ("node.localhost", False),
        ("127.0.0.1.example", False),
        ("10.0.0.1", False),
        ("fe80::1%eth0", False),
        ("", False),
    ],
)
def test_loopback_is_told_by_name_or_address(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected
