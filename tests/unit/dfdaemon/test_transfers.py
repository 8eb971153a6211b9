import pytest

from dfdaemon.hosts import HostBook
from dfdaemon.parents import Peer
from dfdaemon.transfers import (
    DEADLINE_AGE,
    DEADLINE_S,
    DEADLINE_UNKNOWN_S,
    HEDGE_AFTER_S,
    LOOK_GRID_S,
    Request,
    Transfers,
)
from swarm.ids import HostId
from swarm.messages import Parent
from swarm.pieces import PIECE_BYTES_MAX

MIB = 1 << 20
SIZE = 100 * MIB
A = HostId("a")


@pytest.fixture
def book() -> HostBook:
    return HostBook()


@pytest.fixture
def transfers(book: HostBook) -> Transfers:
    return Transfers(book, SIZE)


def start(
    transfers: Transfers,
    book: HostBook,
    index: int,
    scratch: bool = False,
    now: float = 0.0,
    last: bool = False,
) -> Request:
    peer = Peer(Parent(A, ()), book.get(A), is_near=True)
    request = Request(peer, index, scratch, now, 0.0)
    transfers.start(request, MIB, last)
    return request


def takes(book: HostBook, seconds: float) -> None:
    """Pieces of 1 MiB take this long from the host."""
    book.delivered(book.get(A), MIB, seconds, seconds)


def test_a_request_is_found_by_host_piece_and_kind(transfers: Transfers, book: HostBook) -> None:
    request, hedge = start(transfers, book, 3), start(transfers, book, 3, scratch=True)
    assert transfers.find(A, 3, scratch=False) is request
    assert transfers.find(A, 3, scratch=True) is hedge
    assert transfers.find(HostId("b"), 3, scratch=False) is None
    transfers.end(request)
    assert transfers.find(A, 3, scratch=False) is None
    assert list(transfers) == [hedge]


def test_an_old_request_is_looked_at_after_three_means(transfers: Transfers, book: HostBook) -> None:
    takes(book, 0.1)
    request = start(transfers, book, 0)
    assert transfers.wakeup_at() == pytest.approx(0.3, abs=1.1 * LOOK_GRID_S)
    assert transfers.due(0.2) == []
    assert transfers.due(0.36) == [request]


def test_among_the_last_pieces_after_two(transfers: Transfers, book: HostBook) -> None:
    takes(book, 0.1)
    start(transfers, book, 0, last=True)
    assert transfers.wakeup_at() == pytest.approx(0.2, abs=1.1 * LOOK_GRID_S)


def test_never_sooner_than_noise(transfers: Transfers, book: HostBook) -> None:
    takes(book, 0.001)
    start(transfers, book, 0)
    assert transfers.wakeup_at() >= HEDGE_AFTER_S


def test_deadlines_grow_with_what_a_piece_takes_and_with_patience(
    transfers: Transfers, book: HostBook
) -> None:
    takes(book, 0.01)
    assert start(transfers, book, 0).deadline == DEADLINE_S
    takes(book, 10.0)
    slow = book.expected_s(book.get(A), MIB)
    assert start(transfers, book, 1).deadline == pytest.approx(DEADLINE_AGE * slow)
    book.overdue()
    assert start(transfers, book, 2).deadline == pytest.approx(2 * DEADLINE_AGE * slow)


def test_while_no_piece_ever_came_a_request_has_more_time(transfers: Transfers, book: HostBook) -> None:
    assert start(transfers, book, 0).deadline == DEADLINE_UNKNOWN_S


def test_what_ended_or_was_taken_back_is_not_looked_at(transfers: Transfers, book: HostBook) -> None:
    request, other = start(transfers, book, 0), start(transfers, book, 1)
    transfers.end(request)
    other.cancelled = True
    assert transfers.due(100.0) == []


def test_nothing_in_flight_needs_no_timer(transfers: Transfers, book: HostBook) -> None:
    transfers.end(start(transfers, book, 0))
    assert transfers.wakeup_at() == float("inf")


def test_who_ended_needs_no_timer(transfers: Transfers, book: HostBook) -> None:
    takes(book, 0.1)
    sooner, later = start(transfers, book, 0), start(transfers, book, 1, now=0.2)
    transfers.end(sooner)
    assert transfers.wakeup_at() == pytest.approx(later.hedge_at, abs=1.1 * LOOK_GRID_S)


def test_looking_again_comes_later_and_not_after_the_deadline(transfers: Transfers, book: HostBook) -> None:
    takes(book, 0.1)
    request = start(transfers, book, 0)
    assert transfers.due(0.4) == [request]
    transfers.look_again(request, MIB, 0.4)
    assert 0.4 < transfers.wakeup_at() <= request.deadline + LOOK_GRID_S


def test_hedges_cost_two_percent_of_the_blob_at_most_but_one_is_always_allowed(book: HostBook) -> None:
    transfers = Transfers(book, 10 * MIB)
    assert transfers.may_hedge(0, MIB)
    start(transfers, book, 0, scratch=True)
    assert not transfers.may_hedge(0, MIB), "once per piece"
    assert not transfers.may_hedge(1, MIB), "two percent are spent"
    large = Transfers(book, SIZE)
    start(large, book, 0, scratch=True)
    assert large.may_hedge(1, MIB)
    start(large, book, 1, scratch=True)
    assert not large.may_hedge(2, MIB)


def test_hedges_take_a_bounded_room_in_memory(book: HostBook) -> None:
    large = Transfers(book, 40 << 30)
    for index in range(2):
        assert large.may_hedge(index, PIECE_BYTES_MAX)
        start(large, book, index)
        start(large, book, index, scratch=True)
    assert not large.may_hedge(2, PIECE_BYTES_MAX)
    large.end(large.hedges[0])
    assert large.may_hedge(2, PIECE_BYTES_MAX)


def test_a_refused_hedge_costs_nothing(book: HostBook) -> None:
    transfers = Transfers(book, 10 * MIB)
    hedge = start(transfers, book, 0, scratch=True)
    transfers.refund(hedge, MIB)
    transfers.end(hedge)
    assert transfers.may_hedge(0, MIB)


def test_once_hedges_are_spent_requests_are_looked_at_only_at_their_deadline(book: HostBook) -> None:
    takes(book, 0.1)
    small = Transfers(book, 10 * MIB)
    hedge, request = start(small, book, 0, scratch=True), start(small, book, 1)
    assert small.wakeup_at() >= request.deadline
    small.look_again(request, MIB, 0.4)
    assert small.wakeup_at() >= request.deadline
    small.refund(hedge, MIB)
    small.end(hedge)
    assert small.due(0.4) == [request], "another may be sent"


def test_who_was_quick_once_has_the_time_that_is_typical(transfers: Transfers, book: HostBook) -> None:
    takes(book, 0.05)
    slow = book.get(HostId("slow"))
    for _ in range(20):
        book.delivered(slow, MIB, 5.0, 5.0)
    assert start(transfers, book, 0).deadline == pytest.approx(DEADLINE_AGE * 5.0, rel=0.01)
