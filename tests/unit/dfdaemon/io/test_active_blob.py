"""Readers of a blob that is still arriving."""

import asyncio
from collections.abc import Iterator

import pytest

from dfdaemon.io import active_blob
from dfdaemon.io.active_blob import SOURCES_MAX, ActiveBlob, DownloadFailed, Reader
from dfdaemon.io.ledger import Account
from dfdaemon.io.origin_client import OriginSource
from dfdaemon.io.piece_file import PieceFile
from swarm.digest import Digest
from swarm.ids import HostId, ReaderId, TaskId
from swarm.pieces import PIECE_BYTES_MIN, PieceMap

PIECE = PIECE_BYTES_MIN
SIZE = 3 * PIECE + 100
DIGEST = Digest("sha256", "a" * 64)


class Moves:
    """Keeps what readers report."""

    def __init__(self) -> None:
        self.offsets: list[int] = []
        self.ended: list[ReaderId] = []

    def advanced(self, task: TaskId, reader: ReaderId, offset: int) -> None:
        """Keep the offset."""
        self.offsets.append(offset)

    def closed(self, task: TaskId, reader: ReaderId) -> None:
        """Keep the reader."""
        self.ended.append(reader)


@pytest.fixture
def blob() -> Iterator[ActiveBlob]:
    made = ActiveBlob(DIGEST.task, DIGEST, PieceMap.of(SIZE), "", Account(SIZE))
    made.file = PieceFile.ring(SIZE, made.pieces.count)
    yield made
    made.close()


def reader_of(blob: ActiveBlob, moves: Moves, start: int = 0, end: int = SIZE) -> Reader:
    reader = Reader(blob, ReaderId(1), start, end, moves)
    blob.readers[reader.number] = reader
    return reader


@pytest.mark.parametrize(
    ("released", "offset", "end", "span"),
    [
        (0b0000, 0, SIZE, None),
        (0b0001, 0, SIZE, (0, PIECE)),
        (0b0011, 10, SIZE, (10, 2 * PIECE - 10)),
        (0b1011, 0, SIZE, (0, 2 * PIECE)),
        (0b1111, 0, SIZE, (0, SIZE)),
        (0b1111, 5, 9, (5, 4)),
        (0b1000, 3 * PIECE, SIZE, (3 * PIECE, 100)),
        (0b0111, 3 * PIECE, SIZE, None),
    ],
)
def test_a_span_is_what_lies_together_from_the_offset(
    blob: ActiveBlob, released: int, offset: int, end: int, span: tuple[int, int] | None
) -> None:
    blob.released = released
    assert blob.span_at(offset, end) == span


def test_in_a_ring_a_span_ends_with_its_piece(blob: ActiveBlob) -> None:
    blob.close()
    blob.file = PieceFile.ring(SIZE, 2)
    blob.ring = True
    blob.released = 0b1100
    assert blob.span_at(2 * PIECE, SIZE) == (0, PIECE)
    assert blob.span_at(3 * PIECE, SIZE) == (PIECE, 100)


async def test_a_reader_waits_for_its_bytes(blob: ActiveBlob) -> None:
    reader = reader_of(blob, Moves())
    waiting = asyncio.create_task(reader.span(0))
    await asyncio.sleep(0)  # let it look once
    blob.release(0b0010)
    await asyncio.sleep(0)  # the second piece is not the first
    assert not waiting.done()
    blob.release(0b0011)
    assert (await waiting).length == 2 * PIECE
    reader.close()


async def test_a_failure_ends_all_readers_with_its_reason(blob: ActiveBlob) -> None:
    reader = reader_of(blob, Moves())
    waiting = asyncio.create_task(reader.span(0))
    await asyncio.sleep(0)  # let it look once
    blob.fail(DownloadFailed("no host has it"))
    with pytest.raises(DownloadFailed, match="no host has it"):
        await waiting


