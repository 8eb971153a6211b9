import pytest

from dfdaemon import hosts
from dfdaemon.hosts import BACKOFF_MAX_S, BACKOFF_S, BUSY_S, HOSTS_MAX, Host, HostBook
from swarm.ids import HostId

MIB = 1 << 20
A = HostId("a")


def test_a_host_gets_one_request_at_a_time() -> None:
    host = Host(A)
    assert host.has_room(MIB, now=0.0)
    host.open_requests = 1
    assert not host.has_room(MIB, now=0.0)


def test_long_round_trips_make_room_for_more() -> None:
    host = Host(A)
    host.open_requests, host.round_trip_s, host.pace = 1, 0.1, 0.1 / MIB
    assert host.has_room(MIB, now=0.0)


def test_a_busy_host_is_left_alone_until_it_has_room_or_a_second_has_passed() -> None:
    host = Host(A)
    host.refused(0.01, now=5.0)
    assert not host.has_room(MIB, now=5.0 + BUSY_S / 2)
    assert host.free_at() == 5.0 + BUSY_S
    assert host.has_room(MIB, now=5.0 + BUSY_S)
    assert host.round_trip_s == 0.01


def test_pauses_double_and_end() -> None:
    host = Host(A)
    pauses = []
    for _ in range(12):
        host.strike(jitter=0.5, now=0.0)
        pauses.append(host.barred_until)
    assert pauses[:3] == [BACKOFF_S, 2 * BACKOFF_S, 4 * BACKOFF_S]
    assert pauses[-1] == BACKOFF_MAX_S


def test_a_piece_that_arrives_ends_the_row_of_failures() -> None:
    book = HostBook()
    host = book.get(A)
    host.strike(0.5, now=0.0)
    book.delivered(host, MIB, waited_s=0.5, transfer_s=0.25)
    assert host.strikes == 0
    assert host.bytes_per_s == 4 * MIB
    assert book.expected_s(host, 2 * MIB) == pytest.approx(1.0)


def test_an_unknown_host_is_thought_typical() -> None:
    book = HostBook()
    book.delivered(book.get(A), MIB, waited_s=0.5, transfer_s=0.5)
    assert book.expected_s(book.get(HostId("b")), MIB) == pytest.approx(0.5)


def test_patience_stretches_and_comes_back() -> None:
    book = HostBook()
    for _ in range(20):
        book.overdue()
    assert book.patience == hosts.PATIENCE_MAX
    for _ in range(20):
        book.delivered(book.get(A), MIB, 1.0, 1.0)
    assert book.patience == 1.0


def test_the_book_is_bounded_and_keeps_those_in_use() -> None:
    book = HostBook()
    book.get(A).open_requests = 1
    for number in range(2 * HOSTS_MAX):
        book.get(HostId(f"host-{number}"))
    assert book.get(A).open_requests == 1
    assert len(book._hosts) == HOSTS_MAX
