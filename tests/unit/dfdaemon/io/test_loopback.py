"""What connections over loopback get."""

import socket

from dfdaemon.io.loopback import LOOPBACK_CONGESTION, prefer_cheap_congestion_control


def test_a_socket_gets_the_cheap_congestion_control() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        prefer_cheap_congestion_control(sock)
        used = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16)
    assert used.rstrip(b"\0") == LOOPBACK_CONGESTION


def test_a_socket_that_cannot_have_it_stays_as_it_is() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        prefer_cheap_congestion_control(sock)
