"""What is loopback, and what it gets."""

import socket

import pytest

from dfdaemon.io.loopback import LOOPBACK_CONGESTION, is_loopback, prefer_cheap_congestion_control


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("10.0.0.1", False),
        ("fe80::1%eth0", False),
        ("localhost", False),
        ("", False),
    ],
)
def test_loopback_is_an_address(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


def test_a_socket_gets_the_cheap_congestion_control() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        prefer_cheap_congestion_control(sock)
        used = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16)
    assert used.rstrip(b"\0") == LOOPBACK_CONGESTION


def test_a_socket_that_cannot_have_it_stays_as_it_is() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        prefer_cheap_congestion_control(sock)
