"""The origin client against servers that answer anything: headers, redirects, retries, tokens, ranges, addresses."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from dfdaemon.config import OriginConfig, RegistryConfig
from dfdaemon.endpoints import Endpoints
from dfdaemon.io.origin_asking import REDIRECTS_MAX, _redirected
from dfdaemon.io.origin_client import OriginClient, OriginSource
from dfdaemon.io.origin_transport import Exchange
from swarm.dice import Dice
from swarm.digest import Digest
from swarm.errors import (
    NotAllowed,
    OriginContent,
    OriginCut,
    OriginStatus,
    OriginThrottled,
    OriginTimeout,
    OriginUnreachable,
    RedirectRefused,
)
from tests.support.fake_origin import FakeOrigin, FakeResolver, fake_origin, says

BODY = bytes(range(256)) * 40
DIGEST = Digest.of(BODY)
BLOB = OriginSource("r.test", "team/app", DIGEST, "blob")
PATH = f"/v2/team/app/blobs/{DIGEST}"
NOON = 1_000_000_000.0


@asynccontextmanager
async def client_of(
    origin: FakeOrigin, *more: RegistryConfig, resolver: FakeResolver | None = None, **settings: Any
) -> AsyncIterator[OriginClient]:
    config = OriginConfig(
        registries=(RegistryConfig(name="r.test", url=origin.url), *more),
        **({"retries": 2, "connect_timeout_s": 2.0, "read_timeout_s": 1.0} | settings),
    )
    client = OriginClient(config, Dice(7), resolver=resolver, wall_clock=lambda: NOON)
    try:
        yield client
    finally:
        await client.close()


async def read(
    client: OriginClient, source: OriginSource = BLOB, start: int = 0, end: int | None = None
) -> bytes:
    async with client.fetch(source, start, end) as body:
        return b"".join([chunk async for chunk in body.chunks()])


# --- bodies and ranges ------------------------------------------------------------------------------------------


async def test_the_whole_is_asked_for_without_range_and_as_it_is() -> None:
    async with fake_origin(says(200, BODY)) as origin, client_of(origin) as client:
        async with client.fetch(BLOB, 0, None) as body:
            assert (body.total, body.ranged) == (len(BODY), False)
        assert await read(client) == BODY
        seen = origin.seen[0]
        assert (seen.method, seen.path) == ("GET", PATH)
        assert (seen.all("Range"), seen.all("Authorization")) == ([], [])
        assert seen.all("Accept-Encoding") == ["identity"]


async def test_a_range() -> None:
    answer = says(206, BODY[100:200], ("Content-Range", f"bytes 100-199/{len(BODY)}"))
    async with fake_origin(answer) as origin, client_of(origin) as client:
        async with client.fetch(BLOB, 100, 200) as body:
            assert (body.total, body.ranged) == (len(BODY), True)
            assert b"".join([chunk async for chunk in body.chunks()]) == BODY[100:200]
        assert origin.seen[0].all("Range") == ["bytes=100-199"]


async def test_an_ignored_range_is_told() -> None:
    async with (
        fake_origin(says(200, BODY)) as origin,
        client_of(origin) as client,
        client.fetch(BLOB, 100, 200) as body,
    ):
        assert (body.total, body.ranged) == (len(BODY), False)


async def test_a_range_may_end_with_the_blob() -> None:
    answer = says(206, BODY[100:], ("Content-Range", f"bytes 100-{len(BODY) - 1}/{len(BODY)}"))
    async with fake_origin(answer) as origin, client_of(origin) as client:
        assert await read(client, start=100, end=len(BODY) + 50) == BODY[100:]


@pytest.mark.parametrize(
    "text",
    ["", "bytes 0-99/10240", "bytes 100-150/10240", "bytes 100-199", "items 100-199/10240", "bytes */10240"],
)
async def test_another_range_than_asked_for(text: str) -> None:
    async with (
        fake_origin(says(206, BODY[:100], ("Content-Range", text))) as origin,
        client_of(origin) as client,
    ):
        with pytest.raises(OriginContent):
            await read(client, start=100, end=200)


async def test_an_encoded_body_is_refused() -> None:
    async with (
        fake_origin(says(200, b"x", ("Content-Encoding", "gzip"))) as origin,
        client_of(origin) as client,
    ):
        with pytest.raises(OriginContent, match="gzip"):
            await read(client)


@pytest.mark.parametrize("said", ["", "identity", "aws-chunked", "binary"])
async def test_what_says_nothing_of_compression_is_no_reason_to_refuse_a_body(said: str) -> None:
    coded = ("Content-Encoding", said)
    async with fake_origin(says(200, BODY, coded)) as origin, client_of(origin) as client:
        assert await read(client) == BODY


async def test_but_one_that_is_compressed_too_is_refused() -> None:
    coded = ("Content-Encoding", "aws-chunked, GZIP")
    async with fake_origin(says(200, BODY, coded)) as origin, client_of(origin) as client:
        with pytest.raises(OriginContent, match="gzip"):
            await read(client)


async def test_accept_lines_go_one_by_one() -> None:
    source = OriginSource("r.test", "team/app", DIGEST, "manifest", ("a/b", "c/d", "e/f;q=0.5, g/h"))
    async with fake_origin(says(200, BODY)) as origin, client_of(origin) as client:
        await read(client, source)
        assert origin.seen[0].path == f"/v2/team/app/manifests/{DIGEST}"
        assert origin.seen[0].all("Accept") == ["a/b", "c/d", "e/f;q=0.5, g/h"]


async def test_head() -> None:
    headers = [("Docker-Content-Digest", str(DIGEST)), ("Content-Type", "a/b")]
    async with fake_origin(says(200, BODY, *headers[:1])) as origin, client_of(origin) as client:
        head = await client.head_blob(BLOB)
        assert (head.size, head.digest) == (len(BODY), DIGEST)
    async with fake_origin(says(200, BODY)) as origin, client_of(origin) as client:
        head = await client.head_manifest("r.test", "team/app", "v1", (), None)
        assert head.digest is None
        assert origin.seen[0].path == "/v2/team/app/manifests/v1"


# --- statuses, retries ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 401, 403, 404, 416])
async def test_a_refusal_comes_at_once_with_its_challenges(status: int) -> None:
    challenges = [("WWW-Authenticate", "Basic realm=x"), ("WWW-Authenticate", "Negotiate")]
    async with fake_origin(says(status, b"", *challenges)) as origin, client_of(origin) as client:
        with pytest.raises(OriginStatus) as caught:
            await read(client)
        assert (caught.value.status, caught.value.challenges) == (status, ("Basic realm=x", "Negotiate"))
        assert len(origin.seen) == 1


@pytest.mark.parametrize("status", [500, 502, 503, 504])
async def test_a_failure_is_tried_again(status: int) -> None:
    async with fake_origin(says(status), says(200, BODY)) as origin, client_of(origin) as client:
        assert await read(client) == BODY


async def test_attempts_are_counted() -> None:
    async with fake_origin(says(500)) as origin, client_of(origin, retries=3) as client:
        with pytest.raises(OriginStatus):
            await read(client)
        assert len(origin.seen) == 3


@pytest.mark.parametrize(
    ("status", "text", "seconds"),
    [
        (429, "7", 7.0),
        (503, "9", 9.0),
        (429, "Sun, 09 Sep 2001 01:46:50 GMT", 10.0),
        (429, "99999", 300.0),
        (429, None, 5.0),
    ],
)
async def test_an_origin_that_asks_to_wait(status: int, text: str | None, seconds: float) -> None:
    headers = [] if text is None else [("Retry-After", text)]
    async with fake_origin(says(status, b"", *headers)) as origin, client_of(origin) as client:
        with pytest.raises(OriginThrottled) as caught:
            await read(client)
        assert (caught.value.status, caught.value.retry_after_s) == (status, seconds)
        assert len(origin.seen) == 1


async def test_nobody_listens() -> None:
    async with fake_origin(says(200)) as origin:
        pass
    async with client_of(origin) as client:
        with pytest.raises(OriginUnreachable, match="team/app"):
            await read(client)


async def test_an_origin_that_goes_silent_or_away() -> None:
    def hang(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        response.content_length = 10
        return response  # headers, then nothing, on a connection that stays open

    def close(request: web.BaseRequest) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    async with fake_origin(hang) as origin, client_of(origin) as client:
        with pytest.raises(OriginTimeout):
            await read(client)
    async with fake_origin(close) as origin, client_of(origin) as client:
        with pytest.raises(OriginCut):
            await read(client)
        assert len(origin.seen) >= 2, "a connection that closes before an answer is tried again"


# --- credentials and tokens -------------------------------------------------------------------------------------


async def test_the_clients_credential_goes_as_it_is_and_is_never_replaced() -> None:
    challenge = ("WWW-Authenticate", 'Bearer realm="http://127.0.0.1:1/token",service="s"')
    source = OriginSource("r.test", "team/app", DIGEST, "blob", authorization="Bearer own")
    async with fake_origin(says(401, b"", challenge)) as origin, client_of(origin) as client:
        with pytest.raises(OriginStatus) as caught:
            await read(client, source)
        assert caught.value.challenges == (challenge[1],)
        assert [seen.all("Authorization") for seen in origin.seen] == [["Bearer own"]]
        assert "own" not in repr(source)


async def test_an_anonymous_token_is_fetched_once_and_used_while_it_lives() -> None:
    def registry(request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/token":
            return web.json_response({"token": "anonymous", "expires_in": 300})
        if request.headers.get("Authorization") == "Bearer anonymous":
            return web.Response(body=BODY)
        realm = f"http://{request.host}/token?x=1"
        challenge = f'Bearer realm="{realm}",service="the service",scope="repository:team/app:pull,push"'
        return web.Response(status=401, headers={"WWW-Authenticate": challenge})

    async with fake_origin(registry) as origin, client_of(origin) as client:
        assert await read(client) == BODY
        assert await read(client) == BODY
        paths = [seen.path.partition("?")[0] for seen in origin.seen]
        assert paths == [PATH, "/token", PATH, PATH]
        assert origin.seen[1].path == "/token?x=1&service=the+service&scope=repository:team/app:pull,push"


@pytest.mark.parametrize(
    "token",
    [
        says(403),
        says(200, b"not json"),
        says(200, b'{"token": "a\\nb"}'),
        says(200, b'{"token": 5}'),
        says(200, b"[]"),
        says(200, b"x" * 100_000),
    ],
)
async def test_without_a_token_the_challenge_is_passed_on(token: Any) -> None:
    def registry(request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/token":
            answer: web.StreamResponse = token(request)
            return answer
        return web.Response(
            status=401, headers={"WWW-Authenticate": f'Bearer realm="http://{request.host}/token"'}
        )

    async with fake_origin(registry) as origin, client_of(origin) as client:
        with pytest.raises(OriginStatus) as caught:
            await read(client)
        assert caught.value.challenges == (f'Bearer realm="{origin.url}/token"',)


# --- redirects --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_another_host_gets_no_authorization(status: int) -> None:
    source = OriginSource("r.test", "team/app", DIGEST, "blob", authorization="Basic abc")
    async with fake_origin(says(200, BODY)) as storage:
        location = ("Location", f"{storage.url}/signed?key=%2Fa%2B")
        async with fake_origin(says(status, b"", location)) as origin, client_of(origin) as client:
            assert await read(client, source) == BODY
            assert origin.seen[0].all("Authorization") == ["Basic abc"]
            assert storage.seen[0].path == "/signed?key=%2Fa%2B", (
                "a signature does not survive another encoding"
            )
            assert storage.seen[0].all("Authorization") == []


async def test_the_same_host_keeps_authorization_and_range() -> None:
    source = OriginSource("r.test", "team/app", DIGEST, "blob", authorization="Basic abc")
    part = says(206, BODY[1:3], ("Content-Range", "bytes 1-2/10240"))
    async with (
        fake_origin(says(307, b"", ("Location", "/elsewhere")), part) as origin,
        client_of(origin) as client,
    ):
        assert await read(client, source, 1, 3) == BODY[1:3]
        assert (origin.seen[1].path, origin.seen[1].all("Authorization")) == ("/elsewhere", ["Basic abc"])
        assert origin.seen[1].all("Range") == ["bytes=1-2"]


async def test_redirects_end() -> None:
    async with fake_origin(says(307, b"", ("Location", "/again"))) as origin, client_of(origin) as client:
        with pytest.raises(OriginContent, match="redirected"):
            await read(client)
        assert len(origin.seen) == REDIRECTS_MAX + 1


@pytest.mark.parametrize("location", ["ftp://127.0.0.1/x", "http://", "http://[bad", "http://a:port/"])
async def test_redirects_to_nowhere(location: str) -> None:
    async with fake_origin(says(307, b"", ("Location", location))) as origin, client_of(origin) as client:
        with pytest.raises((RedirectRefused, OriginContent)):
            await read(client)


# --- addresses --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "registry",
    [
        "127.0.0.1:5000",
        "[::1]:5000",
        "10.1.2.3",
        "169.254.169.254",
        "[::ffff:10.0.0.1]",
        "inside.test",
        "2130706433",
        "127.1",
    ],
)
async def test_an_unlisted_registry_must_be_outside(registry: str) -> None:
    resolver = FakeResolver(inside_test=["192.168.0.1"])
    source = OriginSource(registry, "a", DIGEST, "blob")
    async with fake_origin(says(200)) as origin, client_of(origin, resolver=resolver) as client:
        with pytest.raises(NotAllowed, match="private"):
            await read(client, source)


async def test_a_name_that_moves_inside_is_caught_when_connecting() -> None:
    resolver = FakeResolver(moving_test=["192.0.2.1", "127.0.0.1"])  # TEST-NET-1 is no public address either
    source = OriginSource("moving.test", "a", DIGEST, "blob")
    async with fake_origin(says(200)) as origin, client_of(origin, resolver=resolver) as client:
        for _ in range(2):
            with pytest.raises(NotAllowed):
                await read(client, source)


@pytest.mark.parametrize("host", ["127.0.0.1", "inside.test"])
async def test_a_public_registry_does_not_redirect_inside(host: str) -> None:
    async with fake_origin(says(200, BODY)) as inside:
        answer = says(307, b"", ("Location", f"http://{host}:{inside.port}/?sig=secret"))
        async with fake_origin(answer) as origin:
            public = RegistryConfig(name="public.test", url=f"http://public.test:{origin.port}")
            # It is on this machine when it is connected to, and public when its redirect is judged.
            resolver = FakeResolver(public_test=["127.0.0.1", "8.8.8.8"], inside_test=["127.0.0.1"])
            async with client_of(origin, public, resolver=resolver) as client:
                with pytest.raises(
                    RedirectRefused, match=rf"{host} .* list it in origin\.registries"
                ) as caught:
                    await read(client, OriginSource("public.test", "a", DIGEST, "blob"))
                assert "secret" not in str(caught.value)
        assert not inside.seen


def test_a_redirect_from_https_to_http_is_refused() -> None:
    endpoint = Endpoints(OriginConfig()).of("r.test")
    exchange = Exchange(endpoint, "GET", URL("https://r.test/v2/"), "GET r.test/a", CIMultiDict())
    with pytest.raises(RedirectRefused, match=r"GET r\.test/a was redirected, .* https to http"):
        _redirected(exchange, "http://storage.test/x")


async def test_a_private_registry_redirects_inside() -> None:
    async with fake_origin(says(200, BODY)) as inside:
        answer = says(307, b"", ("Location", f"http://storage.test:{inside.port}/"))
        resolver = FakeResolver(storage_test=["127.0.0.1"])
        async with fake_origin(answer) as origin, client_of(origin, resolver=resolver) as client:
            assert await read(client) == BODY


async def test_only_listed_registries_where_so_configured() -> None:
    async with fake_origin(says(200)) as origin, client_of(origin, allow_any_registry=False) as client:
        with pytest.raises(NotAllowed, match="allow_any_registry"):
            await read(client, OriginSource("ghcr.io", "a", DIGEST, "blob"))
        assert not origin.seen
