"""Both ends of the peer wire together, over real sockets on loopback, plain and with TLS, on both event loops."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from dfdaemon.events import (
    ChildLost,
    ChildSubscribed,
    ChildUnsubscribed,
    Event,
    ParentBusy,
    ParentGone,
    ParentHas,
    ParentLost,
    ParentReady,
    PeerFault,
    PieceArrived,
    PieceFailed,
    PieceRequested,
    UploadEnded,
)
from dfdaemon.io.piece_file import PieceFile
from dfdaemon.io.token_bucket import TokenBucket
from swarm.frames import RECORDS_MAX
from swarm.ids import Epoch, HostId
from swarm.messages import Address, Parent, PieceRecord
from swarm.pieces import PIECE_BYTES_MIN
from tests.support.loops import on_both_loops
from tests.support.peers import (
    CHILD,
    PARENT,
    SECURED,
    Blob,
    Ends,
    Inbox,
    read_piece,
    serving,
    subscribe,
    taking,
    tls_settings,
    two_ends,
)

SMALL = Blob(6 * PIECE_BYTES_MIN + 5)
LARGE = Blob(16 * PIECE_BYTES_MIN, seed=8)


@pytest.fixture(autouse=True, params=["plain", "TLS"])
def _wire(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[None]:
    """Every test here runs over both."""
    token = SECURED.set(tls_settings(tmp_path) if request.param == "TLS" else None)
    yield
    SECURED.reset(token)


async def ask(ends: Ends, index: int, target: PieceFile, blob: Blob = SMALL) -> PieceRequested:
    """Ask for a piece, and return what the parent's machine hears."""
    ends.client.request(PARENT, blob.task, index, target, False)
    asked = await ends.served.next(PieceRequested)
    assert (asked.child, asked.task, asked.index) == (CHILD, blob.task, index)
    return asked


def upload(ends: Ends, asked: PieceRequested, source: PieceFile, blob: Blob = SMALL) -> None:
    record = blob.records[asked.index]
    length = blob.pieces.length(asked.index)
    ends.server.start_upload(CHILD, asked.request, blob.task, record, source, length)


def serve_all(ends: Ends, blob: Blob, source: PieceFile) -> None:
    """Let the parent answer everything it is asked."""

    def react(event: Event) -> None:
        if isinstance(event, PieceRequested):
            upload(ends, event, source, blob)

    ends.served.react = react


@on_both_loops
async def test_a_piece_travels_from_file_to_file() -> None:
    source, target = SMALL.file(), SMALL.empty_file()
    async with two_ends() as ends:
        await subscribe(ends, SMALL)
        for index in (6, 0):
            upload(ends, await ask(ends, index, target), source)
            ended = await ends.served.next(UploadEnded)
            assert (ended.sent_bytes, ended.failed) == (SMALL.pieces.length(index), False)
            arrived = await ends.got.next(PieceArrived)
            record = SMALL.records[index]
            assert (arrived.claimed, arrived.actual, arrived.scratch) == (record, record.digest, False)
            assert read_piece(target, index) == SMALL.piece(index)
        assert ends.server.stats().sent_bytes == SMALL.pieces.length(6) + SMALL.pieces.length(0)
    assert source.references == target.references == 1


@on_both_loops
async def test_many_requests_at_once_are_all_answered() -> None:
    source, target = LARGE.file(), LARGE.empty_file()
    async with two_ends() as ends:
        await subscribe(ends, LARGE)
        serve_all(ends, LARGE, source)
        for index in range(LARGE.pieces.count):
            ends.client.request(PARENT, LARGE.task, index, target, False)
        arrived = [await ends.got.next(PieceArrived) for _ in range(LARGE.pieces.count)]
        assert sorted(each.claimed.index for each in arrived) == list(range(LARGE.pieces.count))
        assert all(each.actual == each.claimed.digest for each in arrived)
        content = b"".join(read_piece(target, index) for index in range(LARGE.pieces.count))
        assert content == LARGE.content


@on_both_loops
async def test_pieces_travel_between_versions() -> None:
    for child, parent in ((1, 1), (1, 2), (2, 1), (2, 2)):
        source, target = LARGE.file(), LARGE.empty_file()
        async with two_ends(child_speaks=child, parent_speaks=parent) as ends:
            await subscribe(ends, LARGE)
            serve_all(ends, LARGE, source)
            for index in range(LARGE.pieces.count):
                ends.client.request(PARENT, LARGE.task, index, target, False)
            arrived = [await ends.got.next(PieceArrived) for _ in range(LARGE.pieces.count)]
            assert all(each.actual == each.claimed.digest for each in arrived)
            assert ends.server.stats().refused == 0


