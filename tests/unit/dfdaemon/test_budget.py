import pytest

from dfdaemon.budget import REQUESTS_MAX, Meter, RequestBudget
from dfdaemon.config import DaemonConfig, PeerConfig


def test_without_a_known_rate_there_are_slots() -> None:
    budget = RequestBudget(DaemonConfig(peer=PeerConfig(download_slots=2)))
    shares = [budget.take(0.0, 0.0), budget.take(1e9, 0.0)]
    assert not budget.has_room(now=0.0)
    budget.give_back(shares[0])
    assert budget.has_room(now=0.0)
    budget.validate(1)


def test_a_slow_parent_takes_a_part_of_a_slot() -> None:
    budget = RequestBudget(DaemonConfig(peer=PeerConfig(download_slots=2)))
    shares = [budget.take(rate, 100.0) for rate in (100.0, 25.0, 49.0, 20.0)]
    assert shares == [1.0, 0.25, 0.49, 0.2]
    assert budget.has_room(now=0.0)
    assert budget.take(50.0, 100.0) == 1.0, "half of the usual rate is not slow"
    assert not budget.has_room(now=0.0)


def test_a_crowd_of_slow_parents_is_bounded() -> None:
    budget = RequestBudget(DaemonConfig())
    while budget.has_room(now=0.0):
        budget.take(1.0, 1e6)
    assert budget.in_flight == REQUESTS_MAX


def test_with_a_known_rate_parents_speak_for_parts_of_it() -> None:
    budget = RequestBudget(DaemonConfig(download_bytes_per_s=1000))
    slow = budget.take(900, 0.0)
    assert budget.has_room(now=0.0)
    budget.take(80, 0.0)
    assert not budget.has_room(now=0.0)
    budget.give_back(slow)
    assert budget.has_room(now=0.0)


def test_three_unknown_parents_fill_a_downlink() -> None:
    budget = RequestBudget(DaemonConfig(download_bytes_per_s=1000))
    taken = 0
    while budget.has_room(now=0.0):
        budget.take(0.0, 0.0)
        taken += 1
    assert taken == 3


def test_a_fetch_takes_its_part_but_never_stops_peers_altogether() -> None:
    budget = RequestBudget(DaemonConfig(download_bytes_per_s=1000))
    budget.origin.add(1_000_000, now=0.0)
    assert budget.has_room(now=0.0)
    budget.take(1, 0.0)
    assert not budget.has_room(now=0.0)
    assert budget.has_room(now=60.0), "the fetch is over"


def test_requests_are_bounded_however_slow_the_parents() -> None:
    budget = RequestBudget(DaemonConfig(download_bytes_per_s=10**9))
    while budget.has_room(now=0.0):
        budget.take(1.0, 0.0)
    assert budget.in_flight == REQUESTS_MAX


def test_a_meter_shows_a_steady_rate_and_forgets_it() -> None:
    meter = Meter()
    for step in range(1, 301):
        meter.add(10, now=step * 0.01)
    assert meter.rate(now=3.0) == pytest.approx(1000, rel=0.05)
    assert meter.rate(now=10.0) < 1
