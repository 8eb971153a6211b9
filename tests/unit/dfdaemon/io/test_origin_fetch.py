"""A range of pieces from a real (embedded) origin: order, digests, limits, and every way in which it can end."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.io.image import BlobInfo, Image, blob_path, generate_image
from benchmarks.io.origin_registry import OriginRegistry
from benchmarks.origin.faults import Fault, FaultKind
from dfdaemon.commands import FetchRange
from dfdaemon.config import OriginConfig, RegistryConfig
from dfdaemon.events import Event, OriginAdvanced, OriginEnded, OriginPieceArrived
from dfdaemon.io.origin_client import OriginClient, OriginSource
from dfdaemon.io.origin_fetch import OriginFetch, fault_of
from dfdaemon.io.piece_file import PieceFile
from dfdaemon.io.receiver import ReceiverPool
from swarm.dice import Dice
from swarm.digest import Digest
from swarm.errors import (
    NotAllowed,
    OriginStatus,
    OriginTimeout,
    OriginUnreachable,
    OwnLimit,
    RedirectRefused,
    StoreBroken,
)
from swarm.ids import Epoch
from swarm.messages import OriginFault
from swarm.piece_digest import piece_digest
from swarm.pieces import PIECE_BYTES_MIN, PieceMap
from tests.support.fake_origin import fake_origin, says
from tests.support.peers import receivers
from tests.support.system import full_disk

EPOCH = Epoch(7)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    return generate_image(tmp_path_factory.mktemp("image"), "demo/app", "v1", [6 * PIECE_BYTES_MIN])


@pytest.fixture
async def origin(image: Image) -> AsyncIterator[OriginRegistry]:
    async with OriginRegistry([image]) as registry:
        yield registry


@pytest.fixture
async def pool() -> AsyncIterator[ReceiverPool]:
    async with receivers(1) as made:
        yield made


class Run:
    """One fetch of the image's layer, the events that it emitted, and what it wrote."""

    def __init__(self, image: Image, origin: OriginRegistry, pool: ReceiverPool) -> None:
        self.layer: BlobInfo = image.layers[0]
        self.content = blob_path(image.directory, self.layer.digest).read_bytes()
        self.pieces = PieceMap.of(self.layer.size)
        self.events: list[Event] = []
        self._emitted = asyncio.Event()
        self.file = PieceFile.ring(self.layer.size, self.pieces.count)
        self.fetch: OriginFetch
        self._url = origin.url
        self._pool = pool

    def origin_is_at(self, url: str) -> None:
        """Ask another server."""
        self._url = url

    async def go(
        self,
        start: int,
        end: int,
        limit: int = -1,
        no_range: bool = False,
        size: int = 0,
        timeout_s: float = 5.0,
    ) -> None:
        """Run it to its end."""
        self.begin(start, end, limit, no_range, size, timeout_s)
        await self.end()

    def begin(
        self,
        start: int,
        end: int,
        limit: int = -1,
        no_range: bool = False,
        size: int = 0,
        timeout_s: float = 5.0,
    ) -> None:
        """Start it."""
        if size:
            self.file.release()
            self.file = PieceFile.ring(size, PieceMap.of(size).count)
        digest = Digest.parse(self.layer.digest)
        command = FetchRange(digest.task, EPOCH, start, end, timeout_s, limit, no_range=no_range)
        self.fetch = OriginFetch(command, self.file, self._take, self._pool)
        config = OriginConfig(registries=(RegistryConfig(name="r.test", url=self._url),), retries=1)
        self.client = OriginClient(config, Dice(1))
        source = OriginSource("r.test", "demo/app", digest, "blob")
        self.task = asyncio.create_task(self.fetch.run(self.client, source))

    def _take(self, event: Event) -> None:
        self.events.append(event)
        self._emitted.set()

    async def until(self, count: int) -> None:
        """Wait until so many pieces have arrived."""
        async with asyncio.timeout(10):
            while len(self.arrived) < count:
                self._emitted.clear()
                await self._emitted.wait()

    async def end(self) -> None:
        """Wait for its end."""
        await asyncio.wait_for(self.task, 10)
        await self.client.close()

    @property
    def arrived(self) -> list[int]:
        return [event.record.index for event in self.events if isinstance(event, OriginPieceArrived)]

    @property
    def ended(self) -> OriginEnded:
        assert [type(event) for event in self.events].count(OriginEnded) == 1, "a fetch ends once"
        last = self.events[-1]
        assert isinstance(last, OriginEnded), "nothing comes after the end"
        return last

    def wrote(self, index: int) -> bool:
        """Whether a piece's true bytes lie at its place."""
        length = self.pieces.length(index)
        true = self.content[self.pieces.start(index) : self.pieces.end(index)]
        return os.pread(self.file.fd, length, self.file.place(index)) == true