@on_both_loops
async def test_requests_before_the_connection_stands_wait_for_it() -> None:
    source, target = SMALL.file(), SMALL.empty_file()
    async with two_ends() as ends:
        serve_all(ends, SMALL, source)
        ends.client.subscribe(ends.parent, SMALL.task, SMALL.pieces.size)
        ends.client.request(PARENT, SMALL.task, 1, target, False)
        assert (await ends.got.next(PieceArrived)).actual == SMALL.records[1].digest


@on_both_loops
async def test_a_second_copy_of_a_piece_is_told_apart() -> None:
    source, target, scratch = SMALL.file(), SMALL.empty_file(), PieceFile.ring(SMALL.pieces.size, 1)
    async with two_ends() as ends:
        await subscribe(ends, SMALL)
        serve_all(ends, SMALL, source)
        ends.client.request(PARENT, SMALL.task, 2, target, False)
        ends.client.request(PARENT, SMALL.task, 2, scratch, True)
        assert {(await ends.got.next(PieceArrived)).scratch for _ in range(2)} == {False, True}
        assert read_piece(scratch, 2) == read_piece(target, 2) == SMALL.piece(2)


@on_both_loops
async def test_what_a_parent_gains_is_heard_however_much_it_is() -> None:
    blob = Blob(1)
    records = tuple(PieceRecord(0, bytes(16), Epoch(number)) for number in range(RECORDS_MAX + 1))
    wide = (PieceRecord(0, bytes(32), Epoch(1)),)
    async with two_ends() as ends:
        await subscribe(ends, blob)
        ends.server.send_have((CHILD, HostId("gone")), blob.task, records + wide)
        heard = [await ends.got.next(ParentHas) for _ in range(3)]
        assert heard[0].records + heard[1].records == records
        assert heard[2] == ParentHas(PARENT, blob.task, wide)


@on_both_loops
async def test_a_busy_parent_says_so_and_calls_later() -> None:
    target = SMALL.empty_file()
    async with two_ends() as ends:
        await subscribe(ends, SMALL)
        asked = await ask(ends, 3, target)
        ends.server.refuse(CHILD, asked.request, False)
        assert await ends.got.next(ParentBusy) == ParentBusy(PARENT, SMALL.task, 3)
        ends.server.wake(CHILD)
        assert await ends.got.next(ParentReady) == ParentReady(PARENT)


@on_both_loops
async def test_a_piece_that_is_not_there_is_gone() -> None:
    async with two_ends() as ends:
        await subscribe(ends, SMALL)
        asked = await ask(ends, 3, SMALL.empty_file())
        ends.server.refuse(CHILD, asked.request, True)
        failed = await ends.got.next(PieceFailed)
        assert failed == PieceFailed(PARENT, SMALL.task, 3, PeerFault.GONE)


@on_both_loops
async def test_a_task_may_be_gone_or_of_another_size() -> None:
    async with two_ends() as ends:
        for say in ("gone", "other size"):
            ends.client.subscribe(ends.parent, SMALL.task, SMALL.pieces.size)
            await ends.served.next(ChildSubscribed)
            if say == "gone":
                ends.server.send_gone(CHILD, SMALL.task)
            else:
                ends.server.send_availability(CHILD, SMALL.task, SMALL.pieces.size + 1, 1)
            assert await ends.got.next(ParentGone) == ParentGone(PARENT, SMALL.task)
        assert await ends.served.next(ChildUnsubscribed) == ChildUnsubscribed(CHILD, SMALL.task)


@on_both_loops
async def test_several_tasks_share_the_connection() -> None:
    async with two_ends() as ends:
        await subscribe(ends, SMALL)
        await subscribe(ends, LARGE)
        ends.client.unsubscribe(PARENT, SMALL.task)
        assert await ends.served.next(ChildUnsubscribed) == ChildUnsubscribed(CHILD, SMALL.task)
        assert ends.server.stats().children == 1


@on_both_loops
async def test_a_request_is_taken_back_before_its_answer() -> None:
    source, target = SMALL.file(), SMALL.empty_file()
    async with two_ends() as ends:
        await subscribe(ends, SMALL)
        asked = await ask(ends, 0, target)
        ends.client.cancel(PARENT, SMALL.task, 0, False)
        failed = await ends.got.next(PieceFailed)
        assert failed == PieceFailed(PARENT, SMALL.task, 0, PeerFault.CANCELLED)
        assert target.references == 1
        upload(ends, await ask(ends, 1, target), source)  # on another connection
        assert (await ends.got.next(PieceArrived)).claimed.index == 1
        await ends.served.next(UploadEnded)
        upload(ends, asked, source)
        assert (await ends.served.next(UploadEnded)).failed


