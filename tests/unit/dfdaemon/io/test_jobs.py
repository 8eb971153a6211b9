"""Background work is never forgotten."""

import asyncio
from typing import Any

from dfdaemon.io.jobs import Jobs


async def test_an_error_is_reported() -> None:
    reports: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: reports.append(context))

    async def fail() -> None:
        raise ValueError("broken")

    jobs = Jobs()
    await asyncio.wait([jobs.start(fail())])
    await asyncio.sleep(0)  # the report comes with the callbacks of the ended task
    assert [str(report["exception"]) for report in reports] == ["broken"]


async def test_nothing_outlives_close() -> None:
    ended = []

    async def wait() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    jobs = Jobs()
    task = jobs.start(wait())
    await asyncio.sleep(0)  # let it begin
    await jobs.close()
    assert task.cancelled()
    assert ended == [True]
