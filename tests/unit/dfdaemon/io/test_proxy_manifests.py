"""What a manifest proves of what it lists: only what its registry checked when it took it."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from dfdaemon.descriptors import INDEX, MANIFEST
from dfdaemon.io.origin_client import MANIFEST_TYPES
from swarm.digest import Digest
from swarm.repositories import RepositoryAnswer
from tests.support.fake_origin import FakeOrigin, fake_origin
from tests.support.mirror import REGISTRY, Mirror, running_mirror

OWN, OTHER = "eve/stuff", "team/private"
EVE, ANN = ("Authorization", "Basic eve"), ("Authorization", "Basic ann")
ALL = ("Accept", ", ".join(MANIFEST_TYPES))
LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER = "application/vnd.docker.distribution.manifest.v2+json"
SECRET = b"ann's layer"
LAYER = {"mediaType": "layer", "digest": str(Digest.of(SECRET)), "size": len(SECRET)}
FAKE = json.dumps({"mediaType": MANIFEST, "layers": [LAYER]}).encode()
FAKE_DIGEST = str(Digest.of(FAKE))


@dataclass
class Registry:
    """Eve's repository has a tag `x`, and ann's a blob; each answers to its owner only.

    Like distribution it gives under /manifests/ what is there as a blob, and calls it what it looks like.
    """

    body: bytes = FAKE
    media_type: str = MANIFEST
    tagged: bool = True
    own: bytes | None = None

    def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        who = request.headers.get("Authorization")
        if who not in (EVE[1], ANN[1]):
            return web.Response(status=401)
        digest = str(Digest.of(self.body))
        found = {f"/v2/{OTHER}/blobs/{LAYER['digest']}": (SECRET, "a/b")} if who == ANN[1] else {}
        if who == EVE[1]:
            names = [f"manifests/{digest}", f"blobs/{digest}", *(["manifests/x"] if self.tagged else [])]
            found |= {f"/v2/{OWN}/{name}": (self.body, self.media_type) for name in names}
            if self.own is not None:
                found[f"/v2/{OWN}/blobs/{Digest.of(self.own)}"] = self.own, "a/b"
        if request.path not in found:
            return web.Response(status=404)
        content, media_type = found[request.path]
        headers = {"Content-Type": media_type, "Docker-Content-Digest": str(Digest.of(content))}
        if request.method == "HEAD":
            return web.Response(headers=headers | {"Content-Length": str(len(content))})
        return web.Response(body=content, headers=headers)


@pytest.fixture
def registry() -> Registry:
    return Registry()


@pytest.fixture
async def origin(registry: Registry) -> AsyncIterator[FakeOrigin]:
    async with fake_origin(registry.answer) as running:
        yield running


@pytest.fixture
async def mirror(origin: FakeOrigin, tmp_path: Path) -> AsyncIterator[Mirror]:
    """Ann's layer is here already."""
    async with running_mirror(origin, tmp_path) as running:
        assert (await running.get(f"/v2/{OTHER}/blobs/{LAYER['digest']}", ANN)).body == SECRET
        yield running


async def secret_is_kept(mirror: Mirror) -> bool:
    """Whether eve is refused ann's layer, and no other host is told that it is hers."""
    whole = await mirror.get(f"/v2/{OWN}/blobs/{LAYER['digest']}", EVE)
    part = await mirror.get(f"/v2/{OWN}/blobs/{LAYER['digest']}", EVE, ("Range", "bytes=0-3"))
    mirror.authoriser.knowledge.close()
    told = [entry for entry in mirror.cluster.repositories if entry.repository == OWN]
    assert told, "eve asked for something"
    unsaid = all(LAYER["digest"] not in report.members for report in told)
    return (whole.status, part.status) == (404, 404) and unsaid


@pytest.mark.parametrize(
    ("media_type", "document"),
    [
        (MANIFEST, {"layers": [], "blobs": [LAYER]}),
        (LIST, {"manifests": [], "layers": [LAYER]}),
        (INDEX, {"mediaType": MANIFEST, "layers": [LAYER], "config": LAYER}),
        (MANIFEST, {"layers": [LAYER | {"urls": ["https://elsewhere"]}]}),
        (MANIFEST, {"layers": [LAYER | {"URLs": ["https://elsewhere"]}]}),
        (MANIFEST, {"layers": [LAYER | {"Digest": FAKE_DIGEST}]}),
        (MANIFEST, {"layers": [LAYER], "Layers": []}),
        ("text/plain", {"mediaType": MANIFEST, "layers": [LAYER]}),
    ],
)
async def test_what_no_registry_checks_proves_nothing(
    mirror: Mirror, registry: Registry, media_type: str, document: dict[str, Any]
) -> None:
    registry.body, registry.media_type = json.dumps(document).encode(), media_type
    answer = await mirror.get(f"/v2/{OWN}/manifests/x", EVE, ALL)
    assert (answer.status, answer.body) == (200, registry.body)
    assert answer.header("Content-Type") == media_type
    assert await secret_is_kept(mirror)


async def test_a_blob_that_the_registry_gives_as_a_manifest_proves_nothing(
    mirror: Mirror, registry: Registry
) -> None:
    registry.tagged = False
    for kind in "blobs", "manifests":
        answer = await mirror.get(f"/v2/{OWN}/{kind}/{FAKE_DIGEST}", EVE, ALL)
        assert (answer.status, answer.body) == (200, FAKE)
    assert await secret_is_kept(mirror)


