"""The body of an answer to a run of pieces, step by step and in a thread."""

import asyncio
import errno
import gzip

import h11
import pytest

from dfdaemon.io.body_transfer import BodyTransfer, Outcome, PieceRun
from dfdaemon.io.origin_channel import PlainChannel
from dfdaemon.io.origin_connections import Download, Terms
from dfdaemon.io.piece_file import PieceFile
from dfdaemon.io.receiver import Step
from dfdaemon.io.token_bucket import BURST_S, TokenBucket
from swarm.errors import OriginContent, OriginCut, OriginTimeout
from swarm.piece_digest import piece_digest
from swarm.pieces import MIB
from tests.support.peers import Blob, read_piece, receivers
from tests.support.system import INTERRUPTIONS, ScriptedSocket, full_disk, mark_of, tcp_wires, wires

BLOB = Blob(2 * MIB + 5)
COUNT = BLOB.pieces.count
ROOM = memoryview(bytearray(512 * 1024))


def download_of(
    sock: object, head: str, first: bytes = b"", status: int = 200, limit: TokenBucket | None = None
) -> Download:
    """An answer whose head, and perhaps some of its body, was read from a socket."""
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method="GET", target="/", headers=[("Host", "r.test")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(f"HTTP/1.1 {status} Whatever\r\n{head}\r\n\r\n".encode() + first)
    response = connection.next_event()
    assert isinstance(response, h11.Response)
    channel = PlainChannel(sock)  # type: ignore[arg-type]
    return Download(channel, connection, response, Terms("x", 5.0, limit), lambda channel: None)


class Bench:
    """A run of pieces of the blob, and what was told of it."""

    def __init__(
        self,
        start: int = 0,
        end: int = COUNT,
        limit: int = COUNT,
        skip: int = 0,
        file: PieceFile | None = None,
    ) -> None:
        self.file = file or BLOB.empty_file()
        self.arrived: list[int] = []
        self.outcomes: asyncio.Queue[Outcome] = asyncio.Queue()
        self.run = PieceRun(self.file, piece_digest("xxh3"), start, end, limit, skip)

    def transfer(self, download: Download, silence_s: float = 5.0) -> BodyTransfer:
        return BodyTransfer(download, self.run, silence_s, self._arrived)

    def _arrived(self, index: int, digest: bytes) -> None:
        assert digest == BLOB.records[index].digest
        assert read_piece(self.file, index) == BLOB.piece(index)
        self.arrived.append(index)


def length(count: int) -> str:
    return f"Content-Length: {count}"


async def test_a_body_of_many_pieces_by_a_thread() -> None:
    bench = Bench()
    with wires() as (origin, ours):
        async with receivers(1) as pool:
            download = download_of(ours, length(len(BLOB.content)), BLOB.content[:1000])
            pool.start(bench.transfer(download), bench.outcomes.put_nowait)
            await asyncio.to_thread(origin.sendall, BLOB.content[1000:])
            assert await bench.outcomes.get() is None
            assert bench.arrived == list(range(COUNT))
            assert bench.run.received_bytes == len(BLOB.content)
            assert download.ended
            download.release()
            assert ours.fileno() >= 0, "the connection is kept for the next download"


async def test_what_comes_in_chunks_is_the_same() -> None:
    bench = Bench()
    with wires() as (origin, ours):
        async with receivers(1) as pool:
            download = download_of(ours, "Transfer-Encoding: chunked")
            pool.start(bench.transfer(download), bench.outcomes.put_nowait)
            middle = len(BLOB.content) - 100_000
            for part in (BLOB.content[:100_000], BLOB.content[100_000:middle], BLOB.content[middle:]):
                await asyncio.to_thread(origin.sendall, b"%x\r\n%b\r\n" % (len(part), part))
            assert await bench.outcomes.get() is None
            assert bench.arrived == list(range(COUNT))


@pytest.mark.parametrize("sent", [1, 10_000, len(BLOB.content) - 1])
async def test_over_tcp_a_body_of_known_length_is_awaited_in_large_parts(sent: int) -> None:
    bench = Bench()
    with tcp_wires() as (origin, ours):
        transfer = bench.transfer(download_of(ours, length(len(BLOB.content))))
        assert transfer.step(ROOM) is Step.WAIT
        assert mark_of(ours) > 1
        sending = asyncio.create_task(
            asyncio.to_thread(
                lambda: [origin.sendall(part) for part in (BLOB.content[:sent], BLOB.content[sent:])]
            )
        )
        while (found := transfer.step(ROOM)) in (Step.READ, Step.WAIT):  # noqa: ASYNC110 - it takes its turns
            await asyncio.sleep(0)
        await sending
        assert found is None
        assert bench.run.received_bytes == len(BLOB.content)
        assert mark_of(ours) == 1, "of the next answer every byte counts"


@pytest.mark.parametrize("head", ["Transfer-Encoding: chunked", "Connection: close"])
async def test_where_the_length_is_unknown_every_byte_counts(head: str) -> None:
    with tcp_wires() as (_, ours):
        assert Bench().transfer(download_of(ours, head)).step(ROOM) is Step.WAIT
        assert mark_of(ours) == 1


async def test_where_range_is_ignored_the_rest_is_left_in_the_socket() -> None:
    bench = Bench(1, 2, skip=BLOB.pieces.start(1))
    with wires() as (origin, ours):
        async with receivers(1) as pool:
            download = download_of(ours, length(len(BLOB.content)))
            pool.start(bench.transfer(download), bench.outcomes.put_nowait)
            await asyncio.to_thread(origin.sendall, BLOB.content[: BLOB.pieces.end(1)])
            origin.sendall(b"next")
            assert await bench.outcomes.get() is None
            assert bench.arrived == [1]
            assert ours.recv(100) == b"next"


async def test_a_run_without_room_pauses_until_there_is_some() -> None:
    bench = Bench(limit=1)
    with wires() as (origin, ours):
        async with receivers(1) as pool:
            transfer = bench.transfer(download_of(ours, length(len(BLOB.content))), silence_s=0.02)
            pool.start(transfer, bench.outcomes.put_nowait)
            sending = asyncio.create_task(asyncio.to_thread(origin.sendall, BLOB.content))
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(bench.outcomes.get(), 0.1)
            assert bench.arrived == [0], "nothing is written where there is no room; that is no silence"
            bench.run.limit = COUNT
            transfer.resume()
            assert await bench.outcomes.get() is None
            assert bench.arrived == list(range(COUNT))
            await sending


async def test_a_paused_one_can_be_cancelled() -> None:
    bench = Bench(limit=0)
    with wires() as (_, ours):
        async with receivers(1) as pool:
            transfer = bench.transfer(download_of(ours, length(len(BLOB.content))))
            pool.start(transfer, bench.outcomes.put_nowait)
            transfer.cancel()
            assert isinstance(await bench.outcomes.get(), asyncio.CancelledError)


async def test_a_silent_origin_is_given_up() -> None:
    bench = Bench()
    with wires() as (_, ours):
        async with receivers(1) as pool:
            transfer = bench.transfer(download_of(ours, length(len(BLOB.content)), b"some"), silence_s=0.01)
            pool.start(transfer, bench.outcomes.put_nowait)
            assert isinstance(await bench.outcomes.get(), OriginTimeout)
            assert bench.run.received_bytes == 4


async def test_short_reads_and_interruptions() -> None:
    bench = Bench(COUNT - 1)
    with wires() as (origin, ours):
        content = BLOB.piece(COUNT - 1)
        origin.sendall(content[2:])
        sock = ScriptedSocket(ours, [1, *INTERRUPTIONS])
        transfer = bench.transfer(download_of(sock, length(5), content[:2]))
        assert transfer.pending, "what came with the head"
        found = [transfer.step(ROOM) for _ in range(5)]
        assert found == [Step.READ, Step.READ, Step.WAIT, Step.WAIT, None]
        await asyncio.sleep(0)
        assert bench.arrived == [COUNT - 1]


@pytest.mark.parametrize("read", [0, ConnectionResetError(errno.ECONNRESET, "reset")])
async def test_a_cut_loses_no_byte_that_came_before(read: int | OSError) -> None:
    bench = Bench()
    came = BLOB.pieces.end(0) + 1000
    with wires() as (_, ours):
        download = download_of(ScriptedSocket(ours, [read]), length(len(BLOB.content)), BLOB.content[:came])
        transfer = bench.transfer(download)
        assert transfer.step(ROOM) is Step.READ
        assert isinstance(transfer.step(ROOM), OriginCut)
        await asyncio.sleep(0)
        assert (bench.arrived, bench.run.received_bytes) == ([0], came)


async def test_a_body_that_is_shorter_than_the_run() -> None:
    bench = Bench()
    with wires() as (_, ours):
        transfer = bench.transfer(download_of(ours, length(4), b"some"))
        assert transfer.step(ROOM) is Step.READ
        found = transfer.step(ROOM)
        assert isinstance(found, OriginCut)
        assert f"{len(BLOB.content) - 4} bytes before the end" in str(found)


async def test_broken_chunks_are_the_origins_fault() -> None:
    with wires() as (origin, ours):
        transfer = Bench().transfer(download_of(ours, "Transfer-Encoding: chunked"))
        origin.sendall(b"no number\r\n")
        assert isinstance(transfer.step(ROOM), OriginContent)


async def test_a_full_disk_is_not_the_origins_fault() -> None:
    bench = Bench(file=full_disk(BLOB.pieces))
    with wires() as (_, ours):
        found = bench.transfer(download_of(ours, length(len(BLOB.content)), b"some")).step(ROOM)
        assert isinstance(found, OSError)
        assert found.errno == errno.ENOSPC


async def test_an_encoding_is_undone_on_the_way() -> None:
    bench, packed = Bench(), gzip.compress(BLOB.content)
    with wires() as (origin, ours):
        async with receivers(1) as pool:
            download = download_of(ours, length(len(packed)), packed[:20])
            download.inflate()
            pool.start(bench.transfer(download), bench.outcomes.put_nowait)
            await asyncio.to_thread(origin.sendall, packed[20:])
            assert await bench.outcomes.get() is None
            assert bench.arrived == list(range(COUNT))


async def test_a_limit_is_smooth() -> None:
    """In any 10 ms no more comes than the rate allows, and what may be caught up."""
    rate = 20_000_000
    limit, bench, counts = TokenBucket(rate), Bench(), [(0.0, 0)]
    with wires() as (origin, ours):
        async with receivers(1) as pool:
            transfer = bench.transfer(download_of(ours, length(len(BLOB.content)), limit=limit))
            began = asyncio.get_running_loop().time()
            pool.start(transfer, bench.outcomes.put_nowait)
            sending = asyncio.create_task(asyncio.to_thread(origin.sendall, BLOB.content))
            while bench.outcomes.empty():
                count = bench.run.received_bytes
                counts.append((asyncio.get_running_loop().time() - began, count))
                await asyncio.sleep(0.001)
            await sending
    assert bench.outcomes.get_nowait() is None
    for at, count in counts:
        assert count <= rate * (at + BURST_S) + limit.step_bytes
    assert counts[-1][0] >= len(BLOB.content) / rate - 2 * BURST_S
