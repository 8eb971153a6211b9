"""Tokens of this host: for its own accounts, and the anonymous ones that Docker Hub, GHCR and others want.

Protocol: distribution's docs/spec/auth/token.md. Tokens of clients are never fetched, kept or replaced here.
"""

import asyncio
import json
import math
import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from dfdaemon.challenges import Challenge
from swarm.errors import (
    DamselflyError,
    OriginCut,
    OriginStatus,
    OriginThrottled,
    OriginTimeout,
    OriginUnreachable,
    OwnLimit,
)

TOKENS_MAX = 1024
"""Repositories whose anonymous token is kept; each costs up to a few KiB."""
TOKEN_BYTES_MAX = 64 * 1024
"""A token endpoint's answer; real ones stay below 8 KiB."""
LIFETIME_DEFAULT_S = 60.0
"""What the specification says when `expires_in` is missing."""
MARGIN = 0.9
"""Share of a token's life in which it is used: clocks and requests in progress need the rest."""

_TOKEN = re.compile(r"[\x21-\x7e]{1,32768}")

Fetch = Callable[[Challenge], Awaitable[bytes]]
"""Asks the realm of a challenge; gives the answer's body."""


@dataclass(frozen=True, slots=True)
class _Token:
    header: str = field(repr=False)
    expires_at: float


class Tokens:
    """The tokens that this host got, by place (registry, and whose they are) and repository; one fetch at a time."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._tokens: OrderedDict[tuple[str, str], _Token] = OrderedDict()
        self._fetching: dict[tuple[str, str], asyncio.Task[str | DamselflyError | None]] = {}

    def known(self, place: str, repository: str) -> str | None:
        """Return the Authorization header to use, if a live token is known."""
        token = self._tokens.get((place, repository))
        return token.header if token is not None and self._clock() < token.expires_at else None

    def keep(self, place: str, repository: str, header: str) -> None:
        """Use this header from now on, for as long as a token without a lifetime lives."""
        self._put((place, repository), _Token(header, self._clock() + LIFETIME_DEFAULT_S))

    async def fetch(
        self,
        place: str,
        repository: str,
        challenge: Challenge,
        fetch: Fetch,
        lifetime_s_max: float = math.inf,
    ) -> str | None:
        """Get a token as the challenge says, and use it for `lifetime_s_max` at most; None when there is none to have.

        Raises why its endpoint could not be asked.
        """
        key = (place, repository)
        running = self._fetching.get(key)
        if running is None:
            running = asyncio.get_running_loop().create_task(
                self._fetch(key, challenge, fetch, lifetime_s_max)
            )
            self._fetching[key] = running
            running.add_done_callback(lambda _: self._fetching.pop(key))
        found = await asyncio.shield(running)
        if isinstance(found, DamselflyError):
            raise found
        return found

    async def _fetch(
        self, key: tuple[str, str], challenge: Challenge, fetch: Fetch, lifetime_s_max: float
    ) -> str | DamselflyError | None:
        """Return a failure too: raised in a task that nobody waits for any more, it would be reported as a fault."""
        self._tokens.pop(key, None)
        try:
            header, lifetime_s = _read(await fetch(challenge))
        except DamselflyError as error:
            return error if _was_not_asked(error) else None
        except (ValueError, TypeError, OverflowError, RecursionError):
            return None
        self._put(key, _Token(header, self._clock() + min(lifetime_s, lifetime_s_max)))
        return header

    def _put(self, key: tuple[str, str], token: _Token) -> None:
        self._tokens[key] = token
        if len(self._tokens) > TOKENS_MAX:
            self._tokens.popitem(last=False)


def _was_not_asked(error: DamselflyError) -> bool:
    """Tell whether a failure says nothing of whether this host may have a token."""
    if isinstance(error, OriginStatus):
        return error.status >= 500 or error.status == 429
    return isinstance(error, OriginUnreachable | OriginTimeout | OriginCut | OriginThrottled | OwnLimit)


def _read(body: bytes) -> tuple[str, float]:
    """Read a token endpoint's answer: the header, and for how many seconds to use it.

    Raises ValueError or TypeError when it is none, RecursionError when it is nested too deep, OverflowError with a
    lifetime too large for a float.
    """
    answer = json.loads(body)
    if not isinstance(answer, dict):
        raise ValueError("not an object")
    token = answer.get("token") or answer.get("access_token")
    if not isinstance(token, str) or not _TOKEN.fullmatch(token):
        raise ValueError("no token in it")
    return f"Bearer {token}", MARGIN * float(answer.get("expires_in") or LIFETIME_DEFAULT_S)
