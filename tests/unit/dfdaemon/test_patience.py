"""How long a daemon waits for other hosts, from what it has seen."""

import pytest

from dfdaemon.patience import LIMIT_S_MAX, Patience


def patience(*heard: float) -> Patience:
    made = Patience()
    for seconds in heard:
        made.heard(seconds)
    return made


def test_at_the_start_it_waits_longer_than_where_it_knows_that_nobody_is_busy() -> None:
    assert Patience(start_s=5.0).limit_s(1.0) == 5.0
    assert patience(*[0.001] * 3).limit_s(1.0) == 1.0


def test_the_first_answer_counts_three_times() -> None:
    assert patience(2.0).limit_s(1.0) == pytest.approx(6.0)


def test_where_answers_take_long_it_waits_for_them_and_what_they_differ() -> None:
    even, uneven = patience(*[2.0] * 50), patience(*[1.0, 3.0] * 25)
    assert 2.0 < even.limit_s(1.0) < 2.1
    assert 5.0 < uneven.limit_s(1.0) < 7.0


def test_waiting_in_vain_makes_it_wait_longer_however_quick_others_are() -> None:
    tried = patience(*[0.001] * 10)
    for _ in range(20):  # half of all hosts need 1.5 s, and are never heard as long as it waits for less
        tried.heard(0.001)
        if tried.limit_s(1.0) < 1.5:
            tried.missed(tried.limit_s(1.0))
        else:
            tried.heard(1.5)
    assert tried.limit_s(1.0) > 1.5


def test_one_dead_host_among_quick_ones_is_soon_forgotten() -> None:
    tried = patience(*[0.001] * 10)
    tried.missed(1.0)
    assert tried.limit_s(1.0) > 1.0
    for _ in range(12):
        tried.heard(0.001)
    assert tried.limit_s(1.0) == 1.0


def test_it_never_waits_for_ever() -> None:
    assert patience(1000.0).limit_s(1.0) == LIMIT_S_MAX
    assert patience(1000.0).limit_s(60.0) == 60.0, "nor less than it was asked to"
