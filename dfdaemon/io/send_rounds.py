"""Whose turn it is to send: all who send pieces and bodies from files hold the event loop for a few milliseconds.

What else waits for the loop, such as a hello or the first byte of another client, is late by one round at most. Where
the loop is long about all else, rounds are as long: else a loop with much to do would send next to nothing.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import TypeVar
from weakref import WeakKeyDictionary

ROUND_S = 0.003
"""Senders go on for so long, and one of them a step longer, before the loop does something else."""
ROUND_S_MAX = 0.1
"""Longest round: where somebody waited to send for longer than ROUND_S, the round is as long as that, up to this."""

Result = TypeVar("Result")


class SendRounds:
    """The rounds of one event loop. Who comes when a round is over sends in a later one, in the order of coming."""

    def __init__(self) -> None:
        self._waiting: deque[Callable[[], None]] = deque()
        self._ends_at = 0.0
        self._runs = False
        """Whether a round began in this turn of the loop."""
        self._waits_since = 0.0
        """When the loop went on to something else though somebody waits."""

    def run(self, step: Callable[[], None]) -> None:
        """Call `step`, which does not wait for its socket, at once or in a later turn of the loop."""
        if self._may_send():
            step()
        else:
            self._wait(step)

    async def result(self, step: Callable[[], Result]) -> Result:
        """Call `step` as `run` does; return what it returns, raise what it raises."""
        if self._may_send():
            return step()
        ended: asyncio.Future[Result] = asyncio.get_running_loop().create_future()

        def run() -> None:
            if ended.cancelled():
                return
            try:
                ended.set_result(step())
            except Exception as error:
                ended.set_exception(error.with_traceback(None))  # it holds this frame, and that the future

        self._wait(run)
        return await ended

    def _wait(self, step: Callable[[], None]) -> None:
        if not self._waiting:
            self._waits_since = monotonic()
        self._waiting.append(step)

    def _may_send(self) -> bool:
        """Tell whether nobody waits and the round has time left."""
        if self._waiting:
            return False
        if not self._runs:
            self._begin()
        return monotonic() < self._ends_at

    def _begin(self) -> None:
        now = monotonic()
        others_s = now - self._waits_since if self._waiting else 0.0
        self._runs = True
        self._ends_at = now + min(ROUND_S_MAX, max(ROUND_S, others_s))
        asyncio.get_running_loop().call_soon(self._next)

    def _next(self) -> None:
        """Begin the round of another turn of the loop, if somebody waits for it."""
        self._runs = False
        if not self._waiting:
            return
        self._begin()
        self._waiting.popleft()()
        while self._waiting and monotonic() < self._ends_at:
            self._waiting.popleft()()
        self._waits_since = monotonic()


_of_loops: WeakKeyDictionary[asyncio.AbstractEventLoop, SendRounds] = WeakKeyDictionary()


def send_rounds() -> SendRounds:
    """Return the rounds of the running event loop."""
    loop = asyncio.get_running_loop()
    rounds = _of_loops.get(loop)
    if rounds is None:
        rounds = _of_loops[loop] = SendRounds()
    return rounds
