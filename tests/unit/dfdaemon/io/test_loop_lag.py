"""The lateness of an event loop."""

import asyncio
import time
from contextlib import suppress

from dfdaemon.io.loop_lag import INTERVAL_S, watch_lag

BLOCKED_S = 0.1


async def test_what_blocks_the_loop_is_seen_and_nothing_else() -> None:
    seen: list[float] = []
    told = asyncio.Event()

    def observe(lag_s: float) -> None:
        seen.append(lag_s)
        told.set()

    watching = asyncio.create_task(watch_lag(observe))
    await told.wait()
    told.clear()
    time.sleep(BLOCKED_S)  # noqa: ASYNC251 - it is what a fault of ours would do
    await told.wait()
    watching.cancel()
    with suppress(asyncio.CancelledError):
        await watching
    assert BLOCKED_S - INTERVAL_S <= max(seen) < BLOCKED_S + 1.0
    assert min(seen) >= 0.0
