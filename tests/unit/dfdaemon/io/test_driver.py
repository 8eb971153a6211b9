"""The driver with everything behind it: a whole daemon in this process, and an embedded origin."""

import asyncio
import hashlib
import os
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from benchmarks.io.image import Image, blob_path, generate_image
from benchmarks.io.origin_registry import OriginRegistry
from benchmarks.io.puller import Pull
from benchmarks.origin.faults import Fault, FaultKind
from dfdaemon import commands, events
from dfdaemon.io import blob_table
from dfdaemon.io import driver as driver_module
from dfdaemon.io.active_blob import DownloadFailed
from dfdaemon.io.blobs import BlobReader
from dfdaemon.io.disk_blob import reread
from dfdaemon.io.origin_client import OriginSource
from swarm.digest import Digest
from swarm.ids import TaskId
from swarm.messages import PieceRecord
from tests.support.daemon import REGISTRY, RunningDaemon, daemon_config, running_daemon
from tests.support.processes import short_directory

MIB = 1 << 20


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    return generate_image(tmp_path_factory.mktemp("image"), "demo/app", "v1", [3 * MIB, 1 * MIB])


@pytest.fixture
async def origin(image: Image) -> AsyncIterator[OriginRegistry]:
    async with OriginRegistry([image]) as registry:
        yield registry


@pytest.fixture
async def running(origin: OriginRegistry) -> AsyncIterator[RunningDaemon]:
    with short_directory() as folder:
        async with running_daemon(daemon_config(folder, origin.url)) as daemon:
            yield daemon


def pull_of(running: RunningDaemon) -> Pull:
    return Pull(f"{running.mirror.host}:{running.mirror.port}", REGISTRY, "demo/app", "v1")


async def read_all(running: RunningDaemon, digest: str, size: int) -> bytes:
    """Read a blob as the mirror does."""
    source = OriginSource(REGISTRY, "demo/app", Digest.parse(digest), "blob")
    reader = await running.daemon.driver.open(source, size, "", 0, size)
    content = bytearray()
    try:
        await read_on(reader, content, size)
    finally:
        reader.close()
    return bytes(content)


async def read_on(reader: BlobReader, content: bytearray, end: int) -> None:
    """Read from where `content` ends up to `end`, or a little more."""
    while len(content) < end:
        span = await reader.span(len(content))
        with open(f"/proc/self/fd/{span.file.fd}", "rb") as file:
            file.seek(span.place)
            content += file.read(span.length)
        reader.advance(len(content))


async def test_an_image_comes_through_the_mirror_and_a_second_time_from_disk(
    running: RunningDaemon, origin: OriginRegistry, image: Image
) -> None:
    await pull_of(running).run()
    assert origin.counters.bytes_of(blob.digest for blob in image.blobs) == image.total_bytes
    again = pull_of(running)
    await again.run()
    assert again.received_bytes == image.total_bytes
    assert origin.counters.bytes_of(blob.digest for blob in image.blobs) == image.total_bytes
    account = running.daemon.blobs.ledger.get(Digest.parse(image.layers[0].digest).task)
    assert account is not None
    assert (account.origin_bytes, account.disk_bytes) == (image.layers[0].size, image.layers[0].size)


async def test_many_readers_of_one_blob_cost_the_origin_one_download(
    running: RunningDaemon, origin: OriginRegistry, image: Image
) -> None:
    layer = image.layers[0]
    contents = await asyncio.gather(*(read_all(running, layer.digest, layer.size) for _ in range(5)))
    true = blob_path(image.directory, layer.digest).read_bytes()
    assert all(content == true for content in contents)
    assert origin.counters.blob_bytes[layer.digest] == layer.size


async def test_wrong_content_is_never_called_complete(
    running: RunningDaemon, origin: OriginRegistry, image: Image
) -> None:
    layer = image.layers[0]
    origin.faults.append(Fault(FaultKind.WRONG_BYTE, match=layer.digest, at_bytes=2 * MIB, times=None))
    with pytest.raises(DownloadFailed, match="digest"):
        await read_all(running, layer.digest, layer.size)
    with pytest.raises(DownloadFailed, match="failed a moment ago"):
        await read_all(running, layer.digest, layer.size)
    stored = running.daemon.store.get(Digest.parse(layer.digest).task)
    assert stored is None or not stored.complete


async def test_with_after_digest_no_wrong_byte_is_sent(origin: OriginRegistry, image: Image) -> None:
    layer = image.layers[0]
    origin.faults.append(Fault(FaultKind.WRONG_BYTE, match=layer.digest, at_bytes=2 * MIB, times=None))
    with short_directory() as folder:
        config = daemon_config(folder, origin.url)
        config = replace(config, mirror=replace(config.mirror, stream="after-digest"))
        async with running_daemon(config) as running:
            source = OriginSource(REGISTRY, "demo/app", Digest.parse(layer.digest), "blob")
            reader = await running.daemon.driver.open(source, layer.size, "", 0, layer.size)
            with pytest.raises(DownloadFailed, match="digest"):
                await reader.span(0)
            reader.close()


