"""Runs an asynchronous test on asyncio's loop and on uvloop's, and fails it when an exception reaches the loop."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import uvloop

FACTORIES: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}
TEST_S_MAX = 30.0


def on_both_loops(test: Callable[[], Awaitable[None]]) -> Callable[[str], None]:
    """Decorate a test without arguments."""

    @pytest.mark.parametrize("loop", FACTORIES)
    def run(loop: str) -> None:
        escaped: list[dict[str, Any]] = []

        async def guarded() -> None:
            asyncio.get_running_loop().set_exception_handler(lambda _, context: escaped.append(context))
            async with asyncio.timeout(TEST_S_MAX):
                await test()

        with asyncio.Runner(loop_factory=FACTORIES[loop]) as runner:
            runner.run(guarded())
        assert not escaped, f"exceptions reached the event loop: {escaped}"

    run.__name__ = test.__name__
    run.__doc__ = test.__doc__
    return run
