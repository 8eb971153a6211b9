"""Requests with this host's own account, against registries that want a token or a password."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import parse_qs

import pytest
from aiohttp import web

from dfdaemon.config import OriginConfig, RegistryConfig
from dfdaemon.credentials import Credential
from dfdaemon.io.origin_asking import THIS_HOST
from dfdaemon.io.origin_client import OriginClient, OriginSource
from dfdaemon.permissions import PUBLIC_TTL_S
from swarm.dice import Dice
from swarm.digest import Digest
from swarm.errors import OriginCut, OriginStatus, OwnLimit
from tests.support.fake_origin import Answer, FakeOrigin, fake_origin

BODY = b"content"
DIGEST = Digest.of(BODY)
AS_HOST = OriginSource("r.test", "team/app", DIGEST, "blob", authorization=THIS_HOST)
STRANGER = OriginSource("r.test", "team/app", DIGEST, "blob")
ANN = Credential("ann", "secret")


@asynccontextmanager
async def client_of(origin: FakeOrigin, directory: Path, config: str = "") -> AsyncIterator[OriginClient]:
    """A client whose host is ann at r.test, or what Docker's `config` says."""
    secret = directory / "secret"
    secret.write_text(config or ANN.password)
    own = {} if config else {"username": "ann", "password_file": str(secret)}
    entry = RegistryConfig(name="r.test", url=origin.url, **own)
    docker = {"docker_config": str(secret)} if config else {}
    client = OriginClient(OriginConfig(registries=(entry,), retries=1, **docker), Dice(1))
    try:
        yield client
    finally:
        await client.close()


async def read(client: OriginClient, source: OriginSource) -> bytes:
    async with client.fetch(source, 0, None) as body:
        return b"".join([chunk async for chunk in body.chunks()])


