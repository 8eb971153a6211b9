"""What answers of odd registries mean."""

import gzip
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from dfdaemon.config import OriginConfig, RegistryConfig
from dfdaemon.descriptors import MANIFEST_BYTES_MAX
from dfdaemon.io.origin_client import OriginClient, OriginSource
from swarm.dice import Dice
from swarm.digest import Digest
from swarm.errors import OriginContent, OriginCut, OriginStatus
from tests.support.fake_origin import Answer, fake_origin, says

BODY = b'{"schemaVersion": 2}'
DIGEST = Digest.of(BODY)
MANIFEST = OriginSource("r.test", "a", DIGEST, "manifest")
BLOB = OriginSource("r.test", "a", DIGEST, "blob")
GZIP = ("Content-Encoding", "gzip")


@asynccontextmanager
async def client_of(answer: Answer) -> AsyncIterator[OriginClient]:
    async with fake_origin(answer) as origin:
        registries = (RegistryConfig(name="r.test", url=origin.url),)
        client = OriginClient(OriginConfig(registries=registries, retries=1), Dice(1))
        try:
            yield client
        finally:
            await client.close()


@pytest.mark.parametrize(
    ("body", "coding"), [(gzip.compress(BODY), "gzip"), (zlib.compress(BODY), "deflate"), (BODY, "Identity")]
)
async def test_a_manifest_that_comes_compressed(body: bytes, coding: str) -> None:
    async with client_of(says(200, body, ("Content-Encoding", coding))) as client:
        async with client.fetch(MANIFEST, 0, None) as found:
            assert found.total in (-1, len(BODY)), "the length is that of what is on the wire"
            assert b"".join([chunk async for chunk in found.chunks()]) == BODY
        head = await client.head_blob(MANIFEST)
        assert head.size in (-1, len(BODY))


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"not gzip at all", OriginContent),
        (gzip.compress(BODY)[:-9], OriginCut),
        (gzip.compress(b"0" * (MANIFEST_BYTES_MAX + 1)), OriginContent),
    ],
)
async def test_a_manifest_that_comes_badly_compressed(body: bytes, error: type[Exception]) -> None:
    async with client_of(says(200, body, GZIP)) as client:
        with pytest.raises(error):
            async with client.fetch(MANIFEST, 0, None) as found:
                [chunk async for chunk in found.chunks()]


async def test_a_layer_that_comes_compressed_is_refused() -> None:
    async with client_of(says(200, gzip.compress(BODY), GZIP)) as client:
        with pytest.raises(OriginContent, match="gzip"):
            async with client.fetch(BLOB, 0, None):
                pass


async def test_a_range_beyond_the_end_tells_the_size() -> None:
    beyond = says(416, b"an error", ("Content-Range", "bytes */0"))
    async with client_of(beyond) as client, client.fetch(BLOB, 0, 1) as found:
        assert found.total == 0
        assert [chunk async for chunk in found.chunks()] == []
    async with client_of(says(416, b"an error")) as client:
        with pytest.raises(OriginContent, match="416"):
            async with client.fetch(BLOB, 0, 1):
                pass
        with pytest.raises(OriginStatus):
            async with client.fetch(BLOB, 0, None):
                pass


async def test_a_blob_that_says_to_be_larger_than_any_may_be_has_no_size() -> None:
    """Other hosts are told sizes, and take no larger ones for sizes."""

    def answer(request: web.BaseRequest) -> web.StreamResponse:
        if request.method == "HEAD":
            response = web.StreamResponse(headers={"Content-Length": "999999999999999"})
            return response
        return web.Response(status=206, body=b"a", headers={"Content-Range": "bytes 0-0/999999999999999"})

    async with client_of(answer) as client:
        assert (await client.head_blob(BLOB)).size == -1
        with pytest.raises(OriginContent, match="more than any blob may have"):
            async with client.fetch(BLOB, 0, 1):
                pass
