"""What clients are told of errors: never a status that makes containerd ask again at once."""

import json

import pytest

from dfdaemon.io.mirror_answers import Content, TooLarge, TooManyClients, error_answer, fault_answer
from swarm.digest import Digest
from swarm.errors import (
    BadDigest,
    BadName,
    BadRange,
    DamselflyError,
    NotAllowed,
    OriginContent,
    OriginCut,
    OriginError,
    OriginStatus,
    OriginThrottled,
    OriginTimeout,
    OriginUnreachable,
    OwnLimit,
    PeerUnreachable,
    RedirectRefused,
    StoreFull,
)


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (BadDigest("x", "why"), 400, "DIGEST_INVALID"),
        (BadName("x", "why"), 400, "NAME_INVALID"),
        (TooLarge("x", "why"), 400, "NAME_INVALID"),
        (BadRange("9-", 5), 416, "RANGE_INVALID"),
        (NotAllowed("x", "why"), 403, "DENIED"),
        (OriginStatus(401, "x"), 401, "UNAUTHORIZED"),
        (OriginStatus(403, "x"), 403, "DENIED"),
        (OriginStatus(404, "x"), 404, "NOT_FOUND"),
        (OriginStatus(408, "x"), 502, "UNAVAILABLE"),
        (OriginStatus(418, "x"), 502, "UNAVAILABLE"),
        (OriginStatus(500, "x"), 502, "UNAVAILABLE"),
        (OriginThrottled(429, "x", 5.0), 503, "UNAVAILABLE"),
        (OwnLimit("x", "no connection was free"), 503, "UNAVAILABLE"),
        (OriginUnreachable("x"), 502, "UNAVAILABLE"),
        (RedirectRefused("x", "why"), 502, "UNAVAILABLE"),
        (OriginTimeout("x"), 504, "UNAVAILABLE"),
        (OriginCut("x"), 502, "UNAVAILABLE"),
        (OriginContent("x"), 502, "UNAVAILABLE"),
        (OriginError("x"), 503, "UNAVAILABLE"),
        (PeerUnreachable("x"), 503, "UNAVAILABLE"),
        (StoreFull("x"), 503, "UNAVAILABLE"),
        (TooManyClients("x"), 503, "UNAVAILABLE"),
    ],
)
def test_every_error_has_its_answer(error: DamselflyError, status: int, code: str) -> None:
    answer = error_answer(error)
    assert answer.status == status
    assert isinstance(answer.body, bytes)
    (entry,) = json.loads(answer.body)["errors"]
    assert entry["code"] == code
    assert entry["message"] == str(error)
    assert entry["detail"]


def test_challenges_are_passed_on_each_in_its_own_header() -> None:
    challenges = ('Bearer realm="a",scope="b,c"', 'Basic realm="d"')
    answer = error_answer(OriginStatus(401, "x", challenges))
    assert tuple(answer.headers.getall("WWW-Authenticate")) == challenges


def test_a_limit_of_our_own_says_when_there_is_room_if_that_is_known() -> None:
    assert error_answer(OwnLimit("x", "why", 2.5)).headers["Retry-After"] == "3"
    assert "Retry-After" not in error_answer(OwnLimit("x", "why")).headers


def test_a_range_beyond_the_end_tells_the_size() -> None:
    assert error_answer(BadRange("9-", 5)).headers["Content-Range"] == "bytes */5"


def test_our_own_fault() -> None:
    assert fault_answer().status == 500


def test_headers_of_content() -> None:
    digest = Digest.of(b"x")
    fresh = Content("r.test", digest, 5, "a/b").head()
    assert fresh.headers["Content-Length"] == "5"
    assert fresh.headers["Docker-Content-Digest"] == str(digest)
    assert fresh.headers["Content-Type"] == "a/b"
    assert "Warning" not in fresh.headers
    stale = Content("r.test", digest, 5, "", stale=True).headers()
    assert stale["Warning"].startswith("110 ")
    assert stale["Content-Type"] == "application/octet-stream"


@pytest.mark.parametrize(("kind", "code"), [("blob", "BLOB_UNKNOWN"), ("manifest", "MANIFEST_UNKNOWN")])
def test_what_is_not_there_is_called_as_the_specification_calls_it(kind: str, code: str) -> None:
    for status, expected in ((404, code), (403, "DENIED")):
        answer = error_answer(OriginStatus(status, "x"), kind)
        assert isinstance(answer.body, bytes)
        assert json.loads(answer.body)["errors"][0]["code"] == expected