def registry(token_methods: tuple[str, ...], challenge: str = "Bearer") -> Answer:
    """A registry that gives a token, or its content, to ann."""

    def answer(request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/token":
            if request.method not in token_methods:
                return web.Response(status=405)
            good = request.method == "POST" or request.headers.get("Authorization") == ANN.basic
            return web.json_response({"token": "anns" if good else "nobodys"})
        if request.headers.get("Authorization") in ("Bearer anns", ANN.basic):
            return web.Response(body=BODY)
        realm = f'realm="http://{request.host}/token",service="s",scope="repository:team/app:pull"'
        return web.Response(status=401, headers={"WWW-Authenticate": f"{challenge} {realm}"})

    return answer


async def test_a_token_for_the_account_by_get(tmp_path: Path) -> None:
    async with fake_origin(registry(("GET",))) as origin, client_of(origin, tmp_path) as client:
        assert [await read(client, AS_HOST) for _ in range(2)] == [BODY, BODY]
        asked = [seen for seen in origin.seen if seen.path.startswith("/token")]
        assert [seen.all("Authorization") for seen in asked] == [[ANN.basic]], "kept for the second"
        assert asked[0].path == "/token?account=ann&service=s&scope=repository:team/app:pull"


@pytest.mark.parametrize(("source", "tokens"), [(STRANGER, 2), (AS_HOST, 1)])
async def test_a_strangers_token_is_used_no_longer_than_a_repository_counts_as_public(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: OriginSource, tokens: int
) -> None:
    """Registries take a token until it runs out, and do not look whether the repository is public still."""

    def answer(request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/token":
            return web.json_response({"token": "t", "expires_in": 1800})
        if "Authorization" in request.headers:
            return web.Response(body=BODY)
        challenge = f'Bearer realm="http://{request.host}/token"'
        return web.Response(status=401, headers={"WWW-Authenticate": challenge})

    async with fake_origin(answer) as origin, client_of(origin, tmp_path) as client:
        clock = client._asking._tokens._clock
        for later in 0, PUBLIC_TTL_S - 5, PUBLIC_TTL_S:
            monkeypatch.setattr(client._asking._tokens, "_clock", lambda later=later: clock() + later)
            assert await read(client, source) == BODY
        assert sum(seen.path.startswith("/token") for seen in origin.seen) == tokens


async def test_a_token_where_one_connection_must_do() -> None:
    async with fake_origin(registry(("GET",))) as origin:
        entry = RegistryConfig(name="r.test", url=origin.url, connections_max=1)
        client = OriginClient(OriginConfig(registries=(entry,), retries=1), Dice(1))
        with pytest.raises(OriginStatus):
            await read(client, STRANGER)
        assert [seen.path.partition("?")[0] for seen in origin.seen[1:]] == ["/token", origin.seen[0].path]
        await client.close()


async def test_a_token_for_which_our_own_limits_leave_no_room_is_no_fault_of_its_endpoint() -> None:
    async with fake_origin(registry(("GET",))) as origin:
        entry = RegistryConfig(name="r.test", url=origin.url, requests_per_s_max=0.01)
        client = OriginClient(OriginConfig(registries=(entry,), retries=3), Dice(1))
        with pytest.raises(OwnLimit, match=r"a token of r\.test was not sent"):
            await read(client, STRANGER)
        assert len(origin.seen) == 1
        await client.close()


async def test_a_refusal_is_let_go_of_when_the_second_request_fails() -> None:
    """Each holds one of two connections, for its body was not read; a third such request still finds some."""

    def answer(request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/token":
            return web.json_response({"token": "anns", "expires_in": 0.000001})
        if "Authorization" in request.headers:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        challenge = f'Bearer realm="http://{request.host}/token",service="s"'
        return web.Response(status=401, headers={"WWW-Authenticate": challenge}, body=b"x" * 3_000_000)

    async with fake_origin(answer) as origin:
        entry = RegistryConfig(name="r.test", url=origin.url, connections_max=2)
        client = OriginClient(OriginConfig(registries=(entry,), retries=1), Dice(1))
        for _ in range(3):
            with pytest.raises(OriginCut):
                async with client.request("r.test", "GET", "/v2/a/tags/list", {}, lent_for="a"):
                    pass
        await client.close()


async def test_a_token_by_post_where_get_is_not_known(tmp_path: Path) -> None:
    async with fake_origin(registry(("POST",))) as origin, client_of(origin, tmp_path) as client:
        assert await read(client, AS_HOST) == BODY
        form = parse_qs(next(seen for seen in origin.seen if seen.method == "POST").body.decode())
        assert form == {
            "grant_type": ["password"],
            "username": ["ann"],
            "password": ["secret"],
            "service": ["s"],
            "scope": ["repository:team/app:pull"],
            "client_id": ["damselfly"],
        }


async def test_an_identity_token_is_changed_for_an_access_token(tmp_path: Path) -> None:
    config = '{"auths": {"r.test": {"identitytoken": "refresh"}}}'
    async with fake_origin(registry(("POST",))) as origin, client_of(origin, tmp_path, config) as client:
        assert await read(client, AS_HOST) == BODY
        assert [seen.method for seen in origin.seen] == ["GET", "POST", "GET"]
        form = parse_qs(origin.seen[1].body.decode())
        assert (form["grant_type"], form["refresh_token"]) == (["refresh_token"], ["refresh"])


async def test_a_password_where_basic_is_wanted(tmp_path: Path) -> None:
    async with fake_origin(registry((), "Basic")) as origin, client_of(origin, tmp_path) as client:
        assert [await read(client, AS_HOST) for _ in range(2)] == [BODY, BODY]
        assert [seen.all("Authorization") for seen in origin.seen] == [[], [ANN.basic], [ANN.basic]]


async def test_a_stranger_is_never_served_with_the_hosts_account(tmp_path: Path) -> None:
    for challenge in ("Bearer", "Basic"):
        async with (
            fake_origin(registry(("GET", "POST"), challenge)) as origin,
            client_of(origin, tmp_path) as client,
        ):
            await read(client, AS_HOST)
            with pytest.raises(OriginStatus) as caught:
                await read(client, STRANGER)
            assert caught.value.status == 401
            before = len(origin.seen)
            client_header = OriginSource("r.test", "team/app", DIGEST, "blob", authorization="Bearer other")
            with pytest.raises(OriginStatus):
                await read(client, client_header)
            assert [seen.all("Authorization") for seen in origin.seen[before:]] == [["Bearer other"]]


async def test_a_secret_that_changed_is_used_when_the_old_one_is_refused(tmp_path: Path) -> None:
    async with fake_origin(registry((), "Basic")) as origin, client_of(origin, tmp_path) as client:
        (tmp_path / "secret").write_text("old")
        with pytest.raises(OriginStatus):
            await read(client, AS_HOST)
        (tmp_path / "secret").write_text("secret")
        assert await read(client, AS_HOST) == BODY


async def test_no_secret_follows_a_redirect_of_a_token_endpoint(tmp_path: Path) -> None:
    def answer(request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/token":
            return web.Response(status=307, headers={"Location": f"http://127.0.0.1:{elsewhere.port}/token"})
        return web.Response(
            status=401, headers={"WWW-Authenticate": f'Bearer realm="http://{request.host}/token"'}
        )

    config = '{"auths": {"r.test": {"identitytoken": "refresh"}}}'
    async with fake_origin(registry(("GET", "POST"))) as elsewhere, fake_origin(answer) as origin:
        async with client_of(origin, tmp_path, config) as client:
            with pytest.raises(OriginStatus):
                await read(client, AS_HOST)
        assert not elsewhere.seen
        async with client_of(origin, tmp_path) as client:
            with pytest.raises(OriginStatus):
                await read(client, AS_HOST)
        assert [seen.all("Authorization") for seen in elsewhere.seen] == [[]]


async def test_nothing_of_the_account_shows(tmp_path: Path) -> None:
    async with fake_origin(registry(("GET",))) as origin, client_of(origin, tmp_path) as client:
        assert await read(client, AS_HOST) == BODY
        assert "secret" not in f"{AS_HOST!r}{vars(client)!r}"
