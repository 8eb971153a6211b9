"""Several ranges in one answer."""

import asyncio
import os
from collections.abc import AsyncIterator
from email.parser import BytesParser
from pathlib import Path

import pytest

from benchmarks.io.image import Image, generate_image
from benchmarks.io.origin_registry import OriginRegistry
from benchmarks.origin.faults import Fault, FaultKind
from dfdaemon.io.parts_sender import AHEAD
from tests.support.mirror import Answer, Mirror, content_of, running_mirror

LAYER_BYTES = 3_000_000


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    return generate_image(tmp_path_factory.mktemp("image"), "team/app", "v1", [LAYER_BYTES])


@pytest.fixture
async def origin(image: Image) -> AsyncIterator[OriginRegistry]:
    async with OriginRegistry([image]) as registry:
        yield registry


@pytest.fixture
async def mirror(origin: OriginRegistry, tmp_path: Path) -> AsyncIterator[Mirror]:
    async with running_mirror(origin, tmp_path) as running:
        yield running


def parts_of(answer: Answer) -> list[tuple[str, bytes]]:
    """Content-Range and bytes of each part, as a mail reader finds them."""
    head = f"Content-Type: {answer.header('Content-Type')}\r\n\r\n".encode()
    message = BytesParser().parsebytes(head + answer.body)
    found = []
    for part in message.get_payload():
        assert not isinstance(part, str)
        content = part.get_payload(decode=True)
        assert isinstance(content, bytes)
        found.append((part["Content-Range"], content))
    return found


def path_of(image: Image) -> str:
    return f"/v2/team/app/blobs/{image.layers[0].digest}"


@pytest.mark.parametrize("count", [2, AHEAD, 3 * AHEAD])
async def test_each_range_is_a_part(mirror: Mirror, image: Image, count: int) -> None:
    layer = image.layers[0]
    content = content_of(image, layer.digest)
    wanted = [(at * 1000, at * 1000 + 10 * at) for at in range(count, 0, -1)]
    header = "bytes=" + ",".join(f"{first}-{last}" for first, last in wanted)
    answer = await mirror.get(path_of(image), ("Range", header))
    assert (answer.status, answer.whole) == (206, True)
    assert answer.header("Content-Range") is None
    assert parts_of(answer) == [
        (f"bytes {first}-{last}/{layer.size}", content[first : last + 1]) for first, last in wanted
    ]
    assert mirror.blobs.open_readers == 0


async def test_one_satisfiable_range_is_answered_as_one(mirror: Mirror, image: Image) -> None:
    answer = await mirror.get(path_of(image), ("Range", f"bytes=0-4,{10**9}-"))
    assert (answer.status, len(answer.body)) == (206, 5)
    assert answer.header("Content-Range") == f"bytes 0-4/{image.layers[0].size}"


async def test_a_part_follows_its_bytes(mirror: Mirror, image: Image) -> None:
    content = content_of(image, image.layers[0].digest)
    mirror.blobs.fetches = False
    asked = asyncio.create_task(mirror.get(path_of(image), ("Range", "bytes=0-9,2000000-2000009")))
    await mirror.blobs.opened.wait()
    blob = mirror.blobs.readers[0].blob
    os.pwrite(blob.file.fd, content, 0)
    await blob.advance(10)
    await mirror.blobs.readers[0].reached(10)
    await blob.advance(len(content))
    assert [part for _, part in parts_of(await asked)] == [content[:10], content[2_000_000:2_000_010]]


async def test_a_failure_ends_the_answer_before_its_length(
    mirror: Mirror, origin: OriginRegistry, image: Image
) -> None:
    origin.faults.append(Fault(FaultKind.CUT_FIN, at_bytes=1_000_000))
    answer = await mirror.get(path_of(image), ("Range", "bytes=0-9,2000000-2000009"))
    assert answer.status == 206
    assert not answer.whole
    assert mirror.noted("body_ended_early")
    assert mirror.blobs.open_readers == 0
