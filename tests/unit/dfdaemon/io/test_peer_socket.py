"""Sockets of the peer wire: where they listen, whom they reach."""

import asyncio
import socket
from contextlib import closing

import pytest

from dfdaemon.io import peer_socket
from dfdaemon.io.loopback import LOOPBACK_CONGESTION
from dfdaemon.io.peer_socket import (
    choose_congestion_control,
    connect,
    connect_first,
    listen,
    tune,
)
from swarm.errors import ConfigError, PeerUnreachable
from swarm.messages import Address
from tests.support.peers import quick


def place(listener: socket.socket) -> Address:
    return Address(*listener.getsockname()[:2])


def speaking(listener: socket.socket) -> socket.socket:
    """Connect, and say something: only then it is accepted."""
    sock = socket.create_connection(("127.0.0.1", place(listener).port))
    sock.sendall(b"x")
    return sock


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
async def test_a_listener_is_reached(host: str) -> None:
    with (
        closing(listen(Address(host, 0))) as listener,
        closing(await connect([Address(host, place(listener).port)], quick())) as sock,
    ):
        assert sock.getpeername()[:2] == listener.getsockname()[:2]
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert sock.gettimeout() == 0


def test_who_says_nothing_is_not_accepted_yet() -> None:
    with (
        closing(listen(Address("127.0.0.1", 0))) as listener,
        closing(socket.create_connection(("127.0.0.1", place(listener).port))) as sock,
    ):
        with pytest.raises(BlockingIOError):
            listener.accept()
        sock.sendall(b"x")
        listener.setblocking(True)
        accepted, _ = listener.accept()
        with closing(accepted):
            assert accepted.recv(1, socket.MSG_DONTWAIT) == b"x"


async def test_every_address_means_both_families() -> None:
    with closing(listen(Address("::", 0))) as listener:
        for host in ("127.0.0.1", "::1"):
            (await connect([Address(host, place(listener).port)], quick())).close()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_loopback_uses_cheap_congestion_control(host: str) -> None:
    with closing(listen(Address(host, 0))) as listener:
        used = listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16)
        assert used.rstrip(b"\0") == LOOPBACK_CONGESTION


def test_a_connection_that_comes_over_loopback_uses_it_too() -> None:
    with closing(listen(Address("0.0.0.0", 0))) as listener:
        listener.setblocking(True)
        with speaking(listener):
            accepted, _ = listener.accept()
            with closing(accepted):
                tune(accepted)
                used = accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16)
                assert used.rstrip(b"\0") == LOOPBACK_CONGESTION


def test_the_congestion_control_is_chosen_for_who_is_accepted() -> None:
    with closing(listen(Address("0.0.0.0", 0))) as listener:
        choose_congestion_control(listener, "reno")
        listener.setblocking(True)
        with speaking(listener):
            accepted, _ = listener.accept()
            with closing(accepted):
                used = accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16)
                assert used.rstrip(b"\0") == b"reno"


def test_a_congestion_control_that_the_kernel_lacks_is_said() -> None:
    with (
        closing(listen(Address("127.0.0.1", 0))) as listener,
        pytest.raises(ConfigError, match=r"peer.congestion_control = 'telepathy' cannot be used"),
    ):
        choose_congestion_control(listener, "telepathy")


@pytest.mark.parametrize("address", [Address("192.0.2.1", 0), Address("no such name", 0)])
def test_where_one_cannot_listen_is_said(address: Address) -> None:
    with pytest.raises(ConfigError, match=f"cannot listen on {address.host}:0"):
        listen(address)


def test_a_taken_port_is_said() -> None:
    with closing(listen(Address("127.0.0.1", 0))) as listener, pytest.raises(ConfigError, match="in use"):
        listen(place(listener))


async def test_the_first_address_that_answers_is_taken() -> None:
    with closing(listen(Address("127.0.0.1", 0))) as listener:
        nowhere = [Address("127.0.0.1", 1), Address("no such name", 9), Address("127.0.0.1", 99999)]
        (await connect([*nowhere, place(listener)], quick())).close()


@pytest.mark.parametrize("addresses", [[], [Address("127.0.0.1", 1)], [Address("", 1), Address("a b", 1)]])
async def test_nobody_is_reached(addresses: list[Address]) -> None:
    with pytest.raises(PeerUnreachable, match="takes a connection"):
        await connect(addresses, quick())


async def test_an_address_that_hangs_does_not_hold_up_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer_socket, "STAGGER_S", 0.01)
    with closing(full_listener()) as hangs, closing(listen(Address("127.0.0.1", 0))) as listener:
        filler = [fill(hangs) for _ in range(3)]
        targets = [(socket.AF_INET, hangs.getsockname()), (socket.AF_INET, listener.getsockname())]
        sock = await connect_first(targets, quick())
        assert sock.getpeername() == listener.getsockname()
        for each in (sock, *filler):
            each.close()


async def test_an_address_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer_socket, "CONNECT_S", 0.05)
    with closing(full_listener()) as hangs:
        filler = [fill(hangs) for _ in range(3)]
        with pytest.raises(PeerUnreachable, match=r"within 0\.05 s"):
            await connect_first([(socket.AF_INET, hangs.getsockname())], quick())
        for each in filler:
            each.close()
    await asyncio.sleep(0)


def full_listener() -> socket.socket:
    """A listener that accepts nobody; once its backlog is full, connections to it hang."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    return listener


def fill(listener: socket.socket) -> socket.socket:
    sock = socket.socket()
    sock.setblocking(False)
    sock.connect_ex(listener.getsockname())
    return sock
