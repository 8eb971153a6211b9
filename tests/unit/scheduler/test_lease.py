import pytest

from scheduler.lease import LEASE_STATES, Lease, LeaseEvent, LeaseState
from swarm.ids import Epoch, HostId, TaskId


def lease(start: int = 0, end: int = 20, private: bool = False, inline: bool = False) -> Lease:
    size = (end - start) * 100
    return Lease(TaskId("t"), HostId("a"), "r", Epoch(1), start, end, size, 10.0, private, inline)


def test_a_lease_lives_from_grant_to_settlement() -> None:
    one = lease()
    for event in (LeaseEvent.SAVED, LeaseEvent.ADVANCED, LeaseEvent.ADVANCED, LeaseEvent.ENDED):
        one.happen(event)
    assert one.state is LeaseState.SETTLING


IMPOSSIBLE = [
    (state, event) for state in LeaseState for event in LeaseEvent if (state, event) not in LEASE_STATES
]


@pytest.mark.parametrize(("state", "event"), IMPOSSIBLE)
def test_what_is_not_in_the_table_is_a_bug(state: LeaseState, event: LeaseEvent) -> None:
    one = lease()
    one.state = state
    with pytest.raises(KeyError):
        one.happen(event)


@pytest.mark.parametrize(
    ("next_piece", "received", "nearly"),
    [(0, 0, False), (17, 1700, False), (18, 1800, True), (20, 2000, True)],
)
def test_with_a_tenth_left_it_is_nearly_done(next_piece: int, received: int, nearly: bool) -> None:
    one = lease()
    one.next_piece, one.received = next_piece, received
    assert one.nearly_done() == nearly


@pytest.mark.parametrize(("received", "nearly"), [(0, False), (80, False), (90, True)])
def test_a_lease_of_one_piece_is_nearly_done_by_its_bytes(received: int, nearly: bool) -> None:
    one = lease(4, 5)
    one.received = received
    assert one.nearly_done() == nearly


def test_the_rate_is_that_of_the_last_second() -> None:
    one = lease()
    for tenth in range(30):
        one.measure(10 * tenth, 5.0 + tenth / 10)
    assert one.rate == pytest.approx(100)
    one.measure(10 * 29, 9.0)
    assert one.rate < 50


def test_a_private_lease_keeps_nobody_away_and_a_tiny_one_takes_no_connection() -> None:
    assert lease(2, 4).bits() == 0b1100
    assert lease(2, 4, private=True).bits() == 0
    assert lease().is_busy()
    assert not lease(inline=True).is_busy()
