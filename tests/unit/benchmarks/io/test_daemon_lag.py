"""The lag of a daemon's loop, read from its metrics."""

import io

from benchmarks.io.daemon_lag import buckets_of, lag_figures
from swarm.io.telemetry import Telemetry


def exposition(*lags_s: float) -> str:
    telemetry = Telemetry("daemon", stream=io.StringIO())
    for lag_s in lags_s:
        telemetry.observe("loop_lag_seconds", lag_s)
    return telemetry.exposition()[0].decode()


def test_the_bounds_of_what_was_seen_are_told_in_milliseconds() -> None:
    found = lag_figures(buckets_of(exposition(*[0.0005] * 995, *[0.0055] * 5)))
    assert found == {"loop_lag_ms_p99": 1.0, "loop_lag_ms_p999": 6.0}


def test_what_was_before_does_not_count() -> None:
    before = buckets_of(exposition(0.5))
    found = lag_figures(buckets_of(exposition(0.5, 0.0005)), before)
    assert found == {"loop_lag_ms_p99": 1.0, "loop_lag_ms_p999": 1.0}
