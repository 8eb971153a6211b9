"""A client that runs a registry of its own, and lets it claim somebody's private content."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from benchmarks.io.image import MEDIA_MANIFEST, Image, generate_image
from benchmarks.io.origin_registry import OriginRegistry, OriginSettings
from benchmarks.origin.access import AccessPolicy, Account, AuthMode, basic_header
from swarm.digest import Digest
from tests.support.fake_origin import FakeOrigin, fake_origin, says
from tests.support.mirror import Mirror, content_of, running_mirror

EVIL = "evil.example"
ANN = ("Authorization", basic_header("ann", "s3cret"))
LIE = b"bytes of the attacker's"


@pytest.fixture(scope="module")
def private(tmp_path_factory: pytest.TempPathFactory) -> Image:
    return generate_image(tmp_path_factory.mktemp("image"), "team/private", "v1", [20_000])


@pytest.fixture
async def evil() -> AsyncIterator[FakeOrigin]:
    """It says yes to everything, and sends what it has."""
    async with fake_origin(says(200, LIE, ("Content-Type", MEDIA_MANIFEST))) as origin:
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


async def test_its_word_opens_no_copy_of_others(mirror: Mirror, evil: FakeOrigin, private: Image) -> None:
    layer = private.layers[0].digest
    ranged = ("Range", "bytes=0-9")
    for path in f"blobs/{layer}", f"blobs/{private.config.digest}", f"manifests/{private.root_digest}":
        for headers in (), (ranged,), (ANN,):
            answer = await mirror.get(f"/v2/x/{path}", *headers, registry=EVIL)
            assert answer.body == LIE, "it gets what it has itself"
            head = await mirror.ask("HEAD", f"/v2/x/{path}?ns={EVIL}", headers)
            assert head.header("ETag") is None
    assert {request.method for request in evil.seen} == {"GET", "HEAD"}


async def test_its_manifest_opens_no_copy_either(mirror: Mirror, evil: FakeOrigin, private: Image) -> None:
    layer = private.layers[0]
    listed = {
        "mediaType": "application/vnd.oci.image.layer.v1.tar",
        "digest": layer.digest,
        "size": layer.size,
    }
    body = json.dumps({"mediaType": MEDIA_MANIFEST, "layers": [listed]}).encode()
    digest = ("Docker-Content-Digest", str(Digest.of(body)))
    evil.answers[:] = [says(200, body, ("Content-Type", MEDIA_MANIFEST), digest)]
    for reference in "v1", digest[1]:
        assert (await mirror.get(f"/v2/x/manifests/{reference}", registry=EVIL)).body == body
    evil.answers[:] = [says(200, LIE)]
    assert (await mirror.get(f"/v2/x/blobs/{layer.digest}", registry=EVIL)).body == LIE
    mirror.authoriser.knowledge.close()
    assert EVIL not in {report.registry for report in mirror.cluster.repositories}, "nobody else hears it"
    assert not mirror.cluster.tags
