"""The digest of what streams by."""

import asyncio
import os
from collections.abc import Iterator

import pytest

from dfdaemon.io.piece_file import PieceFile
from dfdaemon.io.ring_check import RingCheck
from swarm.digest import Digest

CONTENT = os.urandom(700_000)
SPANS = ((0, 300_000), (300_000, 300_000), (600_000, 100_000))


@pytest.fixture
def file() -> Iterator[PieceFile]:
    made = PieceFile.ring(len(CONTENT), 2)
    os.pwrite(made.fd, CONTENT, 0)
    yield made
    made.release()


async def test_right_content_passes(file: PieceFile) -> None:
    check = RingCheck(Digest.of(CONTENT, "sha256"), len(CONTENT))
    assert [await check.passes(file, at, at, length) for at, length in SPANS] == [True, True, True]
    assert file.references == 1


async def test_wrong_content_passes_but_for_its_end(file: PieceFile) -> None:
    check = RingCheck(Digest.of(b"other", "sha256"), len(CONTENT))
    assert [await check.passes(file, at, at, length) for at, length in SPANS] == [True, True, False]


async def test_who_is_cancelled_may_ask_again_and_for_more(file: PieceFile) -> None:
    check = RingCheck(Digest.of(CONTENT, "sha256"), len(CONTENT))
    asking = asyncio.create_task(check.passes(file, 0, 0, 300_000))
    await asyncio.sleep(0)  # let it begin
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    assert await check.passes(file, 0, 0, 300_000)
    assert await check.passes(file, 200_000, 200_000, 500_000), "no byte is hashed twice"
