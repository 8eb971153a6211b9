"""Content that is denied or purged, on daemons that run."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from benchmarks.io.image import Image, generate_image
from benchmarks.io.origin_registry import OriginRegistry, OriginSettings
from dfdaemon.config import OriginConfig, RegistryConfig
from scheduler.events import DigestAllowed, DigestDenied, PurgeWanted
from swarm.ids import TaskId
from swarm.repositories import Purge
from tests.support.daemon import REGISTRY, RunningDaemon
from tests.support.herd import Herd, get, herd, pull, until
from tests.support.processes import short_directory

NAME = "test/leaked"
TYPES = ("Accept", "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json")


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    return generate_image(tmp_path_factory.mktemp("image"), NAME, "v1", [2_000_000], with_index=True)


@pytest.fixture
async def origin(image: Image) -> AsyncIterator[OriginRegistry]:
    async with OriginRegistry([image], OriginSettings()) as registry:
        yield registry


@pytest.fixture
async def cluster(origin: OriginRegistry) -> AsyncIterator[Herd]:
    with short_directory() as folder:
        async with herd(Path(folder), origin.url) as running:
            yield running


def layer(image: Image) -> TaskId:
    return TaskId(image.layers[0].digest)


def deny(cluster: Herd, task: TaskId) -> None:
    cluster.scheduler.loop.post(DigestDenied(task, "it has a key in it"))


async def assert_denied(running: RunningDaemon, image: Image) -> None:
    """No form of asking gets a byte of the layer."""
    path = f"/v2/{NAME}/blobs/{layer(image)}"
    for method in "GET", "HEAD":
        for headers in ([], [("Range", "bytes=0-0")], [("Authorization", "Bearer x")]):
            answer = await get(running, path, *headers, method=method)
            assert answer.status == 403
            if method == "GET":
                assert answer.error["code"] == "DENIED"
                assert "denied by an administrator" in answer.error["message"]
    assert not running.daemon.store.copies(layer(image))


@pytest.mark.parametrize("trusted", [True, False])
async def test_a_denied_layer_is_served_by_nobody_until_it_is_allowed(
    cluster: Herd, origin: OriginRegistry, image: Image, trusted: bool
) -> None:
    """Also where its copies have another name, because their registry is not trusted."""
    listed = OriginConfig((RegistryConfig(REGISTRY, origin.url, trusted=trusted),))
    async with AsyncExitStack() as stack:
        first, second, late = [
            await stack.enter_async_context(cluster.daemon(name, origin=listed))
            for name in ("first", "second", "late")
        ]
        await pull(first, NAME)
        await pull(second, NAME)
        names = first.daemon.store.copies(layer(image))
        assert (names == [layer(image)]) is trusted
        deny(cluster, layer(image))
        for running in first, second:
            await until(lambda running=running: not running.daemon.store.copies(layer(image)))
        origin.counters.clear()
        for running in first, second, late:
            await assert_denied(running, image)
            assert names[0] not in running.daemon.driver.machine.held
            assert names[0] not in running.daemon.driver.machine.sharing.holdings
        assert origin.counters.blob_bytes[layer(image)] == 0, "not from the origin either"
        cluster.scheduler.loop.post(DigestAllowed(layer(image)))
        await until(lambda: "blob_allowed" in late.log.getvalue())
        await pull(late, NAME)


async def test_a_denial_outlives_daemons_and_schedulers(cluster: Herd, image: Image) -> None:
    async with cluster.daemon("one") as running:
        await pull(running, NAME)
        deny(cluster, layer(image))
        await until(lambda: not running.daemon.store.copies(layer(image)))
    async with cluster.daemon("one", alone=True) as running:
        await assert_denied(running, image)
    cluster.machine.denials.restore({}, ())  # a scheduler that forgot everything
    async with cluster.daemon("one") as running:
        await assert_denied(running, image)


async def test_a_host_that_was_away_hears_of_it_when_it_comes_back(cluster: Herd, image: Image) -> None:
    async with cluster.daemon("one") as running:
        await pull(running, NAME)
    deny(cluster, layer(image))
    async with cluster.daemon("one") as running:
        await until(lambda: not running.daemon.store.copies(layer(image)))
        await assert_denied(running, image)


async def test_a_manifest_is_denied_by_tag_and_by_digest(cluster: Herd, image: Image) -> None:
    async with cluster.daemon("one") as running:
        await pull(running, NAME)
        deny(cluster, TaskId(image.root_digest))
        await until(lambda: not running.daemon.store.copies(TaskId(image.root_digest)))
        for reference in "v1", image.root_digest:
            for method in "GET", "HEAD":
                answer = await get(running, f"/v2/{NAME}/manifests/{reference}", TYPES, method=method)
                assert answer.status == 403


async def test_a_download_on_its_way_is_cut(cluster: Herd, origin: OriginRegistry, image: Image) -> None:
    origin.pacer.bytes_per_s = 1_000_000
    async with cluster.daemon("one") as running:
        asking = asyncio.create_task(get(running, f"/v2/{NAME}/blobs/{layer(image)}"))
        await until(lambda: running.daemon.driver.machine.downloads.get(layer(image)))
        deny(cluster, layer(image))
        answer = await asking
        assert answer.status in (403, 503) or not answer.whole
        await until(lambda: not running.daemon.driver.machine.downloads)
        await until(lambda: not running.daemon.store.copies(layer(image)))
        await assert_denied(running, image)


async def test_a_purge_removes_all_copies_and_forbids_nothing(
    cluster: Herd, origin: OriginRegistry, image: Image
) -> None:
    async with cluster.daemon("first") as first, cluster.daemon("second") as second:
        for running in first, second:
            await pull(running, NAME)
        cluster.scheduler.loop.post(PurgeWanted(Purge(layer(image))))
        for running in first, second:
            await until(lambda running=running: not running.daemon.store.copies(layer(image)))
        origin.counters.clear()
        await pull(second, NAME)
        assert origin.counters.blob_bytes[layer(image)] == image.layers[0].size, "fetched anew"


async def test_a_purged_tag_has_no_last_known_meaning(cluster: Herd, origin: OriginRegistry) -> None:
    async with cluster.daemon("one") as running:
        await pull(running, NAME)
        await origin.stop()
        assert (await get(running, f"/v2/{NAME}/manifests/v1", TYPES)).header("Warning")
        cluster.scheduler.loop.post(PurgeWanted(Purge(registry=REGISTRY, repository=NAME, tag="v1")))
        known = running.daemon.orders._knowledge.tables
        await until(lambda: not list(known._tags))
        assert (await get(running, f"/v2/{NAME}/manifests/v1", TYPES)).status == 502
