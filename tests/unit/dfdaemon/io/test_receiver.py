"""The receivers' threads: pieces from a socket to their place."""

import asyncio
import itertools
import os
import socket
import time
from contextlib import ExitStack
from typing import Any

import pytest

from dfdaemon.events import PeerFault
from dfdaemon.io import receiver
from dfdaemon.io.piece_file import PieceFile
from dfdaemon.io.piece_transfer import Outcome, PieceTransfer, Received
from dfdaemon.io.receiver import ReceiverPool, Step
from dfdaemon.io.token_bucket import BURST_S, TokenBucket
from swarm.pieces import PIECE_BYTES_MIN
from tests.support.peers import Blob, read_piece, receivers
from tests.support.system import mark_of, tcp_wires, wires

BLOB = Blob(4 * PIECE_BYTES_MIN + 5)


def receive(
    pool: ReceiverPool,
    child: socket.socket,
    file: PieceFile,
    index: int,
    limit_s: float = 60.0,
    limit: TokenBucket | None = None,
) -> tuple[PieceTransfer, asyncio.Queue[Outcome]]:
    outcomes: asyncio.Queue[Outcome] = asyncio.Queue()
    transfer = PieceTransfer(child, file, index, pool.make_hash(), limit_s, limit)
    pool.start(transfer, outcomes.put_nowait)
    return transfer, outcomes


@pytest.mark.parametrize("kind", ["xxh3", "blake3"])
async def test_pieces_go_to_their_places_one_after_another(kind: str) -> None:
    blob, file = Blob(4 * PIECE_BYTES_MIN + 5, kind), BLOB.empty_file()
    with wires() as (parent, child):
        async with receivers(1, kind) as pool:
            for index in (4, 1):
                _, outcomes = receive(pool, child, file, index)
                await asyncio.to_thread(parent.sendall, blob.piece(index))
                received = await outcomes.get()
                assert isinstance(received, Received)
                assert received.digest == blob.records[index].digest
                assert read_piece(file, index) == blob.piece(index)


async def test_what_follows_a_piece_stays_in_the_socket() -> None:
    with wires() as (parent, child):
        async with receivers() as pool:
            _, outcomes = receive(pool, child, BLOB.empty_file(), 4)
            parent.sendall(BLOB.piece(4) + b"next")
            assert isinstance(await outcomes.get(), Received)
            assert child.recv(100) == b"next"


async def test_a_slow_transfer_holds_up_nobody_on_the_same_thread() -> None:
    file = BLOB.empty_file()
    with wires() as (slow, slow_child), wires() as (quick, quick_child):
        async with receivers(1) as pool:
            transfer, slow_outcomes = receive(pool, slow_child, file, 0)
            slow.sendall(b"x")
            _, outcomes = receive(pool, quick_child, file, 1)
            await asyncio.to_thread(quick.sendall, BLOB.piece(1))
            assert isinstance(await outcomes.get(), Received)
            assert slow_outcomes.empty()
            transfer.cancel()
            assert await slow_outcomes.get() is PeerFault.CANCELLED


async def test_after_a_cancel_nothing_is_written() -> None:
    file = BLOB.empty_file()
    with wires() as (parent, child):
        async with receivers() as pool:
            transfer, outcomes = receive(pool, child, file, 0)
            transfer.cancel()
            transfer.cancel()
            assert await outcomes.get() is PeerFault.CANCELLED
            parent.sendall(b"late")
            assert child.recv(100) == b"late"
        assert outcomes.empty()
    assert read_piece(file, 0) == bytes(BLOB.pieces.length(0))


async def test_a_cancel_after_the_end_changes_nothing() -> None:
    with wires() as (parent, child):
        async with receivers() as pool:
            transfer, outcomes = receive(pool, child, BLOB.empty_file(), 4)
            parent.sendall(BLOB.piece(4))
            assert isinstance(await outcomes.get(), Received)
            _, second = receive(pool, child, BLOB.empty_file(), 4)  # the same socket again
            transfer.cancel()
            parent.sendall(BLOB.piece(4))
            assert isinstance(await second.get(), Received)
        assert outcomes.empty()


@pytest.mark.parametrize("sent", [b"", b"some"])
async def test_a_parent_that_goes_away_closes_the_transfer(sent: bytes) -> None:
    with wires() as (parent, child):
        async with receivers() as pool:
            _, outcomes = receive(pool, child, BLOB.empty_file(), 0)
            parent.sendall(sent)
            parent.close()
            assert await outcomes.get() is PeerFault.CLOSED


async def test_a_silent_parent_is_given_up() -> None:
    with wires() as (parent, child), wires() as (other, other_child):
        async with receivers(1) as pool:
            _, first = receive(pool, child, BLOB.empty_file(), 0, 0.02)
            _, second = receive(pool, other_child, BLOB.empty_file(), 0, 0.01)
            parent.sendall(b"some")
            other.sendall(b"some")
            assert await first.get() is PeerFault.TIMEOUT
            assert await second.get() is PeerFault.TIMEOUT


