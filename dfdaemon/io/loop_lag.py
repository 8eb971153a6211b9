"""How late the event loop is: a task that sleeps, and tells by how much it woke too late.

All that is not in a worker thread waits for the same loop, so its lateness is in every answer.
"""

import asyncio
from collections.abc import Callable
from time import monotonic

INTERVAL_S = 0.02
"""Short against what is looked for, and so rare that it costs a thousandth of a core."""
IDLE_INTERVAL_S = 0.25
"""While nobody waits for anything: a node that has nothing to do shall sleep."""


async def watch_lag(observe: Callable[[float], None], is_busy: Callable[[], bool]) -> None:
    """Tell the seconds of each lateness, until cancelled; seldom while the loop is not busy."""
    while True:
        interval = INTERVAL_S if is_busy() else IDLE_INTERVAL_S
        due = monotonic() + interval
        await asyncio.sleep(interval)
        observe(max(0.0, monotonic() - due))