async def test_a_blob_without_room_streams_through_a_ring(origin: OriginRegistry, image: Image) -> None:
    with short_directory() as folder:
        config = daemon_config(folder, origin.url)
        config = replace(config, store=replace(config.store, quota_bytes=2 * MIB))
        async with running_daemon(config) as running:
            layer = image.layers[0]
            content = await read_all(running, layer.digest, layer.size)
            assert hashlib.sha256(content).hexdigest() == Digest.parse(layer.digest).hex
            stored = running.daemon.store.get(Digest.parse(layer.digest).task)
            assert stored is None


async def test_in_a_ring_the_end_of_wrong_content_is_held_back(origin: OriginRegistry, image: Image) -> None:
    layer = image.layers[0]
    origin.faults.append(Fault(FaultKind.WRONG_BYTE, match=layer.digest, at_bytes=2 * MIB, times=None))
    source = OriginSource(REGISTRY, "demo/app", Digest.parse(layer.digest), "blob")
    with short_directory() as folder:
        config = daemon_config(folder, origin.url)
        config = replace(config, store=replace(config.store, quota_bytes=2 * MIB))
        async with running_daemon(config) as running, asyncio.timeout(20):
            reader = await running.daemon.driver.open(source, layer.size, "", 0, layer.size)
            content = bytearray()
            with pytest.raises(DownloadFailed, match="does not have the digest"):
                await read_on(reader, content, layer.size)
            reader.close()
            assert len(content) < layer.size, "nobody gets it whole"
            with pytest.raises(DownloadFailed, match="a moment ago"):
                await running.daemon.driver.open(source, layer.size, "", 0, layer.size)


async def test_in_a_ring_nobody_may_go_back_while_another_reads(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    large = generate_image(tmp_path_factory.mktemp("large"), "demo/app", "v1", [20 * MIB])
    layer = large.layers[0]
    source = OriginSource(REGISTRY, "demo/app", Digest.parse(layer.digest), "blob")
    async with OriginRegistry([large]) as origin:
        with short_directory() as folder:
            config = daemon_config(folder, origin.url)
            store = replace(config.store, quota_bytes=2 * MIB, ring_bytes=16 * MIB)
            async with running_daemon(replace(config, store=store)) as running, asyncio.timeout(20):
                first = await running.daemon.driver.open(source, layer.size, "", 0, layer.size)
                content = bytearray()
                await read_on(first, content, 18 * MIB)
                with pytest.raises(DownloadFailed, match="streams to others already"):
                    await running.daemon.driver.open(source, layer.size, "", 0, layer.size)
                last = await running.daemon.driver.open(source, layer.size, "", 19 * MIB, layer.size)
                await read_on(first, content, layer.size)
                last.close()
                first.close()
                again = await running.daemon.driver.open(source, layer.size, "", 0, layer.size)
                again.close()
    assert hashlib.sha256(content).hexdigest() == Digest.parse(layer.digest).hex


async def test_with_after_digest_a_blob_without_room_fails_at_once(
    origin: OriginRegistry, image: Image
) -> None:
    with short_directory() as folder:
        config = daemon_config(folder, origin.url)
        mirror = replace(config.mirror, stream="after-digest")
        config = replace(config, mirror=mirror, store=replace(config.store, quota_bytes=2 * MIB))
        async with running_daemon(config) as running, asyncio.timeout(10):
            with pytest.raises(DownloadFailed, match="no room on disk"):
                await read_all(running, image.layers[0].digest, image.layers[0].size)


async def test_another_size_than_that_of_the_running_download_is_refused(
    running: RunningDaemon, image: Image
) -> None:
    layer = image.layers[0]
    source = OriginSource(REGISTRY, "demo/app", Digest.parse(layer.digest), "blob")
    reader = await running.daemon.driver.open(source, layer.size, "", 0, layer.size)
    with pytest.raises(DownloadFailed, match="on its way with"):
        await running.daemon.driver.open(source, layer.size + 1, "", 0, layer.size + 1)
    reader.close()


async def test_a_fault_in_one_command_keeps_no_other_from_being_carried_out(
    running: RunningDaemon, image: Image
) -> None:
    driver = running.daemon.driver
    reported: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))

    def break_down(command: commands.OpenStore) -> None:
        raise KeyError(command.task)

    driver.carry_out({commands.OpenStore: break_down})
    async with asyncio.timeout(10):
        with pytest.raises(DownloadFailed, match="a fault of the daemon"):
            await read_all(running, image.layers[0].digest, image.layers[0].size)
    assert [context["message"] for context in reported] == [
        "OpenStore could not be carried out; please report this"
    ]


