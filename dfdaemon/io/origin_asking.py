"""Asks an origin one thing: with whose credential, how often, and where it is redirected to.

A client's own Authorization is used as it came. Without one the anonymous token flow is tried, or, as THIS_HOST, the
one of this host's own account: that nobody gives a token just now is no refusal. A stranger's token opens a repository
that became private for as long as it lives, so it is used no longer than a repository counts as public. Redirects are
followed, without Authorization to another address. What may succeed a moment later is repeated, with jitter.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, TypeVar
from urllib.parse import urlencode

from aiohttp import ClientResponse
from multidict import CIMultiDict
from yarl import URL

from dfdaemon.challenges import Challenge, bearer_challenge, parse_challenges
from dfdaemon.config import OriginConfig
from dfdaemon.credentials import Credential
from dfdaemon.endpoints import Endpoint
from dfdaemon.hop_headers import is_sendable
from dfdaemon.io.node_credentials import NodeCredentials
from dfdaemon.io.origin_auth import TOKEN_BYTES_MAX, Tokens
from dfdaemon.io.origin_errors import mapped_errors
from dfdaemon.io.origin_transport import Answer, Exchange, OriginTransport, read_small
from dfdaemon.permissions import PUBLIC_TTL_S
from swarm.dice import Dice
from swarm.errors import (
    NotAllowed,
    OriginContent,
    OriginCut,
    OriginError,
    OriginStatus,
    OriginUnreachable,
    RedirectRefused,
    TokenUnreachable,
)

THIS_HOST = "\nthis host's own account"
"""Stands for the credential of a request that uses this host's account; no header can hold its line break."""
REDIRECTS_MAX = 5
"""Registries redirect once, storages seldom again."""
REDIRECTS = frozenset({301, 302, 303, 307, 308})
REPEATED = frozenset({500, 502, 503, 504})
"""Answers that may be better a moment later."""
PAUSE_S = 0.1
"""Before the second attempt; doubles each time, times 0.5 to 1.5."""
PAUSE_MAX_S = 2.0
NO_GET = frozenset({404, 405})
"""What a token endpoint that knows only POST answers to GET."""
CLIENT_ID = "damselfly"

A = TypeVar("A", bound=Answer)
Send = Callable[[Exchange], Awaitable[A]]


