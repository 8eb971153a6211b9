"""Mirrors of a registry: who is asked, in which order, and as whom."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web

from dfdaemon.config import OriginConfig, RegistryConfig
from dfdaemon.io import origin_client
from dfdaemon.io.origin_answers import WrongSize
from dfdaemon.io.origin_asking import THIS_HOST
from dfdaemon.io.origin_client import OriginClient, OriginSource
from swarm.dice import Dice
from swarm.digest import Digest
from swarm.errors import OriginContent, OriginCut, OriginStatus
from swarm.facts import Note
from tests.support.fake_origin import FakeOrigin, fake_origin, says

BODY = b"content"
DIGEST = Digest.of(BODY)
GOOD = says(200, BODY, ("Docker-Content-Digest", str(DIGEST)))


def source(authorization: str | None = None) -> OriginSource:
    return OriginSource("r.test", "team/app", DIGEST, "blob", authorization=authorization)


@asynccontextmanager
async def client_of(
    origin: FakeOrigin, *mirrors: str, notes: list[Note] | None = None, account: dict[str, str] | None = None
) -> AsyncIterator[OriginClient]:
    own = RegistryConfig(name="r.test", url=origin.url, mirrors=mirrors)
    listed = [own]
    if account is not None:
        listed.append(RegistryConfig(name="mirror.test", url=mirrors[0].rpartition("/")[0], **account))
    noting = ([] if notes is None else notes).append
    client = OriginClient(OriginConfig(registries=tuple(listed), retries=1), Dice(1), note=noting)
    try:
        yield client
    finally:
        await client.close()


async def read(client: OriginClient, source: OriginSource) -> bytes:
    async with client.fetch(source, 0, None) as body:
        return b"".join([chunk async for chunk in body.chunks()])


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500])
async def test_a_mirror_that_does_not_give_it_is_passed_over(status: int) -> None:
    notes: list[Note] = []
    async with fake_origin(says(status)) as first, fake_origin(GOOD) as second, fake_origin(says(500)) as own:
        async with client_of(own, first.url, f"{second.url}/hub", notes=notes) as client:
            assert await read(client, source()) == BODY
        assert [seen.path for seen in first.seen] == [f"/v2/team/app/blobs/{DIGEST}"]
        assert [seen.path for seen in second.seen] == [f"/v2/hub/team/app/blobs/{DIGEST}"]
        assert not own.seen
    assert [note.name for note in notes] == ["mirror_passed_over"]


async def test_what_the_registry_says_counts_in_the_end() -> None:
    async with fake_origin(says(404)) as mirror, fake_origin(says(403)) as own:
        async with client_of(own, mirror.url) as client:
            with pytest.raises(OriginStatus) as caught:
                await client.head_blob(source())
        assert caught.value.status == 403


async def test_a_mirror_that_is_away_is_not_asked_again_for_a_while() -> None:
    notes: list[Note] = []
    async with fake_origin(GOOD) as own, client_of(own, "http://127.0.0.1:1", notes=notes) as client:
        assert [await read(client, source()) for _ in range(3)] == [BODY] * 3
    assert len(notes) == 1


async def test_a_mirror_whose_body_is_cut_is_passed_over() -> None:
    async def cut(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        response.content_length = len(BODY)
        await response.prepare(request)
        await response.write(BODY[:2])
        assert request.transport is not None
        request.transport.close()
        return response

    async with fake_origin(cut) as mirror, fake_origin(GOOD) as own, client_of(own, mirror.url) as client:
        with pytest.raises(OriginCut):
            await read(client, source())
        assert await read(client, source()) == BODY
        assert (len(mirror.seen), len(own.seen)) == (1, 1)


@pytest.mark.parametrize("error", [WrongSize(7, 8), OriginContent("not what it should be")])
async def test_a_mirror_whose_body_its_reader_finds_wrong_is_passed_over(error: Exception) -> None:
    notes: list[Note] = []
    async with (
        fake_origin(says(200, b"other")) as mirror,
        fake_origin(GOOD) as own,
        client_of(own, mirror.url, notes=notes) as client,
    ):
        with pytest.raises(type(error)):
            async with client.fetch(source(), 0, None):
                raise error
        assert await read(client, source()) == BODY
    assert [note.name for note in notes] == ["mirror_passed_over"]


async def test_a_mirror_whose_silence_was_not_waited_for_is_passed_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A fetch's own time-out is often shorter than origin.read_timeout_s."""
    monkeypatch.setattr(origin_client, "SILENT_S", 0.05)
    forever = asyncio.Event()

    async def hang(request: web.BaseRequest) -> web.StreamResponse:
        await forever.wait()
        return web.Response()

    async with fake_origin(hang) as mirror, fake_origin(GOOD) as own, client_of(own, mirror.url) as client:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(read(client, source()), 0.1)
        assert await asyncio.wait_for(read(client, source()), 5) == BODY
        forever.set()


