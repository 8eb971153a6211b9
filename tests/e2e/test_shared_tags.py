"""A cluster that pulls one public tag at the same moment: what it costs the registry."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from benchmarks.io.image import MEDIA_INDEX, MEDIA_MANIFEST, Image, generate_image
from benchmarks.io.origin_registry import OriginRegistry, OriginSettings
from benchmarks.origin.access import AccessPolicy, Account, AuthMode, basic_header
from dfdaemon.io import cluster
from scheduler import questions
from swarm.digest import Digest
from tests.support.daemon import RunningDaemon
from tests.support.herd import get, herd, pull
from tests.support.processes import short_directory

NODES = 100
NAME = "library/app"
STARTS_AT_ONCE = 16


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    return generate_image(tmp_path_factory.mktemp("image"), NAME, "v1", [200_000, 1000], with_index=True)


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cluster's daemons have a machine each: here they share a processor, and everybody has as much more patience."""
    monkeypatch.setattr(questions, "SEED_S", questions.SEED_S * 10)
    monkeypatch.setattr(questions, "FINDER_S", questions.FINDER_S * 10)
    monkeypatch.setattr(cluster, "FRESH_TIMEOUT_S", cluster.FRESH_TIMEOUT_S * 10)


@asynccontextmanager
async def nodes(
    origin: OriginRegistry, *, seed: bool, count: int = NODES
) -> AsyncIterator[list[RunningDaemon]]:
    """`count` daemons of one scheduler; with `seed` the first one is a seed. They start and stop together."""
    with short_directory() as folder:
        async with herd(Path(folder), origin.url) as running:
            stacks = [AsyncExitStack() for _ in range(count)]
            slots = asyncio.Semaphore(STARTS_AT_ONCE)

            async def start(number: int, stack: AsyncExitStack) -> RunningDaemon:
                settings = {"mirror": {"tags": "shared"}, "seed": seed and number == 0}
                async with slots:
                    return await stack.enter_async_context(running.daemon(f"n{number}", **settings))

            try:
                yield await asyncio.gather(*(start(number, stack) for number, stack in enumerate(stacks)))
            finally:
                await asyncio.gather(*(stack.aclose() for stack in stacks))


async def pull_all(daemons: Sequence[RunningDaemon]) -> None:
    await asyncio.gather(*(pull(running, NAME) for running in daemons))


async def test_with_a_seed_the_registry_is_asked_as_if_one_node_pulled(image: Image) -> None:
    """It allows ten requests a minute, and no client sees it refuse one."""
    settings = OriginSettings(requests_per_minute=10)
    async with OriginRegistry([image], settings) as origin, nodes(origin, seed=True) as daemons:
        await pull_all(daemons)
        counters = origin.counters
    assert counters.statuses[429] == 0
    assert counters.manifest_gets == {image.root_digest: 1, image.manifest_digest: 1}
    assert sum(count for kind, count in counters.requests.items() if kind.startswith("HEAD")) <= 2 + len(
        image.blobs
    )
    assert counters.blob_bytes == {blob.digest: blob.size for blob in image.blobs}


async def test_without_a_seed_each_node_asks_once_what_the_tag_means(image: Image) -> None:
    async with OriginRegistry([image]) as origin, nodes(origin, seed=False) as daemons:
        await pull_all(daemons)
        counters = origin.counters
        for digest, media_type in (image.root_digest, MEDIA_INDEX), (image.manifest_digest, MEDIA_MANIFEST):
            path = f"/v2/{NAME}/manifests/{digest}"
            answers = [await get(running, path, method="HEAD") for running in daemons]
            assert {answer.header("Content-Type") for answer in answers} == {media_type}
    assert counters.requests["HEAD manifest by tag"] == NODES
    assert counters.requests["HEAD manifest by digest"] <= 1
    assert counters.manifest_gets == {image.root_digest: 1, image.manifest_digest: 1}
    assert counters.blob_bytes == {blob.digest: blob.size for blob in image.blobs}


async def test_a_private_image_costs_one_permission_check_per_node(image: Image) -> None:
    """Everything else is asked once: what belongs to the repository, and whether strangers are let in."""
    header = basic_header("ann", "s3cret")
    settings = OriginSettings(access=AccessPolicy(AuthMode.BASIC, {"ann": Account("s3cret")}))
    digests = [("manifests", image.root_digest), ("manifests", image.manifest_digest)]
    digests += [("blobs", blob.digest) for blob in image.blobs]

    async def pull_privately(running: RunningDaemon) -> None:
        headers = [("Authorization", header), ("Accept", f"{MEDIA_INDEX}, {MEDIA_MANIFEST}")]
        answer = await get(running, f"/v2/{NAME}/manifests/v1", *headers, method="HEAD")
        assert answer.header("Docker-Content-Digest") == image.root_digest
        for kind, digest in digests:
            answer = await get(running, f"/v2/{NAME}/{kind}/{digest}", *headers)
            assert Digest.of(answer.body) == Digest.parse(digest)

    async with OriginRegistry([image], settings) as origin, nodes(origin, seed=True, count=20) as daemons:
        await asyncio.gather(*(pull_privately(running) for running in daemons))
        counters = origin.counters
    assert counters.requests["HEAD manifest by tag"] - 20 <= 1, "a seed asked as a stranger"
    assert counters.requests["HEAD manifest by digest"] <= 2, (
        "one as a stranger, and one for what belongs to it"
    )
    assert counters.requests["HEAD blob"] <= len(image.blobs), "an index does not vouch for its images"
    assert counters.manifest_gets == {image.root_digest: 1, image.manifest_digest: 1}
    assert counters.blob_bytes == {blob.digest: blob.size for blob in image.blobs}
