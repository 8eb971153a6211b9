"""A registry that is not trusted, in a cluster that has somebody's private image: it shares nothing with others."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from aiohttp import web

from benchmarks.io.image import Image, blob_path, generate_image
from benchmarks.io.origin_registry import OriginRegistry, OriginSettings
from benchmarks.io.puller import Pull
from benchmarks.origin.access import AccessPolicy, Account, AuthMode, basic_header
from dfdaemon.config import OriginConfig, RegistryConfig
from dfdaemon.io.local_client import LocalDaemon
from swarm.addresses import join_address
from swarm.digest import Digest
from swarm.ids import TaskId
from tests.support.daemon import REGISTRY, RunningDaemon
from tests.support.fake_origin import fake_origin
from tests.support.herd import herd
from tests.support.mirror import ask
from tests.support.processes import short_directory

STRANGE = "strange.example"
NAME = "team/private"
ANN = ("Authorization", basic_header("ann", "s3cret"))


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    return generate_image(tmp_path_factory.mktemp("image"), NAME, "v1", [3_000_000], with_index=True)


@pytest.fixture
def folder() -> Iterator[Path]:
    with short_directory() as directory:
        yield directory


@pytest.fixture
async def private(image: Image) -> AsyncIterator[OriginRegistry]:
    policy = AccessPolicy(AuthMode.BASIC, {"ann": Account("s3cret")})
    async with OriginRegistry([image], OriginSettings(access=policy)) as registry:
        yield registry


def registries(private: OriginRegistry, strange: str) -> dict[str, OriginConfig]:
    """Settings of a daemon that trusts the one and not the other."""
    listed = (RegistryConfig(REGISTRY, private.url), RegistryConfig(STRANGE, strange, trusted=False))
    return {"origin": OriginConfig(listed)}


async def get(
    running: RunningDaemon, registry: str, path: str, *headers: tuple[str, str]
) -> tuple[int, bytes, bool]:
    answer = await ask(running.mirror.port, "GET", f"/v2/{NAME}/{path}?ns={registry}", headers)
    return answer.status, answer.body, answer.whole


def paths(image: Image) -> dict[str, bytes]:
    """What the image consists of, by path."""
    manifests = {f"manifests/{digest}": digest for digest in (image.root_digest, image.manifest_digest)}
    named = manifests | {f"blobs/{blob.digest}": blob.digest for blob in image.blobs}
    return {path: blob_path(image.directory, digest).read_bytes() for path, digest in named.items()}


async def test_it_cannot_claim_what_others_have(folder: Path, private: OriginRegistry, image: Image) -> None:
    """Neither on the node that has it, nor on another one of its cluster, nor while it is on its way."""
    contents = paths(image)

    def lie(request: web.BaseRequest) -> web.StreamResponse:
        path, digest = "/".join(request.path.rsplit("/", 2)[1:]), request.path.rpartition("/")[2]
        return web.Response(body=b"?" * len(contents[path]), headers={"Docker-Content-Digest": digest})

    async with fake_origin(lie) as strange, herd(folder, private.url) as cluster:
        settings = registries(private, strange.url)
        async with cluster.daemon("one", **settings) as one, cluster.daemon("two", **settings) as two:
            for path, content in contents.items():
                assert await get(one, REGISTRY, path, ANN) == (200, content, True)
            for running in one, two:
                for path, content in contents.items():
                    for headers in (), (ANN,), (("Range", "bytes=0-63"),):
                        status, body, whole = await get(running, STRANGE, path, *headers)
                        assert body not in content or not body
                        assert not set(body) - set(b"?") or status >= 400
                        assert not whole or status >= 400 or len(body) < len(content), (
                            "no wrong blob is whole"
                        )
            for path, content in contents.items():
                assert await get(two, REGISTRY, path, ANN) == (200, content, True), "and it spoils nothing"


async def test_its_own_images_spread_through_the_swarm_like_all_others(
    folder: Path, private: OriginRegistry, image: Image
) -> None:
    """A copy of the same image: one download per registry, and each node is told where its bytes came from."""
    async with OriginRegistry([image]) as strange, herd(folder, private.url) as cluster:
        settings = registries(private, strange.url)
        async with cluster.daemon("one", **settings) as one, cluster.daemon("two", **settings) as two:
            for path in paths(image):
                await get(one, REGISTRY, path, ANN)
            for running in one, two, one:
                address = join_address(running.mirror.host, running.mirror.port)
                await Pull(address, STRANGE, NAME, "v1").run()
            assert strange.counters.blob_bytes == {blob.digest: blob.size for blob in image.blobs}
            layer = TaskId(image.layers[0].digest)
            scoped = Digest.parse(layer).task_within(STRANGE)
            assert sorted(one.daemon.store.copies(layer)) == sorted([layer, scoped])
            account = two.daemon.blobs.ledger.get(scoped)
            assert account is not None
            assert account.peer_bytes == {"one": image.layers[0].size}
            async with LocalDaemon(two.control) as tool:
                explained = await tool.control(f"explain/{layer}")
            assert (explained["digest"], explained["registry"]) == (layer, STRANGE)
