"""Requests a second."""

import pytest

from dfdaemon.pace import WAIT_S_MAX, Pace


def test_a_second_is_saved_up_and_then_each_waits_its_turn() -> None:
    pace = Pace(4.0)
    assert [pace.wait_s(100.0) for _ in range(7)] == [0.0, 0.0, 0.0, 0.0, 0.25, 0.5, 0.75]
    assert pace.wait_s(200.0) == 0.0


def test_less_than_one_a_second() -> None:
    pace = Pace(0.5)
    assert [pace.wait_s(0.0) for _ in range(3)] == [0.0, 2.0, 4.0]


@pytest.mark.parametrize("rate", [0.5, 10.0])
def test_who_would_wait_too_long_takes_no_turn(rate: float) -> None:
    pace = Pace(rate)
    waits = [pace.wait_s(0.0) for _ in range(1000)]
    assert waits[-1] > WAIT_S_MAX
    assert len(set(waits)) <= rate * WAIT_S_MAX + 2, "the refused ones do not push each other away"
    assert pace.wait_s(waits[-1]) == 0.0
