"""How late the event loop of a daemon was, from its metrics."""

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.histogram import quantile_bound

NAME = "damselfly_daemon_loop_lag_seconds_bucket"
SHARES = {"p99": 0.99, "p999": 0.999}
Buckets = dict[float, float]


async def lag_buckets(metrics: str) -> Buckets:
    """Return how often the loop was late by no more than each bound (seconds) so far; `metrics`: host:port."""
    async with aiohttp.ClientSession() as session, session.get(f"http://{metrics}/metrics") as answer:
        return buckets_of(await answer.text())


def buckets_of(exposition: str) -> Buckets:
    """Read the buckets from Prometheus' text format."""
    return {
        float(sample.labels["le"]): sample.value
        for family in text_string_to_metric_families(exposition)
        for sample in family.samples
        if sample.name == NAME
    }


def lag_figures(after: Buckets, before: Buckets | None = None) -> dict[str, float]:
    """Return the lag since `before`, in milliseconds, by the names that the figures have."""
    since = {bound: count - (before or {}).get(bound, 0.0) for bound, count in after.items()}
    return {f"loop_lag_ms_{name}": 1000 * quantile_bound(since, share) for name, share in SHARES.items()}
