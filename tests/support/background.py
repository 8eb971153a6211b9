"""An asyncio server beside a test that blocks: its event loop runs in a thread of its own."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import TypeVar

T = TypeVar("T")

ENTER_S = 10.0
EXIT_S = 10.0


@contextmanager
def in_background(server: AbstractAsyncContextManager[T]) -> Iterator[T]:
    """Enter the asynchronous context manager in a new thread, and leave it at the end.

    Plain attributes of the server (counters, lists of faults) may be read and set from the test's thread.
    """
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name=type(server).__name__, daemon=True)
    thread.start()
    try:
        entered = asyncio.run_coroutine_threadsafe(server.__aenter__(), loop).result(ENTER_S)
        try:
            yield entered
        finally:
            asyncio.run_coroutine_threadsafe(server.__aexit__(None, None, None), loop).result(EXIT_S)
    finally:
        asyncio.run_coroutine_threadsafe(_cancel_all(), loop).result(EXIT_S)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(EXIT_S)
        loop.close()


async def _cancel_all() -> None:
    """End what the server left running, so that closing the loop destroys no pending task."""
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
    await asyncio.get_running_loop().shutdown_asyncgens()
