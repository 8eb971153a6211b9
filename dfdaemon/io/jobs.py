"""Background work of the driver: started, watched, and ended together; and where its facts go."""

import asyncio
from collections.abc import Coroutine
from typing import Any, Protocol

from swarm.facts import Note


class Sink(Protocol):
    """Where facts go: the process's telemetry."""

    def note(self, note: Note) -> None:
        """Log and count a fact."""

    def count(self, name: str, value: float = 1, /, **labels: str) -> None:
        """Add to a counter of docs/metrics.md."""


class Jobs:
    """Tasks of the event loop that are never forgotten: an error in one is reported, none outlives
    close()."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[None]] = set()

    def start(self, job: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run a coroutine in the background."""
        task = asyncio.get_running_loop().create_task(job)
        self._running.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            context = {"message": "background work failed; please report this", "exception": error}
            task.get_loop().call_exception_handler(context)

    async def close(self) -> None:
        """Cancel what still runs and wait for its end."""
        for task in list(self._running):
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