async def test_a_reader_for_whom_nothing_arrives_is_sent_to_the_registry(
    blob: ActiveBlob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(active_blob, "PATIENCE_S", 0.0)
    with pytest.raises(DownloadFailed, match="nothing of"):
        await reader_of(blob, Moves()).span(0)
    assert blob.account.is_refused, "it is not asked for here again at once"


async def test_where_bytes_wait_for_the_digest_nothing_comes_before_it(blob: ActiveBlob) -> None:
    blob.hold = True
    reader = reader_of(blob, Moves())
    blob.release(0b1111)
    waiting = asyncio.create_task(reader.span(0))
    await asyncio.sleep(0)  # let it look once
    assert not waiting.done()
    blob.whole = True
    blob.wake()
    assert (await waiting).length == SIZE
    reader.close()


async def test_who_reads_all_gets_the_last_piece_when_the_digest_is_checked(blob: ActiveBlob) -> None:
    reader = reader_of(blob, Moves())
    blob.release(0b1111)
    assert (await reader.span(0)).length == 3 * PIECE
    waiting = asyncio.create_task(reader.span(3 * PIECE))
    await asyncio.sleep(0)  # let it look once
    assert not waiting.done()
    blob.whole = True
    blob.wake()
    assert (await waiting).length == 100
    reader.close()


async def test_who_reads_a_part_does_not_wait_for_the_digest(blob: ActiveBlob) -> None:
    reader = reader_of(blob, Moves(), start=3 * PIECE)
    blob.release(0b1000)
    assert (await reader.span(3 * PIECE)).length == 100
    reader.close()


async def test_who_was_sent_a_piece_that_is_dropped_gets_no_more(blob: ActiveBlob) -> None:
    ahead, behind = reader_of(blob, Moves()), Reader(blob, ReaderId(2), 0, SIZE, Moves())
    blob.readers[behind.number] = behind
    blob.release(0b0011)
    ahead.advance(PIECE + 1)
    behind.advance(PIECE)
    blob.retract(0b0010)
    with pytest.raises(DownloadFailed, match="was wrong"):
        await ahead.span(PIECE + 1)
    waiting = asyncio.create_task(behind.span(PIECE))
    await asyncio.sleep(0)  # let it look once
    assert not waiting.done(), "what was dropped is nobody's"
    blob.release(0b0011)
    assert (await waiting).length == PIECE
    ahead.close()
    behind.close()


async def test_who_is_being_sent_a_piece_that_is_dropped_gets_no_more(blob: ActiveBlob) -> None:
    reader = reader_of(blob, Moves())
    blob.release(0b0011)
    await reader.span(0)
    blob.retract(0b0010)
    blob.release(0b0011)
    with pytest.raises(DownloadFailed, match="was wrong"):
        await reader.span(PIECE)
    reader.close()


def test_a_ring_has_no_place_before_its_lowest_reader(blob: ActiveBlob) -> None:
    reader = reader_of(blob, Moves())
    reader.advance(PIECE + 1)
    assert blob.has_place_for(0), "on disk there is room for all"
    blob.ring = True
    assert [blob.has_place_for(start) for start in (0, PIECE - 1, PIECE, SIZE - 1)] == [
        False,
        False,
        True,
        True,
    ]
    reader.close()
    assert blob.has_place_for(0)


def test_nor_behind_its_last_place(blob: ActiveBlob) -> None:
    assert blob.file is not None
    blob.file.release()
    blob.file, blob.ring = PieceFile.ring(SIZE, 2), True
    reader = reader_of(blob, Moves())
    assert [blob.has_place_for(start) for start in (0, 2 * PIECE - 1, 2 * PIECE)] == [True, True, False]
    reader.advance(PIECE)
    assert blob.has_place_for(2 * PIECE)
    reader.close()


def test_moves_are_told_once_a_piece_and_at_the_end(blob: ActiveBlob) -> None:
    moves = Moves()
    reader = reader_of(blob, moves)
    for offset in (10, PIECE - 1, PIECE, PIECE + 5, 2 * PIECE, SIZE):
        reader.advance(offset)
    assert moves.offsets == [10, PIECE, 2 * PIECE, SIZE]


def test_bytes_of_a_blob_that_was_whole_count_as_from_disk(blob: ActiveBlob) -> None:
    blob.from_disk = True
    reader = reader_of(blob, Moves(), start=100)
    reader.advance(PIECE)
    reader.advance(SIZE)
    assert blob.account.disk_bytes == SIZE - 100


async def test_the_file_stays_open_until_the_last_reader_is_closed(blob: ActiveBlob) -> None:
    moves = Moves()
    reader = reader_of(blob, moves)
    blob.release(0b1111)
    span = await reader.span(0)
    blob.close()
    assert span.file.references == 1
    reader.close()
    reader.close()
    assert span.file.references == 0
    assert moves.ended == [reader.number]
    assert not blob.readers


def test_the_newest_source_is_first_and_they_are_bounded(blob: ActiveBlob) -> None:
    sources = [OriginSource("r", f"repository-{n}", DIGEST, "blob") for n in range(SOURCES_MAX + 2)]
    for source in sources:
        blob.add_source(source)
    blob.add_source(sources[-2])
    assert blob.sources[0] == sources[-2]
    assert len(blob.sources) == SOURCES_MAX


def test_scratch_space_is_freed_for_the_parent_that_failed_only(blob: ActiveBlob) -> None:
    file = PieceFile.ring(SIZE, 1)
    blob.scratch[2] = HostId("a"), file
    blob.drop_scratch(2, HostId("b"))
    assert file.references == 1
    blob.drop_scratch(2, HostId("a"))
    assert file.references == 0
    blob.drop_scratch(2)


def test_scratch_space_that_nobody_wants_is_freed_whoever_sends_it(blob: ActiveBlob) -> None:
    file = PieceFile.ring(SIZE, 1)
    blob.scratch[2] = HostId("a"), file
    blob.drop_scratch(2)
    assert file.references == 0