async def test_a_disk_that_takes_nothing_is_our_fault() -> None:
    read_only = os.memfd_create("piece")
    try:
        closed = PieceFile(os.open(f"/proc/self/fd/{read_only}", os.O_RDONLY), BLOB.pieces)
        with wires() as (parent, child):
            async with receivers() as pool:
                _, outcomes = receive(pool, child, closed, 4)
                parent.sendall(BLOB.piece(4))
                assert await outcomes.get() is PeerFault.DISK
    finally:
        os.close(read_only)


class Broken(PieceTransfer):
    """One with a fault of ours in it."""

    def step(self, room: memoryview) -> Step | Outcome:
        raise ZeroDivisionError("a fault of ours")


@pytest.mark.parametrize("closed", [True, False])
async def test_a_fault_ends_its_transfer_alone_and_is_reported_once(closed: bool) -> None:
    """Neither a socket that was closed before the start nor an exception in a step ends the thread."""
    reported: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: reported.append(context))
    file, outcomes = BLOB.empty_file(), asyncio.Queue[Outcome]()
    with wires() as (_, lost), wires() as (parent, child):
        async with receivers(1) as pool:
            if closed:
                lost.close()
            kind = PieceTransfer if closed else Broken
            pool.start(kind(lost, file, 4, pool.make_hash(), 60.0, None), outcomes.put_nowait)
            assert await asyncio.wait_for(outcomes.get(), 5) is PeerFault.TIMEOUT
            assert [type(each["exception"]) for each in reported] == [
                ValueError if closed else ZeroDivisionError
            ]
            _, others = receive(pool, child, file, 4)
            parent.sendall(BLOB.piece(4))
            assert isinstance(await asyncio.wait_for(others.get(), 5), Received)
        assert outcomes.empty()
        assert len(reported) == 1


async def test_closing_the_pool_cancels_what_runs() -> None:
    pool = ReceiverPool(1, "xxh3")
    with wires() as (_, child):
        _, outcomes = receive(pool, child, BLOB.empty_file(), 0)
        pool.close()
        assert await outcomes.get() is PeerFault.CANCELLED


async def test_a_limit_holds_all_transfers_of_a_pool_back() -> None:
    limit, file = TokenBucket(20_000_000), BLOB.empty_file()
    with wires() as (parent, child), wires() as (other, other_child):
        async with receivers() as pool:
            began = asyncio.get_running_loop().time()
            _, first = receive(pool, child, file, 0, limit=limit)
            _, second = receive(pool, other_child, file, 1, limit=limit)
            await asyncio.gather(
                asyncio.to_thread(parent.sendall, BLOB.piece(0)),
                asyncio.to_thread(other.sendall, BLOB.piece(1)),
            )
            for index, outcomes in enumerate((first, second)):
                received = await outcomes.get()
                assert isinstance(received, Received)
                assert received.digest == BLOB.records[index].digest
            count = BLOB.pieces.length(0) + BLOB.pieces.length(1)
            took_s = asyncio.get_running_loop().time() - began
            assert took_s >= (count - 2 * limit.step_bytes) / 20_000_000 - BURST_S


async def test_a_transfer_that_is_held_back_can_be_cancelled() -> None:
    limit = TokenBucket(1)
    limit.take(1000, time.monotonic())
    with wires() as (parent, child):
        async with receivers(1) as pool:
            transfer, outcomes = receive(pool, child, BLOB.empty_file(), 0, limit=limit)
            parent.sendall(b"some")
            transfer.cancel()
            assert await outcomes.get() is PeerFault.CANCELLED


async def test_a_limit_lets_all_transfers_take_turns() -> None:
    limit, file = TokenBucket(4_000_000), BLOB.empty_file()
    with ExitStack() as stack:
        ends = [stack.enter_context(wires()) for _ in range(4)]
        async with receivers(1) as pool:
            received = [receive(pool, ends[n][1], file, n, limit=limit)[1].get() for n in range(4)]
            sending = [asyncio.to_thread(ends[n][0].sendall, BLOB.piece(n)) for n in range(4)]
            running = [asyncio.ensure_future(each) for each in (*received, *sending)]
            await asyncio.wait(running[:4], return_when=asyncio.FIRST_COMPLETED)
            for index in range(4):
                half = BLOB.pieces.length(index) // 2
                assert read_piece(file, index)[:half] == BLOB.piece(index)[:half]
            await asyncio.gather(*running)


async def test_a_silent_parent_is_given_up_while_others_use_up_the_limit() -> None:
    limit, file = TokenBucket(1_000_000), BLOB.empty_file()
    with wires() as (parent, child), wires() as (other, other_child), wires() as (_, silent):
        async with receivers(1) as pool:
            busy = [receive(pool, end, file, n, limit=limit)[1] for n, end in enumerate((child, other_child))]
            _, outcomes = receive(pool, silent, file, 2, 0.3, limit)
            sending = [
                asyncio.ensure_future(asyncio.to_thread(end.sendall, BLOB.piece(n)))
                for n, end in enumerate((parent, other))
            ]
            assert await outcomes.get() is PeerFault.TIMEOUT
            assert busy[0].empty()
            assert busy[1].empty()
            for each in busy:
                assert isinstance(await each.get(), Received)
            await asyncio.gather(*sending)


