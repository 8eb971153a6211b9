"""What processes of a fan-out tell over HTTP."""

from pathlib import Path

import aiohttp
from prometheus_client import CollectorRegistry, Counter, generate_latest

from benchmarks.io.fanout_counters import counts_of, origin_counters
from benchmarks.io.image import generate_image
from benchmarks.io.origin_registry import OriginRegistry


def test_a_counter_by_its_label() -> None:
    registry = CollectorRegistry()
    counter = Counter("damselfly_scheduler_messages", "Messages.", ["kind"], registry=registry)
    Counter("damselfly_scheduler_other", "Others.", ["kind"], registry=registry).labels(kind="Join").inc()
    counter.labels(kind="Join").inc(3)
    counter.labels(kind="Leave").inc()
    text = generate_latest(registry).decode()
    assert counts_of(text, "damselfly_scheduler_messages_total", "kind") == {"Join": 3, "Leave": 1}


async def test_what_left_the_origin(tmp_path: Path) -> None:
    image = generate_image(tmp_path, "bench/app", "v1", [100_000])
    async with OriginRegistry([image]) as origin, aiohttp.ClientSession() as session:
        digest = image.layers[0].digest
        async with session.get(f"{origin.url}/v2/bench/app/blobs/{digest}") as answer:
            await answer.read()
        counters = await origin_counters(origin.address)
    assert counters["total_blob_bytes"] == image.layers[0].size
    assert counters["blob_gets"] == {digest: 1}
