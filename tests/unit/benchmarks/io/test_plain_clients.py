"""Hosts without a swarm."""

import asyncio
from pathlib import Path

import pytest

from benchmarks.io.image import Image, generate_image
from benchmarks.io.origin_registry import OriginRegistry
from benchmarks.io.plain_clients import Clients, PlainTask

MIB = 1 << 20


@pytest.fixture
def image(tmp_path: Path) -> Image:
    return generate_image(tmp_path / "image", "bench/app", "v1", [3 * MIB, 1 * MIB])


def plain_task(
    image: Image, folder: Path, server: str, nodes: int = 3, link_bytes_per_s: int = 0
) -> PlainTask:
    blobs = [(layer.digest, layer.size) for layer in image.layers]
    return PlainTask(list(range(nodes)), str(folder), server, "bench/app", blobs, link_bytes_per_s)


async def test_every_host_takes_everything_from_the_origin(image: Image, tmp_path: Path) -> None:
    async with OriginRegistry([image]) as origin:
        found = await Clients(plain_task(image, tmp_path, origin.address)).pull()
        assert [result.failure for result in found] == [""] * 3
        assert sum(origin.counters.blob_bytes.values()) == 3 * sum(layer.size for layer in image.layers)


async def test_a_host_keeps_to_its_link(image: Image, tmp_path: Path) -> None:
    async with OriginRegistry([image]) as origin:
        began = asyncio.get_running_loop().time()
        await Clients(plain_task(image, tmp_path, origin.address, 1, 20 * MIB)).pull()
        assert asyncio.get_running_loop().time() - began > 0.15, "4 MiB at 20 MiB/s take 0.2 s"


async def test_wrong_content_is_a_failure(image: Image, tmp_path: Path) -> None:
    other = generate_image(tmp_path / "other", "bench/app", "v1", [3 * MIB, 1 * MIB], seed=9)
    async with OriginRegistry([other]) as origin:
        (result,) = await Clients(plain_task(image, tmp_path, origin.address, 1)).pull()
    assert "answered" in result.failure
