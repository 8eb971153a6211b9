"""Tokens of this host: how long they are kept, and that many clients cost one."""

import asyncio

import pytest

from dfdaemon.challenges import Challenge
from dfdaemon.io.origin_auth import LIFETIME_DEFAULT_S, MARGIN, TOKENS_MAX, Tokens
from swarm.errors import (
    DamselflyError,
    NotAllowed,
    OriginCut,
    OriginError,
    OriginStatus,
    OriginThrottled,
    OriginTimeout,
    OriginUnreachable,
)

CHALLENGE = Challenge("bearer", {"realm": "http://r/token"})


class Realm:
    """A token endpoint that answers when it is let."""

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.asked = 0
        self.open = asyncio.Event()
        self.open.set()

    async def fetch(self, challenge: Challenge) -> bytes:
        assert challenge is CHALLENGE
        self.asked += 1
        await self.open.wait()
        return self.body


@pytest.mark.parametrize(
    ("body", "lifetime"),
    [
        (b'{"token": "t", "expires_in": 300}', 300.0),
        (b'{"access_token": "t"}', LIFETIME_DEFAULT_S),
        (b'{"token": "t", "expires_in": 0}', LIFETIME_DEFAULT_S),
    ],
)
async def test_a_token_lives_as_long_as_its_registry_says(body: bytes, lifetime: float) -> None:
    now = 1000.0
    tokens = Tokens(lambda: now)
    assert tokens.known("r", "a") is None
    assert await tokens.fetch("r", "a", CHALLENGE, Realm(body).fetch) == "Bearer t"
    now += lifetime * MARGIN - 1
    assert tokens.known("r", "a") == "Bearer t"
    assert tokens.known("r", "b") is None
    now += 2
    assert tokens.known("r", "a") is None


async def test_a_token_is_used_no_longer_than_it_may() -> None:
    now = 1000.0
    tokens, realm = Tokens(lambda: now), Realm(b'{"token": "t", "expires_in": 1800}')
    await tokens.fetch("r", "a", CHALLENGE, realm.fetch, lifetime_s_max=300.0)
    await tokens.fetch("r", "b", CHALLENGE, realm.fetch)
    now += 299.0
    assert tokens.known("r", "a") == "Bearer t"
    now += 1.0
    assert (tokens.known("r", "a"), tokens.known("r", "b")) == (None, "Bearer t")


async def test_many_clients_cost_one_token() -> None:
    tokens, realm = Tokens(lambda: 0.0), Realm(b'{"token": "t"}')
    realm.open.clear()
    asking = [asyncio.create_task(tokens.fetch("r", "a", CHALLENGE, realm.fetch)) for _ in range(50)]
    await asyncio.sleep(0)
    asking[0].cancel()
    realm.open.set()
    found = await asyncio.gather(*asking, return_exceptions=True)
    assert found[1:] == ["Bearer t"] * 49
    assert realm.asked == 1


@pytest.mark.parametrize("error", [OriginStatus(401, "r"), OriginStatus(404, "r"), NotAllowed("r", "http")])
async def test_a_realm_that_refuses_gives_none(error: DamselflyError) -> None:
    async def fail(challenge: Challenge) -> bytes:
        raise error

    assert await Tokens(lambda: 0.0).fetch("r", "a", CHALLENGE, fail) is None
    assert await Tokens(lambda: 0.0).fetch("r", "a", CHALLENGE, Realm(b"<html>").fetch) is None


@pytest.mark.parametrize(
    "error",
    [
        OriginUnreachable("no route"),
        OriginTimeout("silence"),
        OriginCut("reset"),
        OriginStatus(503, "r"),
        OriginStatus(429, "r"),
        OriginThrottled(429, "r", 1.0),
    ],
)
async def test_a_realm_that_cannot_be_asked_refuses_nobody(error: OriginError) -> None:
    """All that wait are told why; the next one asks again."""
    failing = asyncio.Event()

    async def fail(challenge: Challenge) -> bytes:
        await failing.wait()
        raise error

    tokens = Tokens(lambda: 0.0)
    asking = [asyncio.create_task(tokens.fetch("r", "a", CHALLENGE, fail)) for _ in range(3)]
    await asyncio.sleep(0)
    failing.set()
    assert await asyncio.gather(*asking, return_exceptions=True) == [error] * 3
    assert await tokens.fetch("r", "a", CHALLENGE, Realm(b'{"token": "t"}').fetch) == "Bearer t"


@pytest.mark.parametrize(
    "body", [b"[" * 60_000, b'{"token": "t", "expires_in": 1' + b"0" * 400 + b"}", b'{"token": "t"', b"[]"]
)
async def test_an_answer_that_is_no_token_gives_none(body: bytes) -> None:
    assert await Tokens(lambda: 0.0).fetch("r", "a", CHALLENGE, Realm(body).fetch) is None


async def test_tokens_are_bounded() -> None:
    tokens, realm = Tokens(lambda: 0.0), Realm(b'{"token": "t"}')
    for number in range(TOKENS_MAX + 1):
        await tokens.fetch("r", str(number), CHALLENGE, realm.fetch)
    assert tokens.known("r", "0") is None
    assert tokens.known("r", str(TOKENS_MAX)) == "Bearer t"
