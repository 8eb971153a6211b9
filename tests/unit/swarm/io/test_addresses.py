import pytest

from swarm.errors import ConfigError
from swarm.io.addresses import bind_host, join_address, parse_listen


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
