"""What the processes of a fan-out tell over HTTP: the origin's counters and the scheduler's metrics."""

from typing import Any

import aiohttp
from prometheus_client.parser import text_string_to_metric_families


async def origin_counters(origin: str) -> dict[str, Any]:
    """Return what left the origin at this address (host:port)."""
    async with aiohttp.ClientSession() as session, session.get(f"http://{origin}/_counters") as answer:
        document: dict[str, Any] = await answer.json()
    return document


async def scheduler_counts(metrics: str, name: str, label: str) -> dict[str, int]:
    """Return one counter of the scheduler whose metrics are at this address (host:port), by a label."""
    async with aiohttp.ClientSession() as session, session.get(f"http://{metrics}/metrics") as answer:
        return counts_of(await answer.text(), f"damselfly_scheduler_{name}", label)


def counts_of(exposition: str, name: str, label: str) -> dict[str, int]:
    """Return the values of a counter in Prometheus' text format, by a label."""
    return {
        sample.labels[label]: int(sample.value)
        for family in text_string_to_metric_families(exposition)
        for sample in family.samples
        if sample.name == name
    }