@pytest.fixture
def run(image: Image, origin: OriginRegistry, pool: ReceiverPool) -> Iterator[Run]:
    made = Run(image, origin, pool)
    yield made
    made.file.release()


async def test_a_whole_blob_arrives_piece_by_piece_in_order_with_the_digests_of_its_bytes(run: Run) -> None:
    await run.go(0, run.pieces.count)
    assert run.arrived == list(range(run.pieces.count))
    assert all(run.wrote(index) for index in run.arrived)
    assert run.ended.fault is None
    for event in run.events:
        if isinstance(event, OriginPieceArrived):
            true = run.content[run.pieces.start(event.record.index) : run.pieces.end(event.record.index)]
            hasher = piece_digest("xxh3")()
            hasher.update(true)
            assert (event.record.digest, event.record.epoch) == (hasher.digest(), EPOCH)


async def test_a_range_takes_only_its_bytes_from_the_origin(run: Run, origin: OriginRegistry) -> None:
    await run.go(2, 4)
    assert run.arrived == [2, 3]
    assert all(run.wrote(index) for index in (2, 3))
    assert origin.counters.total_blob_bytes == run.pieces.span_bytes(2, 4)


async def test_the_first_sign_of_life_is_the_answers_headers(run: Run) -> None:
    await run.go(0, 1)
    assert run.events[0] == OriginAdvanced(Digest.parse(run.layer.digest).task, EPOCH, 0)


async def test_a_limit_holds_the_fetch_until_it_is_raised(run: Run) -> None:
    run.begin(0, 4, limit=2)
    await run.until(2)
    assert not run.task.done()
    run.fetch.raise_limit(4)
    await run.end()
    assert run.arrived == [0, 1, 2, 3]


async def test_a_stopped_fetch_ends_without_a_fault_and_is_silent_afterwards(run: Run) -> None:
    run.begin(0, 4, limit=1)
    await run.until(1)
    run.task.cancel()
    await run.end()
    assert run.ended.fault is None
    assert run.arrived == [0]
    assert run.file.references == 1, "the fetch let go of the file"


@pytest.mark.parametrize("turns", [1, 2, 3, 5, 8, 13, 21, 34, 55])
async def test_a_fetch_that_is_stopped_at_any_moment_writes_nothing_afterwards(
    image: Image, origin: OriginRegistry, pool: ReceiverPool, turns: int
) -> None:
    stopped, other = Run(image, origin, pool), Run(image, origin, pool)
    stopped.begin(0, stopped.pieces.count)
    for _ in range(turns):
        await asyncio.sleep(0)
    stopped.task.cancel()
    await stopped.end()
    assert stopped.ended.fault is None
    assert stopped.file.references == 1
    left = os.pread(stopped.file.fd, stopped.layer.size, 0)
    await other.go(0, other.pieces.count)  # the pool has one thread: what it still had to do is done
    assert other.ended.fault is None
    assert os.pread(stopped.file.fd, stopped.layer.size, 0) == left
    stopped.file.release()
    other.file.release()


async def test_a_body_that_is_cut_keeps_the_whole_pieces_before_the_cut(
    run: Run, origin: OriginRegistry
) -> None:
    origin.faults.append(Fault(FaultKind.CUT_FIN, at_bytes=run.pieces.end(4) + 1000))
    await run.go(0, run.pieces.count)
    assert run.arrived == [0, 1, 2, 3, 4], "none of the whole pieces is lost"
    assert all(run.wrote(index) for index in run.arrived)
    assert run.ended.fault is OriginFault.CUT


async def test_a_reset_keeps_the_whole_pieces_before_it(run: Run, origin: OriginRegistry) -> None:
    origin.faults.append(Fault(FaultKind.CUT_RST, at_bytes=run.pieces.end(4)))
    await run.go(0, run.pieces.count)
    assert run.arrived == list(range(len(run.arrived)))
    assert all(run.wrote(index) for index in run.arrived)
    assert run.ended.fault is OriginFault.CUT


async def test_a_full_disk_is_not_the_origins_fault(run: Run) -> None:
    run.file.release()
    run.file = full_disk(run.pieces)
    await run.go(0, run.pieces.count)
    assert (run.arrived, run.ended.fault) == ([], OriginFault.ABANDONED)
    assert "No space left" in run.ended.detail


