"""Blobs by digest through the mirror of a whole daemon, where the store holds something odd."""

import asyncio
import errno
import os
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from benchmarks.io.image import MEDIA_MANIFEST, Image, blob_path, generate_image
from benchmarks.io.origin_registry import OriginRegistry
from dfdaemon.io import proxy_blobs
from swarm.digest import Digest
from swarm.pieces import PIECE_BYTES_MIN
from tests.support.daemon import REGISTRY, RunningDaemon, daemon_config, running_daemon
from tests.support.fake_origin import fake_origin
from tests.support.mirror import running_mirror
from tests.support.processes import short_directory

MIB = 1 << 20


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    return generate_image(tmp_path_factory.mktemp("image"), "demo/app", "v1", [2 * MIB])


@pytest.fixture
async def running(image: Image) -> AsyncIterator[RunningDaemon]:
    async with OriginRegistry([image]) as origin:
        with short_directory() as folder:
            async with running_daemon(daemon_config(folder, origin.url)) as daemon:
                yield daemon


async def get(running: RunningDaemon, digest: str) -> tuple[int, bytes]:
    """Ask the mirror for a layer."""
    url = f"http://{running.mirror.host}:{running.mirror.port}/v2/demo/app/blobs/{digest}?ns={REGISTRY}"
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return answer.status, await answer.read()


async def test_the_size_of_a_part_on_disk_is_not_believed(running: RunningDaemon, image: Image) -> None:
    layer = image.layers[0]
    await running.daemon.store.open(Digest.parse(layer.digest).task, 10)
    assert await get(running, layer.digest) == (200, blob_path(image.directory, layer.digest).read_bytes())


async def test_a_file_that_is_too_short_is_refused_for_a_moment(
    running: RunningDaemon, image: Image, tmp_path: Path
) -> None:
    layer = image.layers[0]
    task = Digest.parse(layer.digest).task
    assert (await get(running, layer.digest))[0] == 200
    file = running.daemon.store.file(task)
    Path(f"/proc/self/fd/{file.fd}").write_bytes(b"")
    file.release()
    with pytest.raises(aiohttp.ClientPayloadError):
        await get(running, layer.digest)
    status, _ = await get(running, layer.digest)
    assert status == 503, "the client goes on at the origin"
    found = await running.daemon.store.verify(task)
    assert found is not None
    assert not found.complete, "what is damaged was found out"
    assert task not in running.daemon.driver.machine.held


@pytest.mark.parametrize("ranges", [None, "bytes=0-9,100-109"], ids=["manifest", "ranges"])
async def test_a_disk_that_gives_nothing_has_its_blob_looked_at(
    image: Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ranges: str | None
) -> None:
    def fail(*_: int) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    layer = f"/v2/demo/app/blobs/{image.layers[0].digest}"
    path = layer if ranges else f"/v2/demo/app/manifests/{image.manifest_digest}"
    async with OriginRegistry([image]) as origin, running_mirror(origin, tmp_path) as mirror:
        assert (await mirror.get(path)).status == 200
        (task,) = mirror.blobs.blobs
        blob = mirror.blobs.blobs[task]
        monkeypatch.setattr(os, "pread", fail)
        answer = await mirror.get(path, *([("Range", ranges)] if ranges else []))
        assert (answer.status, answer.whole) == ((206, False) if ranges else (503, True))
        assert task not in mirror.blobs.blobs, "it was reported as broken"
        blob.file.release()


async def test_a_manifest_that_changed_on_the_disk_is_found_out(running: RunningDaemon, image: Image) -> None:
    task = Digest.parse(image.manifest_digest).task
    address = f"{running.mirror.host}:{running.mirror.port}"
    url = f"http://{address}/v2/demo/app/manifests/{image.manifest_digest}?ns={REGISTRY}"
    async with aiohttp.ClientSession(headers={"Accept": MEDIA_MANIFEST}) as session:
        assert (await session.get(url)).status == 200
        file = running.daemon.store.file(task)
        os.pwrite(file.fd, b"damage", 0)
        file.release()
        assert (await session.get(url)).status == 502
    found = await running.daemon.store.verify(task)
    assert found is not None
    assert not found.complete


