"""One parent, several requests: what waits, what runs, what is taken back."""

from dfdaemon.events import ChildSubscribed, ParentLost, PeerFault, PieceArrived, PieceFailed, PieceRequested
from dfdaemon.io.parent_link import DATA_CONNECTIONS_MAX
from swarm.pieces import MIB
from tests.support.peers import PARENT, Blob, Ends, two_ends

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