async def test_a_closed_driver_takes_no_events(running: RunningDaemon, image: Image) -> None:
    driver = running.daemon.driver
    driver.close()
    driver.post(events.BlobWanted(Digest.parse(image.layers[0].digest).task, 1, REGISTRY, True))
    assert not driver.machine.downloads


async def test_a_restart_finds_what_was_there(origin: OriginRegistry, image: Image) -> None:
    with short_directory() as folder:
        config = daemon_config(folder, origin.url)
        async with running_daemon(config) as running:
            await pull_of(running).run()
        before = origin.counters.bytes_of(blob.digest for blob in image.blobs)
        async with running_daemon(config) as running:
            await pull_of(running).run()
        assert origin.counters.bytes_of(blob.digest for blob in image.blobs) == before


def damage(running: RunningDaemon, digest: str) -> None:
    """Change a byte of a blob on disk."""
    file = running.daemon.store.file(Digest.parse(digest).task)
    wrong = bytes([os.pread(file.fd, 1, MIB)[0] ^ 4])
    os.pwrite(file.fd, wrong, MIB)
    file.release()


def count_mends(running: RunningDaemon) -> list[TaskId]:
    """Return a list that gets each blob that is read again."""
    driver, mended = running.daemon.driver, list[TaskId]()
    mend = driver.mend

    def counted(task: TaskId) -> asyncio.Future[None]:
        mended.append(task)
        return mend(task)

    driver.mend = counted
    return mended


async def test_who_asks_again_gets_what_is_right(
    running: RunningDaemon, origin: OriginRegistry, image: Image
) -> None:
    layer = image.layers[0]
    true = blob_path(image.directory, layer.digest).read_bytes()
    await read_all(running, layer.digest, layer.size)
    damage(running, layer.digest)
    assert await read_all(running, layer.digest, layer.size) != true, "a hit is not hashed"
    assert await read_all(running, layer.digest, layer.size) == true
    assert layer.size < origin.counters.blob_bytes[layer.digest] < 2 * layer.size, "one piece came anew"


async def test_many_who_ask_again_cost_one_reading(running: RunningDaemon, image: Image) -> None:
    layer = image.layers[0]
    mended = count_mends(running)
    true = blob_path(image.directory, layer.digest).read_bytes()
    for _ in range(3):
        contents = await asyncio.gather(*(read_all(running, layer.digest, layer.size) for _ in range(10)))
        assert all(content == true for content in contents)
    assert mended == [Digest.parse(layer.digest).task]


async def test_a_large_blob_is_read_again_behind_its_client(
    running: RunningDaemon, image: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer, may_read = image.layers[0], threading.Event()

    def slow(*arguments: Any) -> dict[int, PieceRecord]:
        assert may_read.wait(10)
        return reread(*arguments)

    monkeypatch.setattr(driver_module, "LOOK_AGAIN_S", 0.0)
    monkeypatch.setattr(blob_table, "reread", slow)
    for _ in range(2):
        await read_all(running, layer.digest, layer.size)
    damage(running, layer.digest)
    source = OriginSource(REGISTRY, "demo/app", Digest.parse(layer.digest), "blob")
    reader = await running.daemon.driver.open(source, layer.size, "", 0, layer.size)
    async with asyncio.timeout(10):
        assert (await reader.span(0)).length == layer.size, "it does not wait for the reading"
        (reading,) = running.daemon.driver._mending.values()
        may_read.set()
        await reading
        assert not running.daemon.blobs.active[source.task].whole, "its digest is checked anew"
        with pytest.raises(DownloadFailed, match="was wrong, and was sent"):
            await reader.span(2 * MIB)
    reader.close()
    assert (
        await read_all(running, layer.digest, layer.size)
        == blob_path(image.directory, layer.digest).read_bytes()
    )


async def test_without_a_scheduler_the_log_says_so_once(running: RunningDaemon) -> None:
    await pull_of(running).run()
    assert running.log.getvalue().count("no scheduler configured") == 1


async def test_health_and_metrics_answer(running: RunningDaemon, image: Image) -> None:
    await pull_of(running).run()
    address = running.log.getvalue().partition("metrics=")[2].split()[0]
    async with aiohttp.ClientSession(f"http://{address}") as session:
        async with session.get("/healthz") as answer:
            assert answer.status == 200
        async with session.get("/metrics") as answer:
            metrics = await answer.text()
    assert "damselfly_daemon_scheduler_attached 0.0" in metrics
    line = 'damselfly_daemon_downloaded_bytes_total{source="origin"}'
    counted = float(next(row for row in metrics.splitlines() if row.startswith(line)).split()[1])
    assert counted >= image.total_bytes


async def test_the_image_on_disk_is_that_of_the_registry(running: RunningDaemon, image: Image) -> None:
    await pull_of(running).run()
    for layer in image.layers:
        file = running.daemon.store.file(Digest.parse(layer.digest).task)
        content = Path(f"/proc/self/fd/{file.fd}").read_bytes()
        file.release()
        assert content == blob_path(image.directory, layer.digest).read_bytes()