@on_both_loops
async def test_when_the_parent_dies_all_requests_fail_before_it_is_lost() -> None:
    target = SMALL.empty_file()
    async with two_ends() as ends:
        await subscribe(ends, SMALL)
        for index in range(6):  # more than there are data connections
            ends.client.request(PARENT, SMALL.task, index, target, False)
        for _ in range(4):
            await ends.served.next(PieceRequested)
        await ends.server.close(0)
        failed = [await ends.got.next(PieceFailed) for _ in range(6)]
        assert {each.index for each in failed} == set(range(6))
        assert {each.fault for each in failed} == {PeerFault.CLOSED}
        assert await ends.got.next(ParentLost) == ParentLost(PARENT, PeerFault.CLOSED)
        assert await ends.served.next(ChildLost) == ChildLost(CHILD)
        ends.client.request(PARENT, SMALL.task, 0, target, False)
        assert (await ends.got.next(PieceFailed)).fault is PeerFault.CLOSED
    assert target.references == 1


@on_both_loops
async def test_when_the_child_leaves_its_uploads_fail_before_it_is_lost() -> None:
    source, target = SMALL.file(), SMALL.empty_file()
    async with two_ends() as ends:
        await subscribe(ends, SMALL)
        asked = await ask(ends, 0, target)
        ends.client.disconnect(PARENT)
        assert (await ends.got.next(PieceFailed)).fault is PeerFault.CANCELLED
        assert await ends.got.next(ParentLost) == ParentLost(PARENT, PeerFault.CANCELLED)
        assert await ends.served.next(ChildLost) == ChildLost(CHILD)
        upload(ends, asked, source)
        assert await ends.served.next(UploadEnded) == UploadEnded(
            CHILD, asked.request, SMALL.task, 0, 0.0, True
        )
    assert source.references == 1


@on_both_loops
async def test_after_a_loss_the_parent_can_be_found_again() -> None:
    async with two_ends() as ends:
        await subscribe(ends, SMALL)
        ends.client.disconnect(PARENT)
        await ends.got.next(ParentLost)
        await ends.served.next(ChildLost)
        await subscribe(ends, SMALL)


@on_both_loops
async def test_a_parent_on_ipv6_behind_an_address_where_nobody_listens() -> None:
    async with two_ends("[::1]:0") as ends:
        addresses = (Address("127.0.0.1", 1), Address("no such name", 1), ends.at)
        ends.client.subscribe(Parent(PARENT, addresses), SMALL.task, SMALL.pieces.size)
        assert await ends.served.next(ChildSubscribed) == ChildSubscribed(CHILD, SMALL.task)


@on_both_loops
async def test_a_parent_that_cannot_be_reached_is_lost_with_all_requests() -> None:
    got, target = Inbox(), SMALL.empty_file()
    async with taking(got) as client:
        nowhere = Parent(PARENT, (Address("127.0.0.1", 1), Address("127.0.0.1", 70000)))
        client.subscribe(nowhere, SMALL.task, SMALL.pieces.size)
        client.request(PARENT, SMALL.task, 0, target, False)
        failed = await got.next(PieceFailed)
        assert failed == PieceFailed(PARENT, SMALL.task, 0, PeerFault.UNREACHABLE)
        assert await got.next(ParentLost) == ParentLost(PARENT, PeerFault.UNREACHABLE)
    assert [note.name for note in got.notes] == ["parent_lost"]


@on_both_loops
async def test_another_token_is_refused_and_never_told() -> None:
    for theirs, ours in ((b"right", b"wrong"), (b"right", b""), (b"", b"wrong")):
        served, got = Inbox(), Inbox()
        async with serving(served, token=theirs) as (_, at), taking(got, token=ours) as client:
            client.subscribe(Parent(PARENT, (at,)), SMALL.task, SMALL.pieces.size)
            assert await got.next(ParentLost) == ParentLost(PARENT, PeerFault.UNREACHABLE)
        assert served.events == []
        said = str(got.notes) + str(served.notes)
        assert "has another cluster token" in said
        assert "right" not in said
        assert "wrong" not in said


