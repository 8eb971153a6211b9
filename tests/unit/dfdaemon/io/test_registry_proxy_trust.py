"""A client that runs a registry of its own, and lets it claim somebody's private content."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from benchmarks.io.image import MEDIA_MANIFEST, Image, generate_image
from benchmarks.io.origin_registry import OriginRegistry, OriginSettings
from benchmarks.origin.access import AccessPolicy, Account, AuthMode, basic_header
from swarm.digest import Digest
from tests.support.fake_origin import FakeOrigin, fake_origin
from tests.support.mirror import Mirror, content_of, running_mirror

EVIL = "evil.example"
ANN = ("Authorization", basic_header("ann", "s3cret"))


class Liar:
    """Says yes to everything: HEAD tells the true size, which is known; GET sends what it has, as long as that."""

    def __init__(self, image: Image) -> None:
        self._image = image
        self.extra: dict[str, bytes] = {}

    def body(self, digest: str) -> bytes:
        """What it sends under a digest."""
        return self.extra.get(digest) or b"?" * len(content_of(self._image, digest))

    def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        digest = request.path.rpartition("/")[2]
        headers = {"Docker-Content-Digest": digest, "Content-Type": MEDIA_MANIFEST}
        return web.Response(body=self.body(digest), headers=headers)


@pytest.fixture(scope="module")
def private(tmp_path_factory: pytest.TempPathFactory) -> Image:
    return generate_image(tmp_path_factory.mktemp("image"), "team/private", "v1", [20_000])


@pytest.fixture
def liar(private: Image) -> Liar:
    return Liar(private)


@pytest.fixture
async def evil(liar: Liar) -> AsyncIterator[FakeOrigin]:
    async with fake_origin(liar) as origin:
        yield origin


@pytest.fixture
async def mirror(private: Image, evil: FakeOrigin, tmp_path: Path) -> AsyncIterator[Mirror]:
    """A mirror that ann has pulled her private image through."""
    policy = AccessPolicy(AuthMode.BASIC, {"ann": Account("s3cret")})
    async with (
        OriginRegistry([private], OriginSettings(access=policy)) as registry,
        running_mirror(registry, tmp_path, strangers={EVIL: evil.url}) as running,
    ):
        for digest in private.root_digest, *(blob.digest for blob in private.blobs):
            kind = "manifests" if digest == private.root_digest else "blobs"
            answer = await running.get(f"/v2/team/private/{kind}/{digest}", ANN)
            assert answer.body == content_of(private, digest)
        yield running


async def test_its_word_opens_no_copy_of_others(mirror: Mirror, liar: Liar, private: Image) -> None:
    for blob in private.blobs:
        for headers in (), (ANN,):
            answer = await mirror.get(f"/v2/x/blobs/{blob.digest}", *headers, registry=EVIL)
            assert answer.body == liar.body(blob.digest), "what it has itself; the store would not take it"
            ranged = await mirror.get(f"/v2/x/blobs/{blob.digest}", ("Range", "bytes=0-9"), registry=EVIL)
            assert ranged.body == b"?" * 10
    answer = await mirror.get(f"/v2/x/manifests/{private.root_digest}", registry=EVIL)
    assert answer.status == 502, "a manifest is checked before it is sent"


async def test_its_manifest_opens_no_copy_either(mirror: Mirror, liar: Liar, private: Image) -> None:
    layer = private.layers[0]
    listed = {
        "mediaType": "application/vnd.oci.image.layer.v1.tar",
        "digest": layer.digest,
        "size": layer.size,
    }
    body = json.dumps({"mediaType": MEDIA_MANIFEST, "layers": [listed]}).encode()
    manifest = str(Digest.of(body))
    liar.extra[manifest] = body
    assert (await mirror.get(f"/v2/x/manifests/{manifest}", registry=EVIL)).body == body
    answer = await mirror.get(f"/v2/x/blobs/{layer.digest}", registry=EVIL)
    assert answer.body == liar.body(layer.digest)


async def test_ann_still_gets_hers(mirror: Mirror, private: Image) -> None:
    layer = private.layers[0].digest
    await mirror.get(f"/v2/x/blobs/{layer}", registry=EVIL)
    assert (await mirror.get(f"/v2/team/private/blobs/{layer}", ANN)).body == content_of(private, layer)
    assert {source.scope for source in mirror.blobs.sources} == {"", EVIL}
    assert len(mirror.blobs.blobs) == 4, "its layer has a name of its own"
