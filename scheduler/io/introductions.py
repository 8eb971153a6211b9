"""Introductions wait while a herd arrives, so that each host hears of all its newcomers at once.

A newcomer's own answer leaves at once. Every newcomer is also introduced to some hosts that came before it, and to
write to a stream costs as much as to decide. What is told to those others is therefore held back as long as joins
stream in, and then leaves together.
"""

import asyncio
from collections.abc import Callable
from time import monotonic

from scheduler.io.outbox import Outbox

LOOK_S = 0.02
"""How often to look whether the herd is over; what an introduction waits at least."""
JOINS_IN_A_LULL = 40
"""Joins between two looks up to which no herd is on its way: 2,000 a second, a third of what keeps a core busy."""
HOLD_S_MAX = 1.0
"""Nobody waits longer for an introduction: a host has its own answer's parents meanwhile."""


class Introductions:
    """Outboxes that hold something back. All calls on the event loop's thread."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._held: dict[Outbox, None] = {}
        self._joins = 0
        self._release_at = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def joined(self) -> None:
        """A host asked for a blob."""
        self._joins += 1

    def hold(self, outbox: Outbox) -> None:
        """Let the outbox's messages leave soon, with all that comes until then."""
        if self._timer is None:
            self._release_at = self._clock() + HOLD_S_MAX
            self._look_later()
        self._held[outbox] = None

    def close(self) -> None:
        """Hold nothing any more, and release nothing."""
        self._held.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def look(self) -> None:
        """Let everything leave, unless a herd is on its way and was not waited for too long."""
        if self._joins > JOINS_IN_A_LULL and self._clock() < self._release_at:
            self._look_later()
            return
        self._timer = None
        held, self._held = self._held, {}
        for outbox in held:
            outbox.wake()

    def _look_later(self) -> None:
        self._joins = 0
        self._timer = asyncio.get_running_loop().call_later(LOOK_S, self.look)
