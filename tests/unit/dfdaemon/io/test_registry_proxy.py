"""The mirror as containerd, skopeo and CRI-O use it, over real sockets, with the embedded origin behind it."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from benchmarks.io.image import MEDIA_INDEX, MEDIA_MANIFEST, Image, generate_image
from benchmarks.io.origin_registry import OriginRegistry, OriginSettings
from benchmarks.origin.access import AccessPolicy, Account, AuthMode
from benchmarks.origin.faults import Fault, FaultKind, Where
from dfdaemon.io.origin_client import MANIFEST_TYPES
from swarm.digest import Digest
from swarm.layers import Layer
from tests.support.fake_origin import fake_origin
from tests.support.mirror import REGISTRY, Mirror, ask, content_of, running_mirror
from tests.support.processes import free_port

ACCEPT = ("Accept", ", ".join((*MANIFEST_TYPES, "*/*")))
LAYER_BYTES = 3_000_000


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    directory = tmp_path_factory.mktemp("image")
    return generate_image(directory, "team/app", "v1", [LAYER_BYTES, 1000], with_index=True)


@pytest.fixture
async def origin(image: Image) -> AsyncIterator[OriginRegistry]:
    async with OriginRegistry([image]) as registry:
        yield registry


@pytest.fixture
async def mirror(origin: OriginRegistry, tmp_path: Path) -> AsyncIterator[Mirror]:
    async with running_mirror(origin, tmp_path) as running:
        yield running


async def test_ping_is_answered_by_the_mirror_itself(mirror: Mirror, origin: OriginRegistry) -> None:
    answer = await mirror.ask("GET", "/v2/")
    assert (answer.status, answer.body) == (200, b"{}")
    assert answer.header("Docker-Distribution-Api-Version") == "registry/2.0"
    assert not origin.counters.requests


async def test_all_addresses_of_ipv6_take_ipv4_too(origin: OriginRegistry, tmp_path: Path) -> None:
    async with running_mirror(origin, tmp_path, listen=f"[::]:{free_port()}") as mirror:
        assert (
            await mirror.ask("GET", "/v2/")
        ).status == 200  # at 127.0.0.1, of which `configure` tells runtimes
        _, writer = await asyncio.open_connection("::1", mirror.port)
        writer.close()


async def test_a_ping_that_means_a_registry_gets_its_answer(image: Image, tmp_path: Path) -> None:
    policy = AccessPolicy(AuthMode.BASIC, {"ann": Account("secret")})
    async with OriginRegistry([image], OriginSettings(access=policy)) as origin:
        async with running_mirror(origin, tmp_path) as mirror:
            answer = await mirror.get("/v2/")
            assert (answer.status, answer.all("WWW-Authenticate")[0][:5]) == (401, "Basic")
            assert (await mirror.ask("GET", "/v2/")).status == 200
        async with running_mirror(origin, tmp_path, ping_registry=True) as mirror:
            assert (await mirror.ask("GET", "/v2/")).status == 401


async def test_a_pull_as_containerd_does_it(mirror: Mirror, origin: OriginRegistry, image: Image) -> None:
    head = await mirror.head("/v2/team/app/manifests/v1", ACCEPT)
    assert head.status == 200
    assert head.header("Docker-Content-Digest") == image.root_digest
    assert head.header("Content-Type") == MEDIA_INDEX
    assert head.header("Content-Length") == str(len(content_of(image, image.root_digest)))
    for digest in (image.root_digest, image.manifest_digest):
        manifest = await mirror.get(f"/v2/team/app/manifests/{digest}", ACCEPT)
        assert (manifest.status, manifest.body) == (200, content_of(image, digest))
    assert manifest.header("Content-Type") == MEDIA_MANIFEST
    for blob in image.blobs:
        got = await mirror.get(f"/v2/team/app/blobs/{blob.digest}")
        assert (got.status, got.body) == (200, content_of(image, blob.digest))
        assert got.header("Content-Length") == str(blob.size)
        assert got.header("Accept-Ranges") == "bytes"
        assert got.header("ETag") == f'"{blob.digest}"'
        assert got.header("OCI-Namespace") == REGISTRY
        assert got.header("Content-Type") == "application/octet-stream"
        assert got.header("Content-Encoding") is None
    assert origin.counters.requests["HEAD blob"] == len(image.blobs), (
        "that an index lists a manifest does not prove that the registry checked it"
    )
    assert origin.counters.manifest_gets == {image.root_digest: 1, image.manifest_digest: 1}
    read = mirror.blobs.layers[-len(image.blobs) :]
    assert read == [Layer(image.manifest_digest, place) for place in range(len(image.blobs))]
    assert mirror.blobs.open_readers == 0


async def test_a_tag_by_get_costs_a_head_and_comes_by_digest(
    mirror: Mirror, origin: OriginRegistry, image: Image
) -> None:
    for _ in range(2):
        answer = await mirror.get("/v2/team/app/manifests/v1", ACCEPT)
        assert (answer.status, answer.body) == (200, content_of(image, image.root_digest))
    assert origin.counters.requests["HEAD manifest by tag"] == 2
    assert origin.counters.requests["GET manifest by tag"] == 0
    assert origin.counters.requests["GET manifest by digest"] == 1


async def test_six_accept_lines_of_skopeo_reach_the_origin(mirror: Mirror, image: Image) -> None:
    types = ["a/b", "c/d", "e/f", "g/h", MEDIA_MANIFEST, MEDIA_INDEX]
    accept = [("Accept", kind) for kind in types]
    answer = await mirror.ask("GET", "/v2/team/app/manifests/v1", accept)
    assert (answer.status, answer.body) == (200, content_of(image, image.root_digest))
    assert mirror.blobs.sources[0].accept == tuple(types)


async def test_the_path_form_of_podman(mirror: Mirror, image: Image) -> None:
    digest = image.layers[0].digest
    answer = await mirror.ask("GET", f"/v2/{REGISTRY}/team/app/blobs/{digest}")
    assert (answer.status, answer.body) == (200, content_of(image, digest))


@pytest.mark.parametrize(
    ("header", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=1000000-", 1_000_000, None),
        ("bytes=100-2000099", 100, 2_000_100),
        ("bytes=-10", -10, None),
    ],
)
async def test_a_range(mirror: Mirror, image: Image, header: str, start: int, end: int | None) -> None:
    layer = image.layers[0]
    answer = await mirror.get(f"/v2/team/app/blobs/{layer.digest}", ("Range", header))
    expected = content_of(image, layer.digest)[start:end]
    first = start % layer.size
    assert answer.status == 206
    assert answer.header("Content-Range") == f"bytes {first}-{first + len(expected) - 1}/{layer.size}"
    assert answer.body == expected


async def test_a_range_beyond_the_end(mirror: Mirror, image: Image) -> None:
    layer = image.layers[0]
    answer = await mirror.get(f"/v2/team/app/blobs/{layer.digest}", ("Range", f"bytes={layer.size}-"))
    assert answer.status == 416
    assert answer.header("Content-Range") == f"bytes */{layer.size}"
    assert answer.error["code"] == "RANGE_INVALID"
    assert not mirror.blobs.readers


@pytest.mark.parametrize(
    "headers",
    [[("Range", "bytes=0-1,5-a")], [("Range", "lines=1-2")], [("Range", "bytes=0-1"), ("If-Range", '"x"')]],
)
async def test_what_is_not_one_range_gets_the_whole(
    mirror: Mirror, image: Image, headers: list[tuple[str, str]]
) -> None:
    layer = image.layers[1]
    answer = await mirror.get(f"/v2/team/app/blobs/{layer.digest}", *headers)
    assert (answer.status, len(answer.body)) == (200, layer.size)


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/v2/team/app/blobs/md5:d41d8cd98f00b204e9800998ecf8427e", "DIGEST_INVALID"),
        ("/v2/team/app/blobs/sha256:abc", "DIGEST_INVALID"),
        ("/v2/team/app/manifests/.hidden", "NAME_INVALID"),
        ("/v2/TEAM/app/manifests/v1", "NAME_INVALID"),
        ("/v2/team/../other/manifests/v1", "NAME_INVALID"),
        ("/v2/team//app/manifests/v1", "NAME_INVALID"),
        ("/v2/team%2fapp/manifests/v1", "NAME_INVALID"),
        ("/v2/team/app%00/manifests/v1", "NAME_INVALID"),
        ("/v2/team/%2e%2e/app/manifests/v1", "NAME_INVALID"),
        ("/v2/team/app/manifests/v1?ns=a%2Fb", "NAME_INVALID"),
        ("/v2/team/app/manifests/v1?ns=a&ns=b", "NAME_INVALID"),
        ("/etc/passwd", "NAME_INVALID"),
    ],
)
async def test_bad_input_changes_nothing(
    mirror: Mirror, origin: OriginRegistry, path: str, code: str
) -> None:
    answer = await mirror.ask("GET", path)
    assert answer.status == 400
    assert answer.error["code"] == code
    assert answer.error["message"]
    assert answer.error["detail"]
    assert not origin.counters.requests
    assert not mirror.blobs.sources


async def test_too_many_header_bytes(mirror: Mirror, origin: OriginRegistry) -> None:
    headers = [(f"X-{number}", "x" * 4000) for number in range(5)]
    answer = await mirror.ask("GET", "/v2/team/app/tags/list", headers)
    assert answer.status == 400
    assert not origin.counters.requests


async def test_an_address_that_is_too_long(mirror: Mirror) -> None:
    answer = await mirror.ask("GET", "/v2/" + "a" * 9000)
    assert answer.status == 400


async def test_more_clients_than_allowed(origin: OriginRegistry, tmp_path: Path) -> None:
    async with running_mirror(origin, tmp_path, connections_max=1) as mirror:
        _, writer = await asyncio.open_connection("127.0.0.1", mirror.port)
        writer.write(b"GET /v2/ HTTP/1.1\r\nHost: m\r\n\r\n")
        await writer.drain()
        answer = await ask(mirror.port, "GET", "/v2/")
        assert answer.status == 503
        assert answer.header("Connection") == "close"
        writer.close()
        await writer.wait_closed()


async def test_a_registry_that_is_not_listed(origin: OriginRegistry, tmp_path: Path) -> None:
    async with running_mirror(origin, tmp_path) as mirror:
        answer = await mirror.ask("GET", "/v2/a/manifests/v1?ns=127.0.0.1:1")
        assert answer.status == 403
        assert answer.error["code"] == "DENIED"
        assert "private" in answer.error["message"]


@pytest.mark.parametrize("ring", [False, True])
async def test_the_body_follows_the_download(
    origin: OriginRegistry, tmp_path: Path, image: Image, ring: bool
) -> None:
    layer = image.layers[0]
    content = content_of(image, layer.digest)
    async with running_mirror(origin, tmp_path, ring=ring) as mirror:
        mirror.blobs.fetches = False
        asked = asyncio.create_task(mirror.get(f"/v2/team/app/blobs/{layer.digest}"))
        await mirror.blobs.opened.wait()
        blob = mirror.blobs.readers[0].blob
        await blob.advance(0)
        os.pwrite(blob.file.fd, content, 0)
        for readable in (1, 600_000, 600_001, layer.size):
            await blob.advance(readable)
            await mirror.blobs.readers[0].reached(readable)
        answer = await asked
        assert (answer.status, answer.body) == (200, content)


async def test_a_download_that_fails_in_the_middle_ends_before_its_length(
    mirror: Mirror, origin: OriginRegistry, image: Image
) -> None:
    layer = image.layers[0]
    origin.faults.append(Fault(FaultKind.CUT_FIN, at_bytes=1_000_000))
    answer = await mirror.get(f"/v2/team/app/blobs/{layer.digest}")
    assert answer.status == 200
    assert answer.header("Content-Length") == str(layer.size)
    assert not answer.whole
    assert content_of(image, layer.digest).startswith(answer.body)
    assert [note.name for note in mirror.notes] == ["body_ended_early"]
    rest = await mirror.get(f"/v2/team/app/blobs/{layer.digest}", ("Range", f"bytes={len(answer.body)}-"))
    assert (rest.status, answer.body + rest.body) == (206, content_of(image, layer.digest))


@pytest.mark.parametrize(
    ("status", "retry_after", "expected"),
    [(401, None, 401), (403, None, 403), (404, None, 404), (429, 7, 503), (500, None, 502), (503, 3, 503)],
)
async def test_a_refusal_of_the_origin(
    mirror: Mirror, origin: OriginRegistry, image: Image, status: int, retry_after: int | None, expected: int
) -> None:
    fault = Fault(
        FaultKind.STATUS, times=None, method="*", status=status, retry_after_s=retry_after, where=Where.BLOB
    )
    origin.faults.append(fault)
    answer = await mirror.get(f"/v2/team/app/blobs/{image.layers[0].digest}")
    assert answer.status == expected
    assert answer.header("Retry-After") == (None if retry_after is None else str(retry_after))
    assert answer.error["message"]
    assert answer.header("Content-Length") == str(len(answer.body))


async def test_wrong_content_of_a_manifest_is_not_served(
    mirror: Mirror, origin: OriginRegistry, image: Image
) -> None:
    origin.faults.append(Fault(FaultKind.WRONG_BYTE, where=Where.MANIFEST, at_bytes=5))
    answer = await mirror.get("/v2/team/app/manifests/v1", ACCEPT)
    assert answer.status == 502
    assert image.root_digest in answer.error["message"]


async def test_an_empty_answer_length_is_found_out_by_asking(
    mirror: Mirror, origin: OriginRegistry, image: Image
) -> None:
    layer = image.layers[0]
    origin.faults.append(Fault(FaultKind.NO_LENGTH, times=None))
    answer = await mirror.get(f"/v2/team/app/blobs/{layer.digest}")
    assert (answer.status, answer.body) == (200, content_of(image, layer.digest))


async def test_head_of_a_blob(mirror: Mirror, image: Image) -> None:
    layer = image.layers[0]
    answer = await mirror.head(f"/v2/team/app/blobs/{layer.digest}")
    assert (answer.status, answer.header("Content-Length"), answer.body) == (200, str(layer.size), b"")
    assert not mirror.blobs.readers


@pytest.mark.parametrize("headers", [(), (("Authorization", "Basic eDp5"),)])
async def test_a_client_that_pushes_learns_what_the_registry_has_removed(
    tmp_path: Path, headers: tuple[tuple[str, str], ...]
) -> None:
    """It uploads what is not there; a layer of yesterday would make each push of its image fail."""
    body, removed = b"content", False

    def answer(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=404) if removed else web.Response(body=body)

    path = f"/v2/team/app/blobs/{Digest.of(body)}"
    async with fake_origin(answer) as origin, running_mirror(origin, tmp_path) as mirror:
        assert (await mirror.get(path, *headers)).body == body
        assert (await mirror.head(path, *headers)).status == 200
        removed = True
        assert (await mirror.head(path, *headers)).status == 404
        assert (await mirror.get(path, *headers)).status == 404, "nor is it known any more"
        removed = False
        assert (await mirror.head(path, *headers)).status == 200


@pytest.mark.parametrize("outage", ["allow-known", "deny"])
async def test_in_an_outage_head_of_a_blob_is_answered_from_what_is_known(
    tmp_path: Path, outage: str
) -> None:
    body, down = b"content", False

    def answer(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=503) if down else web.Response(body=body)

    path = f"/v2/team/app/blobs/{Digest.of(body)}"
    async with fake_origin(answer) as origin, running_mirror(origin, tmp_path, outage=outage) as mirror:
        assert (await mirror.head(path)).status == 200
        down = True
        answered = await mirror.head(path)
        assert (answered.status, answered.header("Content-Length")) == (200, "7")


async def test_a_second_client_asks_the_origin_nothing(
    mirror: Mirror, origin: OriginRegistry, image: Image
) -> None:
    path = f"/v2/team/app/blobs/{image.layers[0].digest}"
    await mirror.get(path)
    before = origin.counters.as_json()
    assert (await mirror.get(path)).status == 200
    assert origin.counters.as_json() == before


async def test_stopping_lets_answers_finish(origin: OriginRegistry, tmp_path: Path, image: Image) -> None:
    layer = image.layers[0]
    async with running_mirror(origin, tmp_path) as mirror:
        mirror.blobs.fetches = False
        asked = asyncio.create_task(mirror.get(f"/v2/team/app/blobs/{layer.digest}"))
        await mirror.blobs.opened.wait()
        stopping = asyncio.create_task(mirror.proxy.close(10))
        await asyncio.sleep(0)
        blob = mirror.blobs.readers[0].blob
        await blob.fetch(mirror.origin, mirror.blobs.sources[0])
        answer = await asked
        assert (answer.status, answer.body) == (200, content_of(image, layer.digest))
        await stopping
        with pytest.raises(OSError, match="Connect call failed"):
            await mirror.ask("GET", "/v2/")


@pytest.mark.parametrize("method", ["TRACE", "CONNECT", "PROPFIND"])
async def test_a_method_that_no_registry_has(mirror: Mirror, origin: OriginRegistry, method: str) -> None:
    answer = await mirror.ask(method, f"/v2/team/app/manifests/v1?ns={REGISTRY}")
    assert (answer.status, answer.error["code"]) == (405, "UNSUPPORTED")
    assert not origin.counters.requests