class OriginAsking:
    """One per daemon; made inside a running event loop."""

    def __init__(
        self, transport: OriginTransport, config: OriginConfig, dice: Dice, credentials: NodeCredentials
    ) -> None:
        self._transport = transport
        self._retries = config.retries
        self._dice = dice
        self._credentials = credentials
        self._tokens = Tokens(asyncio.get_running_loop().time)

    async def ask(
        self, exchange: Exchange, repository: str, authorization: str | None, send: Send[A]
    ) -> tuple[A, bool]:
        """Ask with the credential, or anonymously; return the answer, and whether a redirect led to it.

        `send` is the transport's way to carry it out: `send` or `open`.
        """
        if authorization not in (None, THIS_HOST):
            return await self._attempts(_authorized(exchange, authorization), send)
        endpoint = exchange.endpoint
        account = None
        if authorization == THIS_HOST:
            account = await self._credentials.of(endpoint.registry, repository)
        place = f"{endpoint.base} {'' if account is None else account.username or 'token'}"
        known = self._tokens.known(place, repository)
        first = await self._attempts(exchange if known is None else _authorized(exchange, known), send)
        if first[0].status != 401 or first[1]:
            return first
        try:
            header = await self._login(exchange, first[0], place, repository, account)
            if header is None:
                return first
            second = await self._attempts(_authorized(exchange, header), send)
        except BaseException:
            first[0].release()
            raise
        worse, better = (second, first) if second[0].status == 401 else (first, second)
        worse[0].release()  # of two refusals the first holds the challenge that a client can answer
        return better

    async def _login(
        self,
        exchange: Exchange,
        refusal: Answer,
        place: str,
        repository: str,
        account: Credential | None,
    ) -> str | None:
        """Return the Authorization that a refusal asks for; None if this host has none. Raises TokenUnreachable."""
        challenges = refusal.headers.getall("WWW-Authenticate", ())
        bearer = bearer_challenge(challenges)
        if bearer is not None:
            try:
                return await self._tokens.fetch(
                    place,
                    repository,
                    bearer,
                    lambda asked: self._token(exchange.endpoint, asked, account),
                    PUBLIC_TTL_S if account is None else math.inf,
                )
            except OriginError as error:
                sendable = tuple(filter(is_sendable, challenges))
                refused = OriginStatus(refusal.status, exchange.target, sendable)
                throttled = isinstance(error, OriginStatus) and error.status == 429
                raise TokenUnreachable(refused, str(error), throttled) from error
        basic = any(challenge.scheme == "basic" for challenge in parse_challenges(challenges))
        if not basic or account is None or account.identity_token:
            return None
        self._tokens.keep(place, repository, account.basic)
        return account.basic

    # --- tokens -----------------------------------------------------------------------------------------------

    async def _token(self, endpoint: Endpoint, challenge: Challenge, account: Credential | None) -> bytes:
        """Ask the realm of a challenge for a token: with GET, or with POST where that is the only way."""
        asked = {
            key: challenge.parameters[key] for key in ("service", "scope") if challenge.parameters.get(key)
        }
        if account is not None and account.identity_token:
            return await self._token_by_post(endpoint, challenge, asked, account)
        headers = {} if account is None else {"Authorization": account.basic}
        query = asked if account is None else {"account": account.username, **asked}
        exchange = self._to_realm(endpoint, challenge, "GET", query, headers)
        response, _ = await self._attempts(exchange, self._transport.send)
        try:
            if response.status not in NO_GET or account is None:
                return await _token_body(response, exchange)
        finally:
            response.release()
        return await self._token_by_post(endpoint, challenge, asked, account)

    async def _token_by_post(
        self, endpoint: Endpoint, challenge: Challenge, asked: dict[str, str], account: Credential
    ) -> bytes:
        """OAuth2 (RFC 6749): a refresh token where there is one, else the password."""
        if account.identity_token:
            grant = {"grant_type": "refresh_token", "refresh_token": account.identity_token}
        else:
            secret = {"username": account.username, "password": account.password}
            grant = {"grant_type": "password", **secret}
        form = urlencode({**asked, "client_id": CLIENT_ID, **grant}).encode()
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        exchange = self._to_realm(endpoint, challenge, "POST", {}, headers, form)
        response, _ = await self._attempts(exchange, self._transport.send)
        try:
            return await _token_body(response, exchange)
        finally:
            response.release()

    def _to_realm(
        self,
        endpoint: Endpoint,
        challenge: Challenge,
        method: str,
        query: dict[str, str],
        headers: dict[str, str],
        body: Any = None,
    ) -> Exchange:
        target = f"a token of {endpoint.registry}"
        with mapped_errors(target):
            url = URL(challenge.parameters["realm"]).extend_query(query)
        if endpoint.scheme == "https" and url.scheme != "https":
            raise NotAllowed(target, "its registry sends us from https to http")
        whole = CIMultiDict({"Accept-Encoding": "identity", "User-Agent": "damselfly", **headers})
        return Exchange(endpoint, method, url, target, whole, body)

    # --- how often --------------------------------------------------------------------------------------------

    async def _attempts(self, exchange: Exchange, send: Send[A]) -> tuple[A, bool]:
        """Repeat what may succeed a moment later, up to `origin.retries` attempts in all."""
        for attempt in range(1, self._retries + 1):
            last = attempt == self._retries
            try:
                found = await self._follow(exchange, send)
            except (OriginUnreachable, OriginCut):
                if last:
                    raise
            else:
                status, headers = found[0].status, found[0].headers
                if last or status not in REPEATED or "Retry-After" in headers:
                    return found
                found[0].release()
            await asyncio.sleep(self._pause_s(attempt))
        raise AssertionError("the last attempt returns or raises")

    def _pause_s(self, attempt: int) -> float:
        return float(min(PAUSE_MAX_S, PAUSE_S * 2 ** (attempt - 1)) * (0.5 + self._dice.share()))

    async def _follow(self, exchange: Exchange, send: Send[A]) -> tuple[A, bool]:
        """Send a request, and again to where it is redirected; one with a body holds a secret and stays.

        Raises RedirectRefused for an address that a registry may not lead to: that is no refusal of the client.
        """
        for count in range(REDIRECTS_MAX + 1):
            try:
                response = await send(exchange)
            except NotAllowed as error:
                if count == 0:
                    raise
                raise RedirectRefused(exchange.target, str(error)) from error
            redirected = response.status in REDIRECTS and "Location" in response.headers
            if not redirected or exchange.body is not None:
                return response, count > 0
            location = response.headers["Location"]
            response.release()
            exchange = _redirected(exchange, location)
        raise OriginContent(f"{exchange.target} was redirected more than {REDIRECTS_MAX} times")


async def _token_body(response: ClientResponse, exchange: Exchange) -> bytes:
    if response.status != 200:
        raise OriginStatus(response.status, exchange.target)
    return await read_small(response, TOKEN_BYTES_MAX, exchange.target)


def _authorized(exchange: Exchange, authorization: str) -> Exchange:
    headers = exchange.headers.copy()
    headers["Authorization"] = authorization
    return replace(exchange, headers=headers)


def _redirected(exchange: Exchange, location: str) -> Exchange:
    """Return the request at its new address, without Authorization unless the address is the same."""
    with mapped_errors(exchange.target):
        url = exchange.url.join(URL(location, encoded=True))
        elsewhere = url.origin() != exchange.url.origin()
    if exchange.url.scheme == "https" and url.scheme == "http":
        reason = "it leads from https to http; have the storage answer over https, or the registry send content itself"
        raise RedirectRefused(exchange.target, reason)
    headers = exchange.headers.copy()
    if elsewhere:
        headers.popall("Authorization", None)
    return replace(exchange, url=url, headers=headers)
