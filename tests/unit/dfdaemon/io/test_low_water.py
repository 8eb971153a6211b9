"""The low-water mark of a socket: when the kernel tells of bytes."""

import select
import socket

import pytest

from dfdaemon.io.low_water import MARK_BYTES, LowWater
from tests.support.system import mark_of, tcp_wires


def tells(sock: socket.socket) -> bool:
    return bool(select.select([sock], [], [], 0)[0])


def test_a_wait_ends_with_the_last_byte_that_is_expected() -> None:
    with tcp_wires() as (sender, receiver):
        LowWater(receiver).expect(100)
        sender.sendall(bytes(99))
        assert not tells(receiver)
        assert receiver.recv(1, socket.MSG_PEEK), "what is there can be read all the same"
        sender.sendall(b"x")
        assert tells(receiver)


def test_an_end_and_a_reset_are_told_of_at_once() -> None:
    for reset in (False, True):
        with tcp_wires() as (sender, receiver):
            LowWater(receiver).expect(100)
            if reset:
                sender.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, bytes((1, 0, 0, 0, 0, 0, 0, 0)))
            sender.close()
            assert tells(receiver)


@pytest.mark.parametrize("count", [0, -5, 1])
def test_where_nothing_is_expected_any_byte_is_told_of(count: int) -> None:
    with tcp_wires() as (sender, receiver):
        low_water = LowWater(receiver)
        low_water.expect(1000)
        sender.sendall(b"x")
        assert not tells(receiver)
        low_water.expect(count)
        assert tells(receiver)


def test_much_is_told_of_before_all_of_it_is_there() -> None:
    with tcp_wires() as (_, receiver):
        LowWater(receiver).expect(100 * MARK_BYTES)
        assert mark_of(receiver) == MARK_BYTES


def test_the_mark_leaves_half_of_a_small_buffer() -> None:
    with tcp_wires() as (_, receiver):
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32 * 1024)
        LowWater(receiver).expect(MARK_BYTES)
        assert mark_of(receiver) <= receiver.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // 2
