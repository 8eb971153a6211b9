"""Who may read what in the origin registry: open, Basic, or Bearer with tokens as Docker Hub gives them.

Protocol: distribution's docs/spec/auth/token.md. In Bearer mode anybody gets a token for a public repository;
a token for a private one says so only if an account that may read it asked.
"""

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

SERVICE = "origin.test"
TOKEN_TTL_S = 300.0  # what Docker Hub gives


class AuthMode(StrEnum):
    """How a registry asks who you are."""

    NONE = "none"
    BASIC = "basic"
    BEARER = "bearer"


@dataclass(frozen=True, slots=True)
class Account:
    """A user who may read `repositories`, or everything if that is None."""

    password: str = field(repr=False)
    repositories: frozenset[str] | None = None

    def may_read(self, repository: str) -> bool:
        """Whether the registry gives this user that repository."""
        return self.repositories is None or repository in self.repositories


@dataclass(frozen=True, slots=True)
class AccessPolicy:
    """The rules of one registry. `public` repositories need no account; with mode NONE all are public."""

    mode: AuthMode = AuthMode.NONE
    accounts: Mapping[str, Account] = field(default_factory=dict)
    public: frozenset[str] = frozenset()
    token_ttl_s: float = TOKEN_TTL_S


OPEN = AccessPolicy()


@dataclass(frozen=True, slots=True)
class Refusal:
    """A 401 and its WWW-Authenticate header."""

    challenge: str


class Gate:
    """Judges Authorization headers by a policy, and gives out the tokens that it accepts."""

    def __init__(self, policy: AccessPolicy, key: bytes) -> None:
        self.policy = policy
        self._key = key

    def judge(
        self, repository: str | None, authorization: str | None, realm: str, now: float
    ) -> Refusal | None:
        """None if the request may pass. `repository` is None for `/v2/`; `realm` is the token URL."""
        if self.policy.mode is AuthMode.NONE:
            return None
        if self.policy.mode is AuthMode.BASIC:
            return (
                None if self._basic_allows(repository, authorization) else Refusal(f'Basic realm="{SERVICE}"')
            )
        return self._judge_bearer(repository, authorization, realm, now)

    def token(self, authorization: str | None, scopes: Iterable[str], now: float) -> dict[str, Any] | None:
        """The token endpoint's answer; None if the credentials are wrong (the answer is 401)."""
        if authorization is not None and self.account(authorization) is None:
            return None
        granted = [
            name for name in map(_scope_repository, scopes) if name and self._may_read(name, authorization)
        ]
        token = self._sign({"repositories": granted, "expires": now + self.policy.token_ttl_s})
        return {"token": token, "access_token": token, "expires_in": int(self.policy.token_ttl_s)}

    def readable(self, authorization: str | None, scopes: Iterable[str]) -> list[str]:
        """The repositories of these scopes that the bearer of Basic credentials, or nobody, may read."""
        names = filter(None, map(_scope_repository, scopes))
        return [name for name in names if self._may_read(name, authorization)]

    def account(self, authorization: str | None) -> Account | None:
        """The account whose Basic credentials these are."""
        scheme, _, encoded = (authorization or "").partition(" ")
        if scheme.lower() != "basic":
            return None
        try:
            user, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return None
        account = self.policy.accounts.get(user)
        good = account is not None and hmac.compare_digest(account.password.encode(), password.encode())
        return account if good else None

    def _basic_allows(self, repository: str | None, authorization: str | None) -> bool:
        if repository is None:
            return self.account(authorization) is not None
        return self._may_read(repository, authorization)

    def _may_read(self, repository: str, authorization: str | None) -> bool:
        account = self.account(authorization)
        return repository in self.policy.public or (account is not None and account.may_read(repository))

    def _judge_bearer(
        self, repository: str | None, authorization: str | None, realm: str, now: float
    ) -> Refusal | None:
        challenge = f'Bearer realm="{realm}",service="{SERVICE}"'
        if repository is not None:
            challenge += f',scope="repository:{repository}:pull"'
        if authorization is None:
            return Refusal(challenge)
        claims = self._claims(authorization)
        if claims is None or claims["expires"] <= now:
            return Refusal(challenge + ',error="invalid_token"')
        if repository is not None and repository not in claims["repositories"]:
            return Refusal(challenge + ',error="insufficient_scope"')
        return None

    def _sign(self, claims: dict[str, Any]) -> str:
        payload = base64.urlsafe_b64encode(json.dumps(claims, sort_keys=True).encode()).decode()
        return f"{payload}.{self._mac(payload)}"

    def _claims(self, authorization: str) -> dict[str, Any] | None:
        scheme, _, token = authorization.partition(" ")
        payload, _, mac = token.partition(".")
        if scheme.lower() != "bearer" or not hmac.compare_digest(mac.encode(), self._mac(payload).encode()):
            return None
        claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload))
        return claims

    def _mac(self, payload: str) -> str:
        return hmac.new(self._key, payload.encode(), hashlib.sha256).hexdigest()


def basic_header(user: str, password: str) -> str:
    """The Authorization header of a user."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def _scope_repository(scope: str) -> str | None:
    """`repository:<name>:<actions>`, where the name may have a port's colon in it."""
    kind, _, rest = scope.partition(":")
    name, _, actions = rest.rpartition(":")
    return name if kind == "repository" and {"pull", "*"} & set(actions.split(",")) else None
