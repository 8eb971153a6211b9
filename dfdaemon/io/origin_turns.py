"""Who may ask an origin now: so many answers open at once, and so many requests a second, for each registry."""

import asyncio
from collections.abc import Callable

from dfdaemon.endpoints import Endpoint
from dfdaemon.pace import WAIT_S_MAX, Pace
from swarm.errors import OwnLimit

CONNECTIONS_MAX = 2048
"""Answers open at once from all origins: twice the clients that the mirror serves by default."""
QUEUE_S = 20.0
"""How long a request may wait for one of a registry's connections; containerd waits 30 s for headers."""


class Turns:
    """One per daemon. A turn lasts from before a request until its answer was read or let go of."""

    def __init__(self) -> None:
        self._all = asyncio.Semaphore(CONNECTIONS_MAX)
        self._limited: dict[str, asyncio.Semaphore] = {}
        self._paces: dict[str, Pace] = {}

    async def take(self, endpoint: Endpoint, target: str) -> Callable[[], None]:
        """Wait for a turn; return what ends it, once. Raises OwnLimit, for connections after QUEUE_S."""
        await self._keep_pace(endpoint, target)
        held: list[asyncio.Semaphore] = []

        def end() -> None:
            while held:
                held.pop().release()

        try:
            async with asyncio.timeout(QUEUE_S):
                for semaphore in self._semaphores(endpoint):
                    await semaphore.acquire()
                    held.append(semaphore)
        except TimeoutError as error:
            end()
            reason = f"no connection was free within {QUEUE_S:g} s; see connections_max"
            raise OwnLimit(target, reason) from error
        except BaseException:
            end()
            raise
        return end

    def _semaphores(self, endpoint: Endpoint) -> list[asyncio.Semaphore]:
        if not endpoint.connections_max:
            return [self._all]
        own = self._limited.setdefault(endpoint.base, asyncio.Semaphore(endpoint.connections_max))
        return [own, self._all]

    async def _keep_pace(self, endpoint: Endpoint, target: str) -> None:
        if not endpoint.requests_per_s_max:
            return
        pace = self._paces.setdefault(endpoint.base, Pace(endpoint.requests_per_s_max))
        wait = pace.wait_s(asyncio.get_running_loop().time())
        if wait > WAIT_S_MAX:
            raise OwnLimit(target, f"it would have to wait {wait:.0f} s; see requests_per_s_max", wait)
        await asyncio.sleep(wait)
