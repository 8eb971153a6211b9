"""Whose turn it is to ask a registry."""

import asyncio

import pytest

from dfdaemon.config import OriginConfig, RegistryConfig
from dfdaemon.endpoints import Endpoint, Endpoints
from dfdaemon.io import origin_turns
from dfdaemon.io.origin_turns import Turns
from swarm.errors import OwnLimit


def endpoint(connections_max: int = 0, requests_per_s_max: float = 0.0) -> Endpoint:
    entry = RegistryConfig(name="r", connections_max=connections_max, requests_per_s_max=requests_per_s_max)
    return Endpoints(OriginConfig(registries=(entry,))).of("r")


async def test_a_turn_is_free_again_when_the_one_before_has_ended() -> None:
    turns, there = Turns(), endpoint(connections_max=1)
    end = await turns.take(there, "x")
    waiting = asyncio.create_task(turns.take(there, "x"))
    await asyncio.sleep(0)
    assert not waiting.done()
    end()
    (await waiting)()


async def test_ending_twice_frees_one_turn() -> None:
    turns, there = Turns(), endpoint(connections_max=2)
    first, second = await turns.take(there, "x"), await turns.take(there, "x")
    first()
    first()
    third = await turns.take(there, "x")
    waiting = asyncio.create_task(turns.take(there, "x"))
    await asyncio.sleep(0)
    assert not waiting.done()
    second()
    (await waiting)()
    third()


async def test_who_waits_too_long_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(origin_turns, "QUEUE_S", 0.01)
    turns, there = Turns(), endpoint(connections_max=1)
    end = await turns.take(there, "x")
    with pytest.raises(
        OwnLimit, match=r"x was not sent: no connection was free .* see connections_max"
    ) as caught:
        await turns.take(there, "x")
    assert caught.value.retry_after_s == 0
    end()
    (await turns.take(there, "x"))()


async def test_a_cancelled_wait_takes_no_turn() -> None:
    turns, there = Turns(), endpoint(connections_max=1)
    end = await turns.take(there, "x")
    waiting = asyncio.create_task(turns.take(there, "x"))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])
    end()
    (await turns.take(there, "x"))()


async def test_too_many_requests_a_second_are_refused_and_keep_no_turn() -> None:
    turns, there = Turns(), endpoint(connections_max=1, requests_per_s_max=0.01)
    (await turns.take(there, "x"))()
    for _ in range(2):
        with pytest.raises(OwnLimit, match="requests_per_s_max") as caught:
            await turns.take(there, "x")
        assert caught.value.retry_after_s > 90
