"""A pull-through cache, and hosts that pull from it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from benchmarks.io.image import Image, generate_image
from benchmarks.io.origin_registry import OriginRegistry
from benchmarks.io.plain_clients import Clients, PlainTask
from benchmarks.io.pull_through import Cache, listener

MIB = 1 << 20


@pytest.fixture
def image(tmp_path: Path) -> Image:
    return generate_image(tmp_path / "image", "bench/app", "v1", [3 * MIB, 1 * MIB])


@asynccontextmanager
async def caching(origin: OriginRegistry, folder: Path, bytes_per_s: int = 0) -> AsyncIterator[str]:
    cache = Cache(origin.address, folder, bytes_per_s)
    app = web.Application()
    app.router.add_get("/v2/{name:.+}", cache.serve)
    runner = web.AppRunner(app)
    await runner.setup()
    sock = listener()
    await web.SockSite(runner, sock).start()
    host, port = sock.getsockname()
    try:
        yield f"{host}:{port}"
    finally:
        await cache.close()
        await runner.cleanup()


async def pull(image: Image, folder: Path, server: str) -> list[str]:
    """Let three hosts pull; return why they failed."""
    blobs = [(layer.digest, layer.size) for layer in image.layers]
    found = await Clients(PlainTask([0, 1, 2], str(folder), server, "bench/app", blobs, 0)).pull()
    return [result.failure for result in found]


async def test_the_origin_gives_each_byte_once_and_each_host_gets_all(image: Image, tmp_path: Path) -> None:
    async with OriginRegistry([image]) as origin, caching(origin, tmp_path) as server:
        assert await pull(image, tmp_path, server) == [""] * 3
        assert await pull(image, tmp_path, server) == [""] * 3, "and again, from what it has"
        assert sum(origin.counters.blob_bytes.values()) == sum(layer.size for layer in image.layers)


async def test_all_answers_share_one_link(image: Image, tmp_path: Path) -> None:
    async with OriginRegistry([image]) as origin, caching(origin, tmp_path, 50 * MIB) as server:
        began = asyncio.get_running_loop().time()
        assert await pull(image, tmp_path, server) == [""] * 3
        assert asyncio.get_running_loop().time() - began > 0.2, "12 MiB at 50 MiB/s take 0.24 s"
