"""The lateness of an event loop."""

import asyncio
import time
from contextlib import suppress

import pytest

from dfdaemon.io.loop_lag import IDLE_INTERVAL_S, INTERVAL_S, watch_lag

BLOCKED_S = 0.1


async def test_what_blocks_the_loop_is_seen_and_nothing_else() -> None:
    seen: list[float] = []
    told = asyncio.Event()

    def observe(lag_s: float) -> None:
        seen.append(lag_s)
        told.set()

    watching = asyncio.create_task(watch_lag(observe, lambda: True))
    await told.wait()
    told.clear()
    time.sleep(BLOCKED_S)  # noqa: ASYNC251 - it is what a fault of ours would do
    await told.wait()
    watching.cancel()
    with suppress(asyncio.CancelledError):
        await watching
    assert BLOCKED_S - INTERVAL_S <= max(seen) < BLOCKED_S + 1.0
    assert min(seen) >= 0.0


@pytest.mark.parametrize(("busy", "interval_s"), [(True, INTERVAL_S), (False, IDLE_INTERVAL_S)])
async def test_a_loop_with_nothing_to_do_is_looked_at_seldom(
    busy: bool, interval_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 2:
            raise asyncio.CancelledError

    monkeypatch.setattr(asyncio, "sleep", sleep)
    with suppress(asyncio.CancelledError):
        await watch_lag(lambda _: None, lambda: busy)
    assert slept == [interval_s] * 2
