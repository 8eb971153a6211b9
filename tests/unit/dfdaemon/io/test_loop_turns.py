"""Who begins in which turn of the event loop."""

import asyncio

import pytest

from dfdaemon.io.loop_turns import LoopTurns

CROWD = 20


class Crowd:
    """Tasks that each want a turn, and a callback that counts the loop's turns."""

    def __init__(self) -> None:
        self.turns = LoopTurns()
        self.turn = 0
        self.began: list[tuple[str, int]] = []
        asyncio.get_running_loop().call_soon(self._count)

    def _count(self) -> None:
        self.turn += 1
        asyncio.get_running_loop().call_soon(self._count)

    async def begin(self, name: str) -> None:
        await self.turns.next()
        self.began.append((name, self.turn))


async def test_a_crowd_begins_one_in_each_turn_in_the_order_of_coming() -> None:
    crowd = Crowd()
    names = [f"client-{number}" for number in range(CROWD)]
    await asyncio.gather(*(crowd.begin(name) for name in names))
    assert [name for name, _ in crowd.began] == names
    turns = [turn for _, turn in crowd.began]
    assert len(set(turns)) == CROWD, f"some shared a turn: {turns}"
    assert turns[-1] - turns[0] <= 2 * CROWD, "and none waits long"


async def test_who_comes_alone_does_not_wait() -> None:
    turns = LoopTurns()
    for _ in range(3):
        with pytest.raises(StopIteration):
            turns.next().send(None)
        await asyncio.sleep(0)
        await asyncio.sleep(0)


async def test_who_went_away_holds_nobody_up() -> None:
    crowd = Crowd()
    tasks = [asyncio.create_task(crowd.begin(name)) for name in "abcd"]
    await asyncio.sleep(0)
    tasks[1].cancel()
    tasks[2].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert [name for name, _ in crowd.began] == ["a", "d"]
