import asyncio

from scheduler.io.introductions import HOLD_S_MAX, JOINS_IN_A_LULL, Introductions
from scheduler.io.outbox import Outbox
from swarm.ids import HostId, TaskId
from swarm.io.attach_codec import FromScheduler
from swarm.messages import Parent, Parents, Settings


def introduction(number: int) -> Parents:
    return Parents(TaskId("sha256:" + 64 * "0"), (Parent(HostId(f"n{number}"), ()),))


class World:
    """One outbox, and a clock that the test sets."""

    def __init__(self) -> None:
        self.now = 0.0
        self.introductions = Introductions(lambda: self.now)
        self.outbox = Outbox()
        self.taking = asyncio.ensure_future(self.outbox.take())

    def introduce(self, number: int) -> None:
        self.outbox.put(introduction(number), wake=False)
        self.introductions.hold(self.outbox)

    def herd(self) -> None:
        for _ in range(JOINS_IN_A_LULL + 1):
            self.introductions.joined()

    async def left(self) -> list[FromScheduler]:
        """What left the outbox by now."""
        for _ in range(3):
            await asyncio.sleep(0)
        return self.taking.result() if self.taking.done() else []


async def test_an_introduction_leaves_at_the_next_look() -> None:
    world = World()
    world.introduce(1)
    assert await world.left() == []
    world.introductions.look()
    assert await world.left() == [introduction(1)]


async def test_a_herd_is_waited_for_and_its_introductions_leave_together() -> None:
    world = World()
    for number in range(3):
        world.introduce(number)
        world.herd()
        world.introductions.look()
    assert await world.left() == []
    world.introductions.look()
    assert await world.left() == [introduction(number) for number in range(3)]


async def test_no_herd_is_waited_for_too_long() -> None:
    world = World()
    world.introduce(1)
    world.herd()
    world.now = HOLD_S_MAX
    world.introductions.look()
    assert await world.left() == [introduction(1)]


async def test_what_does_not_wait_takes_the_held_along_in_order() -> None:
    world = World()
    world.introduce(1)
    world.outbox.put(Settings())
    assert await world.left() == [introduction(1), Settings()]


async def test_the_timer_looks_by_itself() -> None:
    world = World()
    world.introduce(1)
    async with asyncio.timeout(10.0):
        assert await world.taking == [introduction(1)]


async def test_nothing_is_released_after_the_end() -> None:
    world = World()
    world.introduce(1)
    world.introductions.close()
    world.introductions.look()
    assert await world.left() == []
