"""Answers begin one in each turn of the event loop, which does everything else in between.

A hundred clients that ask at once, or wait for one piece, would otherwise be one turn of 20 ms.
"""

import asyncio
from collections import deque


class LoopTurns:
    """Hands out turns of the running event loop, one after the other, in the order of asking."""

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._is_taken = False
        """Whether somebody has this turn of the loop."""

    async def next(self) -> None:
        """Wait for a turn of the loop that nobody has; it is this one, if nobody has it."""
        if not self._is_taken:
            self._take()
            return
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(mine)
        await mine

    def _take(self) -> None:
        self._is_taken = True
        asyncio.get_running_loop().call_soon(self._pass_on)

    def _pass_on(self) -> None:
        """Give the turn that begins to the first who still waits."""
        self._is_taken = False
        while self._waiting:
            first = self._waiting.popleft()
            if not first.done():
                first.set_result(None)
                self._take()
                return
