"""Work that many ask for at once and that is done once: each gets its result, or its error."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class OneAtATime(Generic[T]):
    """Runs at most one piece of work per key. It goes on when those who wait for it go away."""

    def __init__(self) -> None:
        self._running: dict[Hashable, asyncio.Task[T]] = {}

    async def do(self, key: Hashable, work: Callable[[], Awaitable[T]]) -> T:
        """Return what the work for this key gives, starting it if it does not run; raises what it raises."""
        task = self._running.get(key)
        if task is None:
            task = asyncio.get_running_loop().create_task(_run(work))
            self._running[key] = task
            task.add_done_callback(lambda done: self._ended(key, done))
        return await asyncio.shield(task)

    def _ended(self, key: Hashable, task: asyncio.Task[T]) -> None:
        if self._running.get(key) is task:
            del self._running[key]
        if not task.cancelled():
            task.exception()  # whoever waited has it; if all went away nobody needs to hear

    def close(self) -> None:
        """Cancel what runs."""
        for task in self._running.values():
            task.cancel()


async def _run(work: Callable[[], Awaitable[T]]) -> T:
    return await work()