async def test_a_small_range_of_a_large_blob_costs_its_pieces_and_the_rest_comes_when_it_is_wanted(
    tmp_path: Path,
) -> None:
    large = generate_image(tmp_path, "demo/app", "v1", [12 * MIB], seed=3)
    layer = large.layers[0]
    content = blob_path(large.directory, layer.digest).read_bytes()
    async with OriginRegistry([large]) as origin:
        with short_directory() as folder:
            async with running_daemon(daemon_config(folder, origin.url)) as daemon:
                for ranges, parts in (("bytes=7000000-7000009", 1), ("bytes=0-9,11000000-11000009", 2)):
                    url = f"http://{daemon.mirror.host}:{daemon.mirror.port}/v2/demo/app/blobs/{layer.digest}"
                    headers = {"Range": ranges}
                    async with (
                        aiohttp.ClientSession() as session,
                        session.get(f"{url}?ns={REGISTRY}", headers=headers) as answer,
                    ):
                        body = await answer.read()
                        assert answer.status == 206
                        assert (parts == 1) == (body == content[7000000:7000010])
                assert origin.counters.blob_bytes[layer.digest] == 3 * PIECE_BYTES_MIN, "three pieces"
                assert await get(daemon, layer.digest) == (200, content)
                assert origin.counters.blob_bytes[layer.digest] == layer.size, "each byte once"


async def test_a_client_that_takes_nothing_of_a_body_without_a_size_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proxy_blobs, "CLIENT_TIMEOUT_S", 0.05)
    given_up = asyncio.Event()

    async def endless(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        try:
            while request.method == "GET":
                await response.write(bytes(MIB))
        finally:
            if request.method == "GET":
                given_up.set()
        return response

    async with fake_origin(endless) as origin, running_mirror(origin, tmp_path) as mirror:
        _, writer = await asyncio.open_connection("127.0.0.1", mirror.port, limit=1024)
        path = f"/v2/demo/app/blobs/{Digest.of(b'endless')}?ns={REGISTRY}"
        writer.write(f"GET {path} HTTP/1.1\r\nHost: mirror\r\n\r\n".encode())
        async with asyncio.timeout(10):
            while not mirror.noted("client_left"):  # before that it is only asked for its size
                given_up.clear()
                await given_up.wait()
        writer.transport.abort()
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)


async def test_a_blob_that_is_named_by_its_sha512(tmp_path: Path) -> None:
    content = bytes(range(256)) * 8000
    digest = Digest.of(content, "sha512")

    def answer(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(body=content if request.path.endswith(str(digest)) else b"", status=200)

    async with fake_origin(answer) as origin:
        with short_directory() as folder:
            async with running_daemon(daemon_config(folder, origin.url)) as daemon:
                assert await get(daemon, str(digest)) == (200, content)
                found = daemon.daemon.store.get(digest.task)
                assert found is not None
                assert found.complete, "its own digest was checked"


async def test_a_token_that_ended_since_the_last_yes_is_asked_for_again_as_the_registry_does() -> None:
    content = b"layer" * MIB
    digest, other = Digest.of(content), Digest.of(b"first")
    ended = False

    def answer(request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/token":
            return web.json_response({"token": "anybody"})
        if ended or request.headers.get("Authorization") != "Bearer short":
            challenge = f'Bearer realm="http://{request.host}/token",service="r"'
            return web.Response(status=401, headers={"WWW-Authenticate": challenge})
        return web.Response(body=content if str(digest) in request.path else b"first")

    async with fake_origin(answer) as origin:
        with short_directory() as folder:
            async with running_daemon(daemon_config(folder, origin.url)) as daemon:
                address = f"http://{daemon.mirror.host}:{daemon.mirror.port}/v2/demo/app/blobs"
                headers = {"Authorization": "Bearer short"}
                async with aiohttp.ClientSession(headers=headers) as session:
                    for each in (other, digest):
                        async with session.head(f"{address}/{each}?ns={REGISTRY}") as found:
                            assert found.status == 200
                    ended = True
                    async with session.get(f"{address}/{digest}?ns={REGISTRY}") as refused:
                        assert refused.status == 401, await refused.text()
                        assert refused.headers["WWW-Authenticate"].startswith("Bearer realm=")
                    ended = False


async def test_content_that_is_not_empty_is_not_served_as_empty(tmp_path: Path) -> None:
    def answer(request: web.BaseRequest) -> web.StreamResponse:
        if request.method == "HEAD":
            return web.Response(headers={"Content-Length": "0"})
        return web.Response(status=416, headers={"Content-Range": "bytes */0"})

    async with fake_origin(answer) as origin, running_mirror(origin, tmp_path) as mirror:
        refused = await mirror.get(f"/v2/demo/app/blobs/{Digest.of(b'content')}")
        assert (refused.status, "is empty, and it is not" in refused.error["message"]) == (502, True)
        nothing = await mirror.get(f"/v2/demo/app/blobs/{Digest.of(b'')}")
        assert (nothing.status, nothing.body) == (200, b"")
