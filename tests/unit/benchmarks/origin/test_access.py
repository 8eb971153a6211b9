"""Who passes the gate."""

import base64

import pytest

from benchmarks.origin.access import OPEN, AccessPolicy, Account, AuthMode, Gate, basic_header

REALM = "http://origin.test/token"
ANN, BOB = basic_header("ann", "secret"), basic_header("bob", "hidden")
ACCOUNTS = {"ann": Account("secret"), "bob": Account("hidden", frozenset({"team/b"}))}


def gate(mode: AuthMode) -> Gate:
    return Gate(AccessPolicy(mode, ACCOUNTS, public=frozenset({"open/img"}), token_ttl_s=60), b"key")


def bearer(gate: Gate, authorization: str | None, *repositories: str, now: float = 0) -> str:
    scopes = [f"repository:{name}:pull" for name in repositories]
    answer = gate.token(authorization, scopes, now)
    assert answer is not None
    return f"Bearer {answer['token']}"


def passes(gate: Gate, repository: str | None, authorization: str | None, now: float = 0) -> bool:
    return gate.judge(repository, authorization, REALM, now) is None


def challenge(gate: Gate, repository: str | None, authorization: str | None, now: float = 0) -> str:
    refusal = gate.judge(repository, authorization, REALM, now)
    assert refusal is not None
    return refusal.challenge


def test_an_open_registry_asks_nobody() -> None:
    assert passes(Gate(OPEN, b"key"), "team/a", None)


@pytest.mark.parametrize(
    ("repository", "authorization", "expected"),
    [
        (None, None, False),
        (None, BOB, True),
        ("team/a", None, False),
        ("team/a", ANN, True),
        ("team/a", BOB, False),
        ("team/b", BOB, True),
        ("open/img", None, True),
        ("team/a", basic_header("ann", "wrong"), False),
        ("team/a", basic_header("eve", "secret"), False),
        ("team/a", "Basic ?", False),
        ("team/a", "Basic " + base64.b64encode(b"\xff\xfe").decode(), False),
        ("team/a", "Digest " + ANN.split()[1], False),
    ],
)
def test_basic(repository: str | None, authorization: str | None, expected: bool) -> None:
    assert passes(gate(AuthMode.BASIC), repository, authorization) == expected


@pytest.mark.parametrize(
    ("repository", "authorization", "expected"),
    [
        ("open/img", None, True),
        ("team/a", None, False),
        ("team/a", ANN, True),
        ("team/a", BOB, False),
        ("team/b", BOB, True),
    ],
)
def test_a_token_is_good_for_what_its_owner_may_read(
    repository: str, authorization: str | None, expected: bool
) -> None:
    registry = gate(AuthMode.BEARER)
    assert passes(registry, repository, bearer(registry, authorization, repository)) == expected
    assert passes(registry, None, bearer(registry, authorization, repository))


def test_a_token_is_good_for_its_scope_only() -> None:
    registry = gate(AuthMode.BEARER)
    both = bearer(registry, ANN, "team/a", "localhost:5000/team/b")
    assert passes(registry, "team/a", both)
    assert passes(registry, "localhost:5000/team/b", both)
    assert 'error="insufficient_scope"' in challenge(registry, "open/img", both)


def test_a_token_ends_with_its_time() -> None:
    registry = gate(AuthMode.BEARER)
    token = bearer(registry, ANN, "team/a", now=100)
    assert passes(registry, "team/a", token, now=159.9)
    assert 'error="invalid_token"' in challenge(registry, "team/a", token, now=160)


def test_nobody_can_make_a_token() -> None:
    registry = gate(AuthMode.BEARER)
    payload, _, mac = bearer(registry, None, "open/img").removeprefix("Bearer ").partition(".")
    wider = base64.urlsafe_b64encode(
        base64.urlsafe_b64decode(payload).replace(b"open/img", b"team/a")
    ).decode()
    for forged in (f"Bearer {wider}.{mac}", "Bearer x", "Bearer ", ANN):
        assert 'error="invalid_token"' in challenge(registry, "team/a", forged)


def test_wrong_credentials_get_no_token() -> None:
    assert gate(AuthMode.BEARER).token(basic_header("ann", "wrong"), ["repository:open/img:pull"], 0) is None


def test_a_challenge_tells_where_to_ask_for_what() -> None:
    expected = f'Bearer realm="{REALM}",service="origin.test",scope="repository:team/a:pull"'
    assert challenge(gate(AuthMode.BEARER), "team/a", None) == expected


def test_a_password_is_not_shown() -> None:
    assert "secret" not in repr(AccessPolicy(AuthMode.BASIC, ACCOUNTS))