async def test_a_transfer_that_ends_gives_back_what_the_limit_granted() -> None:
    limit = TokenBucket(1000)  # a step takes 16 s
    with wires() as (parent, child), wires() as (other, other_child):
        async with receivers(1) as pool:
            waiting: list[asyncio.Queue[Outcome]] = []
            for sender, end in ((parent, child), (other, other_child)):
                sender.sendall(BLOB.piece(4))
                waiting.append(receive(pool, end, BLOB.empty_file(), 4, limit=limit)[1])
                assert isinstance(await asyncio.wait_for(waiting[-1].get(), 5), Received)


async def test_a_resumed_transfer_waits_for_the_limit_all_the_same() -> None:
    limit = TokenBucket(100_000)
    limit.take(30_000, time.monotonic())
    with wires() as (parent, child):
        async with receivers(1) as pool:
            began = time.monotonic()
            transfer, outcomes = receive(pool, child, BLOB.empty_file(), 4, limit=limit)
            parent.sendall(BLOB.piece(4))
            for _ in range(100):
                transfer.resume()
                await asyncio.sleep(0)
            assert isinstance(await outcomes.get(), Received)
            assert time.monotonic() - began >= 0.3 - 2 * BURST_S


async def waits_for_much(child: socket.socket) -> None:
    while mark_of(child) == 1:  # noqa: ASYNC110 - a thread sets it, and tells nobody
        await asyncio.sleep(0)


@pytest.mark.parametrize("part_bytes", [1000, 100_000, 300_000])
async def test_pieces_in_small_parts_over_tcp(part_bytes: int) -> None:
    file = BLOB.empty_file()
    with tcp_wires() as (parent, child):
        async with receivers(1) as pool:
            for index in (0, 4, 1):
                _, outcomes = receive(pool, child, file, index)
                content = BLOB.piece(index)
                for at in range(0, len(content), part_bytes):
                    await asyncio.to_thread(parent.sendall, content[at : at + part_bytes])
                assert isinstance(await outcomes.get(), Received)
                assert read_piece(file, index) == content
                assert mark_of(child) == 1, "of the next frame every byte counts"


async def test_a_parent_that_stalls_below_the_mark_is_given_up_after_what_it_sent_was_taken() -> None:
    file = BLOB.empty_file()
    with tcp_wires() as (parent, child):
        async with receivers(1) as pool:
            _, outcomes = receive(pool, child, file, 0, 0.05)
            await waits_for_much(child)
            parent.sendall(BLOB.piece(0)[:100])
            assert await outcomes.get() is PeerFault.TIMEOUT
            assert read_piece(file, 0)[:100] == BLOB.piece(0)[:100]


async def test_a_parent_that_sends_less_than_the_mark_in_time_is_not_silent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(receiver, "UNTOLD_S_MAX", 0.01)
    monkeypatch.setattr(receiver, "LOOK_S", 0.01)
    file = BLOB.empty_file()
    with tcp_wires() as (parent, child):
        async with receivers(1) as pool:
            transfer, outcomes = receive(pool, child, file, 0)
            await waits_for_much(child)
            began = transfer.touched
            parent.sendall(BLOB.piece(0)[:100])
            while read_piece(file, 0)[:100] != BLOB.piece(0)[:100]:  # noqa: ASYNC110
                await asyncio.sleep(0)
            assert transfer.touched > began
            assert outcomes.empty()
            transfer.cancel()
            assert await outcomes.get() is PeerFault.CANCELLED


async def test_a_silent_transfer_is_looked_at_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receiver, "UNTOLD_S_MAX", 0.1)
    monkeypatch.setattr(receiver, "LOOK_S", 0.005)
    looks: list[float] = []
    step = PieceTransfer.step

    def counted(transfer: PieceTransfer, room: memoryview) -> Step | Outcome:
        looks.append(time.monotonic())
        return step(transfer, room)

    monkeypatch.setattr(PieceTransfer, "step", counted)
    with tcp_wires() as (_, child):
        async with receivers(1) as pool:
            transfer, outcomes = receive(pool, child, BLOB.empty_file(), 0)
            while len(looks) < 4:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            transfer.cancel()
            assert await outcomes.get() is PeerFault.CANCELLED
    assert all(later - sooner > 0.05 for sooner, later in itertools.pairwise(looks[1:]))


async def test_a_reset_below_the_mark_closes_the_transfer() -> None:
    with tcp_wires() as (parent, child):
        async with receivers(1) as pool:
            _, outcomes = receive(pool, child, BLOB.empty_file(), 0)
            await waits_for_much(child)
            parent.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, bytes((1, 0, 0, 0, 0, 0, 0, 0)))
            parent.close()
            assert await outcomes.get() is PeerFault.CLOSED
