import socket
from collections.abc import Iterator

import pytest

from benchmarks.io import goodput
from benchmarks.io.goodput import Connection, goodput_bytes_per_s, loaded_rtt_s


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test measures anything, so none needs seconds."""
    monkeypatch.setattr(goodput, "WARM_S", 0.02)
    monkeypatch.setattr(goodput, "MEASURE_S", 0.05)
    monkeypatch.setattr(goodput, "PINGS", 3)


@pytest.fixture
def connections() -> Iterator[list[Connection]]:
    made: list[Connection] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        for _ in range(3):
            near = socket.create_connection(listener.getsockname())
            made.append((near, listener.accept()[0]))
    yield made
    for pair in made:
        for end in pair:
            end.close()


def test_the_payload_is_counted_and_the_sockets_are_closed(connections: list[Connection]) -> None:
    sender, receiver = connections[0]
    assert goodput_bytes_per_s(sender, receiver) > 1_000_000
    assert sender.fileno() == receiver.fileno() == -1


def test_bytes_go_to_and_fro_beside_floods_both_ways(connections: list[Connection]) -> None:
    assert 0 < loaded_rtt_s(*connections) < 5
    assert {end.fileno() for pair in connections for end in pair} == {-1}
