"""Who sends in which turn of the event loop."""

import asyncio
from collections.abc import Callable

import pytest

from dfdaemon.io import send_rounds
from dfdaemon.io.send_rounds import ROUND_S, ROUND_S_MAX, SendRounds


class Clock:
    """A clock that goes on only when a step takes time."""

    def __init__(self) -> None:
        self.now = 0.0
        self.steps: list[str] = []

    def step(self, name: str, takes_s: float) -> Callable[[], str]:
        def run() -> str:
            self.now += takes_s
            self.steps.append(name)
            return name

        return run


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(send_rounds, "monotonic", lambda: clock.now)
    return clock


async def test_a_round_ends_and_the_others_send_in_later_turns_in_order(clock: Clock) -> None:
    rounds = SendRounds()
    for name in "abcdef":
        rounds.run(clock.step(name, ROUND_S / 2))
    seen = []
    while len(clock.steps) < 6:
        seen.append("".join(clock.steps))
        await asyncio.sleep(0)
    assert seen == ["ab", "abcd"]
    assert clock.steps == list("abcdef")


async def test_who_comes_later_does_not_pass_who_waits(clock: Clock) -> None:
    rounds = SendRounds()
    asyncio.get_running_loop().call_soon(rounds.run, clock.step("long", 10 * ROUND_S))
    tasks = [asyncio.create_task(rounds.result(clock.step(name, 0))) for name in "ab"]
    await asyncio.sleep(0)
    rounds.run(clock.step("c", 0))
    assert await asyncio.gather(*tasks) == ["a", "b"]
    assert clock.steps == ["long", "a", "b", "c"]


async def test_a_turn_of_the_loop_without_senders_begins_a_new_round(clock: Clock) -> None:
    rounds = SendRounds()
    for _ in range(3):
        rounds.run(clock.step("x", 2 * ROUND_S))
        assert not rounds._waiting
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert clock.steps == ["x"] * 3


async def test_who_sends_has_as_long_as_the_loop_took_for_others(clock: Clock) -> None:
    rounds = SendRounds()
    clock.now = 100.0  # nobody has waited all this time
    for name in "abcdefgh":
        rounds.run(clock.step(name, ROUND_S))
    assert clock.steps == ["a"]
    await asyncio.sleep(0)
    assert clock.steps == ["a", "b"]
    clock.now += 3 * ROUND_S
    await asyncio.sleep(0)
    assert clock.steps == ["a", "b", "c", "d", "e"]
    clock.now += 1e6
    rounds.run(clock.step("last", ROUND_S_MAX))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert clock.steps == [*"abcdefgh", "last"]


async def test_errors_are_the_callers_and_who_gave_up_sends_nothing(clock: Clock) -> None:
    def fail() -> None:
        raise BlockingIOError

    rounds = SendRounds()
    with pytest.raises(BlockingIOError):
        await rounds.result(fail)
    asyncio.get_running_loop().call_soon(rounds.run, clock.step("long", 2 * ROUND_S))
    failing, given_up = (asyncio.create_task(rounds.result(step)) for step in (fail, clock.step("never", 0)))
    await asyncio.sleep(0)
    given_up.cancel()
    with pytest.raises(BlockingIOError):
        await failing
    with pytest.raises(asyncio.CancelledError):
        await given_up
    assert clock.steps == ["long"]


async def test_a_step_that_breaks_does_not_stop_the_others(clock: Clock) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    faults: list[object] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: faults.append(context.get("exception")))
    rounds = SendRounds()
    rounds.run(clock.step("long", 2 * ROUND_S))
    rounds.run(fail)
    rounds.run(clock.step("after", 0))
    for _ in range(4):
        await asyncio.sleep(0)
    assert clock.steps == ["long", "after"]
    assert [type(each) for each in faults] == [ZeroDivisionError]


def test_each_event_loop_has_its_own() -> None:
    async def find() -> SendRounds:
        assert send_rounds.send_rounds() is send_rounds.send_rounds()
        return send_rounds.send_rounds()

    assert asyncio.run(find()) is not asyncio.run(find())