@on_both_loops
async def test_another_host_at_the_address_is_not_the_parent() -> None:
    served, got = Inbox(), Inbox()
    async with serving(served, host=HostId("newcomer")) as (_, at), taking(got) as client:
        client.subscribe(Parent(PARENT, (at,)), SMALL.task, SMALL.pieces.size)
        assert await got.next(ParentLost) == ParentLost(PARENT, PeerFault.UNREACHABLE)
    assert "newcomer" in str(got.notes)


@on_both_loops
async def test_a_host_does_not_serve_itself() -> None:
    served, got = Inbox(), Inbox()
    async with serving(served) as (_, at), taking(got, host=PARENT) as client:
        client.subscribe(Parent(PARENT, (at,)), SMALL.task, SMALL.pieces.size)
        assert (await got.next(ParentLost)).fault is PeerFault.UNREACHABLE
    assert "same name" in str(got.notes)


@on_both_loops
async def test_one_child_too_many_is_refused() -> None:
    served, first, second = Inbox(), Inbox(), Inbox()
    async with (
        serving(served, children_max=1) as (server, at),
        taking(first) as client,
        taking(second, host=HostId("other")) as other,
    ):
        client.subscribe(Parent(PARENT, (at,)), SMALL.task, SMALL.pieces.size)
        await served.next(ChildSubscribed)
        other.subscribe(Parent(PARENT, (at,)), SMALL.task, SMALL.pieces.size)
        assert (await second.next(ParentLost)).fault is PeerFault.UNREACHABLE
        assert "children are enough" in str(second.notes)
        assert (server.stats().children, server.stats().refused) == (1, 1)


@on_both_loops
async def test_a_child_that_connects_anew_replaces_itself() -> None:
    served, first, second = Inbox(), Inbox(), Inbox()
    async with serving(served, children_max=1) as (server, at), taking(first) as old, taking(second) as new:
        old.subscribe(Parent(PARENT, (at,)), SMALL.task, SMALL.pieces.size)
        await served.next(ChildSubscribed)
        new.subscribe(Parent(PARENT, (at,)), LARGE.task, LARGE.pieces.size)
        assert await served.next(ChildLost) == ChildLost(CHILD)
        assert await served.next(ChildSubscribed) == ChildSubscribed(CHILD, LARGE.task)
        assert await first.next(ParentLost) == ParentLost(PARENT, PeerFault.CLOSED)
        assert server.stats().children == 1


@on_both_loops
async def test_an_upload_is_taken_back() -> None:
    target, source = SMALL.empty_file(), SMALL.file()
    async with two_ends() as ends:
        await subscribe(ends, SMALL)
        asked = await ask(ends, 0, target)
        ends.server.abort(CHILD, asked.request)
        assert (await ends.got.next(PieceFailed)).fault is PeerFault.CLOSED
        upload(ends, asked, source)
        assert (await ends.served.next(UploadEnded)).failed
        ends.server.abort(CHILD, asked.request)
        assert ends.served.unread == []


@on_both_loops
async def test_a_piece_that_is_dropped_and_written_anew_while_it_is_sent_never_arrives() -> None:
    source, target = LARGE.file(), LARGE.empty_file()
    async with two_ends() as ends:
        await subscribe(ends, LARGE)
        ends.server._limit = TokenBucket(1_000_000)
        upload(ends, await ask(ends, 1, target, LARGE), source, LARGE)
        ends.server.stop_sending(LARGE.task, 0b10)
        os.pwrite(source.fd, bytes(LARGE.pieces.length(1)), source.place(1))
        assert await ends.got.next(PieceFailed) == PieceFailed(PARENT, LARGE.task, 1, PeerFault.CLOSED)
        assert (await ends.served.next(UploadEnded)).failed
        upload(ends, await ask(ends, 2, target, LARGE), source, LARGE)
        assert (await ends.got.next(PieceArrived)).actual == LARGE.records[2].digest


@on_both_loops
async def test_pieces_that_are_cut_short_fail() -> None:
    empty, target = PieceFile.ring(SMALL.pieces.length(6), 1), SMALL.empty_file()
    async with two_ends() as ends:
        await subscribe(ends, SMALL)
        asked = await ask(ends, 0, target)
        upload(ends, asked, empty)
        ended = await ends.served.next(UploadEnded)
        assert (ended.failed, ended.sent_bytes) == (True, SMALL.pieces.length(6))
        assert await ends.got.next(PieceFailed) == PieceFailed(PARENT, SMALL.task, 0, PeerFault.CLOSED)