async def test_a_blob_that_is_deleted_meanwhile_is_fetched_to_its_end(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.write_bytes(bytes(run.layer.size))
    run.file.release()
    run.file = PieceFile.on_disk(path, run.pieces)
    run.begin(0, 4, limit=1)
    await run.until(1)
    path.unlink()
    run.fetch.raise_limit(4)
    await run.end()
    assert run.arrived == [0, 1, 2, 3]
    assert all(run.wrote(index) for index in run.arrived)


@pytest.mark.parametrize("kind", [FaultKind.SLOW_HEADERS, FaultKind.STALL])
async def test_silence_ends_a_fetch_after_its_own_time_and_keeps_what_came(
    run: Run, origin: OriginRegistry, kind: FaultKind
) -> None:
    origin.faults.append(
        Fault(kind, match=run.layer.digest, at_bytes=2 * PIECE_BYTES_MIN, seconds=8.0, times=None)
    )
    await run.go(0, run.pieces.count, timeout_s=0.3)
    assert run.ended.fault is OriginFault.TIMEOUT, "not the 20 s of origin.read_timeout_s"
    assert run.arrived == ([0, 1] if kind is FaultKind.STALL else [])


async def test_a_fetch_that_waits_for_room_is_not_silent(run: Run) -> None:
    run.begin(0, run.pieces.count, limit=1, timeout_s=0.2)
    await run.until(1)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(run.task), 0.5)
    run.fetch.raise_limit(run.pieces.count)
    await run.end()
    assert run.ended.fault is None


async def test_an_origin_that_ignores_range_is_told_apart(run: Run, origin: OriginRegistry) -> None:
    origin.faults.append(Fault(FaultKind.IGNORE_RANGE, times=None))
    await run.go(2, 4)
    assert run.arrived == []
    assert run.ended.fault is OriginFault.NO_RANGE


async def test_where_range_is_ignored_the_prefix_is_discarded(run: Run, origin: OriginRegistry) -> None:
    origin.faults.append(Fault(FaultKind.IGNORE_RANGE, times=None))
    await run.go(2, 4, no_range=True)
    assert run.arrived == [2, 3]
    assert all(run.wrote(index) for index in (2, 3))
    assert run.ended.fault is None


async def test_another_size_than_the_swarms_writes_nothing(run: Run) -> None:
    await run.go(0, 2, size=4 * PIECE_BYTES_MIN)
    assert run.arrived == []
    assert run.ended.fault is OriginFault.SIZE_MISMATCH
    assert run.ended.size == run.layer.size


@pytest.mark.parametrize("beyond_bytes", [0, 1])
async def test_a_range_that_the_origin_places_beyond_its_end_is_not_received(
    run: Run, beyond_bytes: int
) -> None:
    """Such an answer was read and let go of already: there is no socket for a receiver's thread."""
    size = run.layer.size + beyond_bytes
    answer = says(416, b"", ("Content-Range", f"bytes */{size}"), ("Connection", "close"))
    async with fake_origin(answer) as origin:
        run.origin_is_at(origin.url)
        await run.go(1, 2)
    fault = OriginFault.SIZE_MISMATCH if beyond_bytes else OriginFault.WRONG_CONTENT
    assert (run.arrived, run.ended.fault) == ([], fault)


async def test_a_fault_of_ours_ends_a_fetch_and_is_reported(run: Run) -> None:
    reported: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: reported.append(context))
    run.origin_is_at("http://127.0.0.1:1")
    run.begin(0, 2)
    run.client.fetch = broken  # type: ignore[method-assign, assignment]
    await run.end()
    assert run.ended.fault is OriginFault.ABANDONED
    assert [type(each["exception"]) for each in reported] == [ZeroDivisionError]
    assert run.file.references == 1, "the fetch let go of the file"


def broken(*whatever: object) -> None:
    """A fault of ours."""
    raise ZeroDivisionError("a fault of ours")


async def test_a_throttled_origin_says_for_how_long(run: Run, origin: OriginRegistry) -> None:
    origin.faults.append(Fault(FaultKind.STATUS, status=429, retry_after_s=9, times=None))
    await run.go(0, 2)
    assert (run.ended.fault, run.ended.retry_after_s) == (OriginFault.THROTTLED, 9.0)


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (OriginStatus(401, "x"), OriginFault.DENIED),
        (OriginStatus(403, "x"), OriginFault.DENIED),
        (OriginStatus(404, "x"), OriginFault.NOT_FOUND),
        (OriginStatus(500, "x"), OriginFault.SERVER_ERROR),
        (OriginUnreachable("x"), OriginFault.UNREACHABLE),
        (OriginTimeout("x"), OriginFault.TIMEOUT),
        (OwnLimit("x", "y"), OriginFault.THROTTLED),
        (NotAllowed("x", "y"), OriginFault.DENIED),
        (RedirectRefused("x", "y"), OriginFault.DENIED),
        (StoreBroken("x"), OriginFault.ABANDONED),
        (OSError(28, "no space"), OriginFault.ABANDONED),
    ],
)
def test_every_error_has_its_fault(error: Exception, fault: OriginFault) -> None:
    assert fault_of(error) is fault
