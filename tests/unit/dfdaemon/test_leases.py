import pytest

from dfdaemon.leases import Lease
from swarm import availability
from swarm.ids import UNGRANTED, Epoch


@pytest.fixture
def lease() -> Lease:
    bits = availability.span(2, 8)
    return Lease(Epoch(5), 2, 8, bits, timeout_s=10.0, reserved=bits)


def test_a_lease_is_one_run_when_nobody_brings_any_of_it(lease: Lease) -> None:
    assert lease.next_run(place=0) == (2, 8)


def test_what_others_bring_splits_it(lease: Lease) -> None:
    lease.reserved &= ~0b10000
    assert lease.next_run(place=0) == (2, 4)


def test_readers_are_served_first(lease: Lease) -> None:
    assert lease.next_run(place=5) == (5, 8)
    assert lease.next_run(place=9) == (2, 8), "nobody waits for any of it"


def test_a_run_that_is_over_leaves_nothing(lease: Lease) -> None:
    lease.reserved = 0
    assert lease.next_run(place=0) is None


def test_its_next_piece_is_the_first_that_is_not_done(lease: Lease) -> None:
    assert lease.next_piece(done=0) == 2
    assert lease.next_piece(done=0b101100) == 4
    assert lease.next_piece(done=availability.full(10)) == 8


def test_its_place_is_what_its_run_brings_next(lease: Lease) -> None:
    lease.running = (2, 8)
    lease.reserved = availability.span(4, 8)
    assert lease.place == 4
    lease.reserved = 0
    assert lease.place == 8


def test_only_the_scheduler_grants(lease: Lease) -> None:
    assert not lease.is_own
    assert Lease(UNGRANTED, 0, 1, 0b1, 10.0).is_own
