import asyncio

import pytest

from dfdaemon.io.one_at_a_time import OneAtATime


class Work:
    """Runs until a test says how it ends."""

    def __init__(self) -> None:
        self.started = 0
        self.end: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def __call__(self) -> str:
        self.started += 1
        return await self.end


async def test_all_that_ask_meanwhile_get_one_result_and_the_next_asks_anew() -> None:
    single: OneAtATime[str] = OneAtATime()
    work = Work()
    asking = [asyncio.create_task(single.do("key", work)) for _ in range(5)]
    other = asyncio.create_task(single.do("other key", work))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    work.end.set_result("done")
    assert await asyncio.gather(*asking, other) == ["done"] * 6
    assert work.started == 2
    assert await single.do("key", work) == "done"
    assert work.started == 3


async def test_all_get_the_error() -> None:
    single: OneAtATime[str] = OneAtATime()
    work = Work()
    asking = [asyncio.create_task(single.do("key", work)) for _ in range(2)]
    work.end.set_exception(ValueError("no"))
    results = await asyncio.gather(*asking, return_exceptions=True)
    assert [str(result) for result in results] == ["no", "no"]


async def test_one_that_goes_away_does_not_end_it_for_the_others() -> None:
    single: OneAtATime[str] = OneAtATime()
    work = Work()
    first = asyncio.create_task(single.do("key", work))
    second = asyncio.create_task(single.do("key", work))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    work.end.set_result("done")
    assert await second == "done"
    assert first.cancelled()


async def test_close_ends_it() -> None:
    single: OneAtATime[str] = OneAtATime()
    asking = asyncio.create_task(single.do("key", Work()))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    single.close()
    with pytest.raises(asyncio.CancelledError):
        await asking