async def test_past_its_mirrors_the_registry_itself_is_asked() -> None:
    async with fake_origin(says(200, b"other!!")) as mirror, fake_origin(GOOD) as own:
        async with client_of(own, mirror.url) as client:
            assert await read(client, replace(source(), past_mirrors=True)) == BODY
        assert not mirror.seen


async def test_a_mirror_that_this_host_cannot_ask_is_passed_over(tmp_path: Path) -> None:
    account = {"ca_file": str(tmp_path / "gone.pem")}
    async with fake_origin(GOOD) as own, client_of(own, "https://127.0.0.1:9/hub", account=account) as client:
        assert await read(client, source()) == BODY


async def test_a_clients_credential_goes_to_the_registry_alone() -> None:
    async with fake_origin(GOOD) as mirror, fake_origin(GOOD) as own:
        async with client_of(own, mirror.url) as client:
            await client.head_blob(source("Bearer clients"))
            assert not mirror.seen, "its yes would prove nothing of the client"
            assert await read(client, source("Bearer clients")) == BODY
        assert [seen.all("Authorization") for seen in own.seen] == [["Bearer clients"]]
        assert [seen.all("Authorization") for seen in mirror.seen] == [[]]


async def test_a_mirror_is_asked_with_the_account_that_is_for_it(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("pw")
    account = {"username": "ann", "password_file": str(tmp_path / "secret")}
    refusal = says(401, b"", ("WWW-Authenticate", 'Basic realm="x"'))
    async with fake_origin(refusal, GOOD) as mirror, fake_origin(says(500)) as own:
        async with client_of(own, f"{mirror.url}/hub", account=account) as client:
            assert await read(client, source()) == BODY
        assert mirror.seen[1].all("Authorization")[0].startswith("Basic ")


async def test_a_strangers_question_is_asked_of_a_mirror_as_a_stranger(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("pw")
    account = {"username": "ann", "password_file": str(tmp_path / "secret")}
    refusal = says(401, b"", ("WWW-Authenticate", 'Basic realm="x"'))
    async with (
        fake_origin(refusal) as mirror,
        fake_origin(GOOD) as own,
        client_of(own, f"{mirror.url}/hub", account=account) as client,
    ):
        await client.head_blob(source())
        assert [seen.all("Authorization") for seen in mirror.seen] == [[]]
        await client.head_blob(source(THIS_HOST))
        assert len(mirror.seen[-1].all("Authorization")) == 1


async def test_names_of_repositories_are_those_of_the_registry() -> None:
    async with fake_origin(GOOD) as origin:
        entry = RegistryConfig(name="r.test", url=origin.url, rewrites=("^team/(.*)$ => other/$1",))
        client = OriginClient(OriginConfig(registries=(entry,)), Dice(1))
        await client.head_blob(source())
        await client.close()
        assert origin.seen[0].path == f"/v2/other/app/blobs/{DIGEST}"
