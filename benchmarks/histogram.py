"""Quantiles of a Prometheus histogram."""

from collections.abc import Mapping


def quantile_bound(buckets: Mapping[float, float], share: float) -> float:
    """Return the upper bound of the bucket in which a share of all values lies; 0 when there are none.

    `buckets`: how many values do not exceed each bound, infinity among them.
    """
    total = max(buckets.values(), default=0.0)
    if not total:
        return 0.0
    return min(bound for bound, count in buckets.items() if count >= share * total)
