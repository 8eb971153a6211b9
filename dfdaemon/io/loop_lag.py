"""How late the event loop is: a task that sleeps, and tells by how much it woke too late.

All that is not in a worker thread waits for the same loop, so its lateness is in every answer.
"""

import asyncio
from collections.abc import Callable
from time import monotonic

INTERVAL_S = 0.02
"""Short against what is looked for, and so rare that it costs a thousandth of a core."""


async def watch_lag(observe: Callable[[float], None]) -> None:
    """Tell the seconds of each lateness, until cancelled."""
    while True:
        due = monotonic() + INTERVAL_S
        await asyncio.sleep(INTERVAL_S)
        observe(max(0.0, monotonic() - due))
