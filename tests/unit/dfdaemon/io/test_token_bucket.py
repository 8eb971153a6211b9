"""The limit on bytes per second, on a clock of the test's."""

import pytest

from dfdaemon.io.token_bucket import BURST_S, STEP_BYTES_MAX, STEP_BYTES_MIN, TokenBucket


def test_over_time_the_rate_is_kept_after_one_burst() -> None:
    bucket, now, moved = TokenBucket(1_000_000), 100.0, 0
    while now < 102.0:
        wait_s = bucket.wait_s(now)
        if wait_s > 0:
            now += wait_s
            continue
        bucket.take(bucket.step_bytes, now)
        moved += bucket.step_bytes
    assert moved == pytest.approx(1_000_000 * (2.0 + BURST_S), abs=bucket.step_bytes)


def test_idle_time_is_not_saved_up() -> None:
    bucket = TokenBucket(1_000_000)
    bucket.take(1_000, 100.0)
    assert bucket.wait_s(200.0) <= 0
    bucket.take(500_000, 200.0)
    assert bucket.wait_s(200.0) == pytest.approx(0.5 - BURST_S)


def test_no_limit_is_no_bucket() -> None:
    assert TokenBucket.of(0) is None
    assert TokenBucket.of(5) is not None


@pytest.mark.parametrize(
    ("rate", "step"), [(1, STEP_BYTES_MIN), (10_000_000, 100_000), (10**12, STEP_BYTES_MAX)]
)
def test_a_step_is_what_passes_in_a_moment(rate: int, step: int) -> None:
    assert TokenBucket(rate).step_bytes == step


def test_who_reserves_goes_in_turn_and_at_the_rate() -> None:
    bucket = TokenBucket(1_000_000)
    waits = [bucket.reserve(100_000, 100.0) for _ in range(4)]
    assert waits == pytest.approx([0.0, 0.1 - BURST_S, 0.2 - BURST_S, 0.3 - BURST_S])


def test_what_is_given_back_is_there_for_the_next() -> None:
    bucket = TokenBucket(1_000_000)
    bucket.reserve(100_000, 100.0)
    bucket.reserve(300_000, 100.0)
    bucket.reserve(-300_000, 100.0)
    assert bucket.reserve(100_000, 100.0) == pytest.approx(0.1 - BURST_S)
