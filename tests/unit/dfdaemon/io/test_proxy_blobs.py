"""Blobs by digest through the mirror of a whole daemon, where the store holds something odd."""

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from benchmarks.io.image import Image, blob_path, generate_image
from benchmarks.io.origin_registry import OriginRegistry
from swarm.digest import Digest
from tests.support.daemon import REGISTRY, RunningDaemon, daemon_config, running_daemon
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
