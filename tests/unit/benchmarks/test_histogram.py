"""Quantiles of histograms."""

import math

from benchmarks.histogram import quantile_bound


def test_a_quantile_is_the_bound_of_its_bucket() -> None:
    buckets = {0.001: 90.0, 0.008: 99.0, 0.02: 100.0, math.inf: 100.0}
    assert quantile_bound(buckets, 0.9) == 0.001
    assert quantile_bound(buckets, 0.99) == 0.008
    assert quantile_bound(buckets, 0.999) == 0.02


def test_what_is_beyond_all_bounds_is_infinite() -> None:
    assert quantile_bound({1.0: 1.0, math.inf: 2.0}, 0.99) == math.inf


def test_nothing_seen_is_no_time() -> None:
    assert quantile_bound({}, 0.99) == 0.0
    assert quantile_bound({1.0: 0.0, math.inf: 0.0}, 0.99) == 0.0