@pytest.mark.parametrize("accept", [MANIFEST, f"{DOCKER}, */*", f"{', '.join(MANIFEST_TYPES)};q=x"])
async def test_what_a_registry_picks_out_of_an_index_proves_nothing(mirror: Mirror, accept: str) -> None:
    """To who does not take the index of a tag it gives one of the images, which may be a blob."""
    answer = await mirror.get(f"/v2/{OWN}/manifests/x", EVE, ("Accept", accept))
    assert (answer.status, answer.body) == (200, FAKE)
    assert await secret_is_kept(mirror)


async def test_an_index_does_not_say_what_its_manifests_are(mirror: Mirror, registry: Registry) -> None:
    """The registry gives one as a list, which may have any `layers`; the index calls it an image."""
    listed = json.dumps({"manifests": [], "layers": [LAYER]}).encode()
    entry = {"mediaType": MANIFEST, "digest": str(Digest.of(listed)), "size": len(listed)}
    registry.body, registry.media_type = json.dumps({"manifests": [entry]}).encode(), INDEX
    assert (await mirror.get(f"/v2/{OWN}/manifests/x", EVE, ALL)).body == registry.body
    registry.body, registry.media_type = listed, LIST
    for reference in "x", entry["digest"]:
        answer = await mirror.get(f"/v2/{OWN}/manifests/{reference}", EVE, ALL)
        assert answer.header("Content-Type") == LIST
    assert await secret_is_kept(mirror)


async def test_a_blob_is_no_manifest(mirror: Mirror, registry: Registry, origin: FakeOrigin) -> None:
    """That it is known as a blob, here or to the cluster, does not open it as a manifest."""
    registry.own = b"{}"
    digest = str(Digest.of(registry.own))
    assert (await mirror.get(f"/v2/{OWN}/blobs/{digest}", EVE)).status == 200
    mirror.cluster.answers[REGISTRY, OWN, "", digest] = RepositoryAnswer(1, False, size=2, member=True)
    assert (await mirror.get(f"/v2/{OWN}/manifests/{digest}", EVE, ALL)).status == 404
    assert any(seen.path.endswith(f"/manifests/{digest}") for seen in origin.seen)


async def test_the_cluster_says_with_which_type_a_manifest_is_given(
    mirror: Mirror, registry: Registry, origin: FakeOrigin
) -> None:
    registry.body = b"{}"
    assert (await mirror.get(f"/v2/{OWN}/manifests/x", EVE, ALL)).status == 200, "eve may read it"
    body = json.dumps({"layers": [LAYER], "more": 1}).encode()
    registry.body, digest = body, str(Digest.of(body))
    answer = RepositoryAnswer(1, False, "", DOCKER, len(body), member=True)
    mirror.cluster.answers[REGISTRY, OWN, "", digest] = answer
    found = await mirror.get(f"/v2/{OWN}/manifests/{digest}", EVE, ALL)
    assert (found.status, found.header("Content-Type"), found.body) == (200, DOCKER, body)
    assert [seen.method for seen in origin.seen if seen.path.endswith(digest)] == ["GET"]
    assert (await mirror.get(f"/v2/{OWN}/blobs/{LAYER['digest']}", EVE)).status == 404, (
        "it vouches for nothing"
    )


async def test_an_image_under_a_tag_proves_its_layers(
    mirror: Mirror, registry: Registry, origin: FakeOrigin
) -> None:
    registry.own = b"eve's layer"
    digest = str(Digest.of(registry.own))
    entry = {"mediaType": "layer", "digest": digest, "size": len(registry.own)}
    registry.body, registry.media_type = json.dumps({"layers": [entry]}).encode(), DOCKER
    assert (await mirror.get(f"/v2/{OWN}/manifests/x", EVE, ALL)).status == 200
    assert (await mirror.get(f"/v2/{OWN}/blobs/{digest}", EVE)).body == registry.own
    assert [seen.method for seen in origin.seen if seen.path.endswith(digest)] == ["GET"], "no HEAD"
    mirror.authoriser.knowledge.close()
    (report,) = (entry for entry in mirror.cluster.repositories if digest in entry.members)
    types = dict(zip(report.members, report.manifest_types, strict=True))
    assert types == {str(Digest.of(registry.body)): DOCKER, digest: ""}


async def test_a_type_that_is_no_header_keeps_no_manifest_from_being_served(
    mirror: Mirror, registry: Registry, origin: FakeOrigin
) -> None:
    """An index may call its manifests what it wants; what it says never becomes a header."""
    image = b"{}"
    entry = {"mediaType": "a/b\r\nX: y", "digest": str(Digest.of(image)), "size": len(image)}
    registry.body, registry.media_type = json.dumps({"manifests": [entry]}).encode(), INDEX
    assert (await mirror.get(f"/v2/{OWN}/manifests/x", EVE, ALL)).status == 200
    registry.body, registry.media_type = image, ""
    answer = await mirror.get(f"/v2/{OWN}/manifests/{entry['digest']}", EVE, ALL)
    assert (answer.status, answer.body, answer.header("X")) == (200, image, None)
