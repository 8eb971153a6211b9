"""One parent, several requests: what waits, what runs, what is taken back."""

import asyncio
import socket
from contextlib import ExitStack

from dfdaemon.events import (
    ChildSubscribed,
    ParentAvailable,
    ParentLost,
    PeerFault,
    PieceArrived,
    PieceFailed,
    PieceRequested,
)
from dfdaemon.io.parent_link import DATA_CONNECTIONS_MAX
from dfdaemon.io.peer_handshake import FirstFrame, Identity, take_greeting
from swarm.frames import AvailabilityFrame, HelloFrame, OpenFrame, Purpose
from swarm.messages import Address, Parent
from swarm.pieces import MIB
from swarm.wire import encode
from tests.support.peers import CHILD, PARENT, TOKEN, Blob, Ends, Inbox, quick, taking, two_ends
from tests.support.system import no_descriptors

BLOB = Blob(8 * MIB)
RUNNING = range(DATA_CONNECTIONS_MAX)


async def ask_for_too_many(ends: Ends) -> list[PieceRequested]:
    """Ask for two pieces more than there are data connections; return what the parent hears of."""
    ends.client.subscribe(ends.parent, BLOB.task, BLOB.pieces.size)
    await ends.served.next(ChildSubscribed)
    target = BLOB.empty_file()
    for index in range(DATA_CONNECTIONS_MAX + 2):
        ends.client.request(PARENT, BLOB.task, index, target, False)
    target.release()
    heard = [await ends.served.next(PieceRequested) for _ in RUNNING]
    assert {each.index for each in heard} == set(RUNNING)
    assert ends.served.unread == []
    return heard


async def opens_with(version_max: int, *, heard: bool = True) -> HelloFrame | OpenFrame:
    """Return how a data connection begins: to a parent that speaks up to this version, and was heard of or not."""
    loop, got, target = asyncio.get_running_loop(), Inbox(), BLOB.empty_file()
    with socket.create_server(("127.0.0.1", 0)) as listener, ExitStack() as opened:
        listener.setblocking(False)
        async with taking(got) as client:
            at = Address(*listener.getsockname())
            client.subscribe(Parent(PARENT, (at,)), BLOB.task, BLOB.pieces.size)
            control = opened.enter_context((await loop.sock_accept(listener))[0])
            hello = await FirstFrame(control).wait()
            assert isinstance(hello, HelloFrame)
            me = Identity(PARENT, TOKEN, version_max=version_max)
            await take_greeting(control, hello, me, quick())
            if heard:
                await loop.sock_sendall(control, encode(AvailabilityFrame(BLOB.task, BLOB.pieces.size, 1)))
                await got.next(ParentAvailable)
            client.request(PARENT, BLOB.task, 0, target, False)
            return await FirstFrame(opened.enter_context((await loop.sock_accept(listener))[0])).wait()


async def test_a_data_connection_needs_no_handshake() -> None:
    opening = await opens_with(2)
    assert isinstance(opening, OpenFrame)
    assert (opening.host, opening.counter) == (CHILD, 1)


async def test_a_parent_of_version_1_gets_a_handshake() -> None:
    hello = await opens_with(1)
    assert isinstance(hello, HelloFrame)
    assert hello.purpose is Purpose.DATA


async def test_a_parent_that_may_not_know_us_yet_gets_a_handshake() -> None:
    assert isinstance(await opens_with(2, heard=False), HelloFrame)


async def test_a_connection_that_nobody_waits_for_any_more_is_closed() -> None:
    target = BLOB.empty_file()
    async with two_ends() as ends:
        ends.client.subscribe(ends.parent, BLOB.task, BLOB.pieces.size)
        await ends.served.next(ChildSubscribed)
        ends.server.send_availability(CHILD, BLOB.task, BLOB.pieces.size, 1)
        await ends.got.next(ParentAvailable)
        ends.client.request(PARENT, BLOB.task, 0, target, False)
        link = ends.client._links[PARENT]
        opening = set(link._opening)
        ends.client.cancel(PARENT, BLOB.task, 0, False)
        assert (await ends.got.next(PieceFailed)).fault is PeerFault.CANCELLED
        assert len(opening) == 1
        await asyncio.wait(opening)
        assert link._idle == []
        ends.client.request(PARENT, BLOB.task, 0, target, False)
        assert (await ends.served.next(PieceRequested)).index == 0


async def test_a_connection_for_which_there_is_no_descriptor_ends_nothing_else() -> None:
    source, target = BLOB.file(), BLOB.empty_file()
    async with two_ends() as ends:
        ends.client.subscribe(ends.parent, BLOB.task, BLOB.pieces.size)
        await ends.served.next(ChildSubscribed)
        ends.server.send_availability(CHILD, BLOB.task, BLOB.pieces.size, 3)
        await ends.got.next(ParentAvailable)
        ends.client.request(PARENT, BLOB.task, 0, target, False)
        asked = await ends.served.next(PieceRequested)
        with no_descriptors():
            ends.client.request(PARENT, BLOB.task, 1, target, False)
            failed = await ends.got.next(PieceFailed)
        assert (failed.index, failed.fault) == (1, PeerFault.UNREACHABLE)
        ends.server.start_upload(
            asked.child, asked.request, BLOB.task, BLOB.records[0], source, BLOB.pieces.length(0)
        )
        assert (await ends.got.next(PieceArrived)).claimed.index == 0


async def test_what_waits_is_asked_when_a_connection_is_free() -> None:
    async with two_ends() as ends:
        for asked in await ask_for_too_many(ends):
            ends.server.refuse(asked.child, asked.request, True)
        waited = [await ends.served.next(PieceRequested) for _ in range(2)]
        assert {each.index for each in waited} == {DATA_CONNECTIONS_MAX, DATA_CONNECTIONS_MAX + 1}


async def test_what_waits_is_taken_back_at_once() -> None:
    async with two_ends() as ends:
        await ask_for_too_many(ends)
        ends.client.cancel(PARENT, BLOB.task, DATA_CONNECTIONS_MAX, False)
        assert ends.got.events == [], "never from inside the call"
        failed = await ends.got.next(PieceFailed)
        assert (failed.index, failed.fault) == (DATA_CONNECTIONS_MAX, PeerFault.CANCELLED)


async def test_a_cancelled_request_makes_room_for_the_next() -> None:
    async with two_ends() as ends:
        await ask_for_too_many(ends)
        ends.client.cancel(PARENT, BLOB.task, 0, False)
        assert (await ends.got.next(PieceFailed)).index == 0
        assert (await ends.served.next(PieceRequested)).index == DATA_CONNECTIONS_MAX


async def test_while_a_lost_parent_is_not_yet_told_it_takes_nothing_new() -> None:
    source, target = BLOB.file(), BLOB.empty_file()
    async with two_ends() as ends:
        asked = (await ask_for_too_many(ends))[0]
        ends.server.start_upload(
            asked.child, asked.request, BLOB.task, BLOB.records[asked.index], source, BLOB.pieces.length(0)
        )
        assert (await ends.got.next(PieceArrived)).claimed.index == asked.index
        ends.client.disconnect(PARENT)
        ends.client.subscribe(ends.parent, BLOB.task, BLOB.pieces.size)
        ends.client.request(PARENT, BLOB.task, 9, target, False)
        failed = [await ends.got.next(PieceFailed) for _ in range(DATA_CONNECTIONS_MAX + 2)]
        assert {each.fault for each in failed} == {PeerFault.CANCELLED}
        assert await ends.got.next(ParentLost) == ParentLost(PARENT, PeerFault.CANCELLED)
        assert ends.got.unread == []
