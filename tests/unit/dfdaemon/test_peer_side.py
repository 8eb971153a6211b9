"""Taking pieces from parents: who is asked, when it is hedged, and what happens when it goes wrong."""

import pytest

from dfdaemon import events, transfers
from dfdaemon.commands import CancelRequest, CommitPiece, FetchRange, RequestPiece, Subscribe
from dfdaemon.events import PeerFault
from dfdaemon.hosts import BUSY_S
from dfdaemon.peer_side import REFUSED_S, STARVING_BUSY_S, STARVING_EMPTY_S, THIRST_S
from dfdaemon.piece_table import Stage
from swarm.ids import UNGRANTED, Epoch, HostId
from swarm.messages import (
    Lease,
    Parent,
    Parents,
    PieceRecord,
    PieceRejected,
    Quarantine,
    Starving,
    TaskInfo,
)
from tests.support.daemon_playbook import HERE, OTHER_TASK, PIECE, TASK, Anything, Playbook, record

A, B, C = HostId("a"), HostId("b"), HostId("c")


@pytest.fixture
def playbook() -> Playbook:
    return Playbook().attached()


def ask(parent: HostId, index: int, scratch: bool = False) -> RequestPiece:
    return RequestPiece(parent, TASK, index, scratch)


def cancel(parent: HostId, index: int, scratch: bool = False) -> CancelRequest:
    return CancelRequest(parent, TASK, index, scratch)


def fails(
    playbook: Playbook, parent: HostId, index: int, fault: PeerFault, scratch: bool = False
) -> Playbook:
    return playbook >> events.PieceFailed(parent, TASK, index, fault, scratch)


def test_each_parent_is_asked_for_one_piece(playbook: Playbook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfers, "FIRST_REQUESTS", 4)
    playbook.joined(8).with_parents("11111111", "11111111", "11111111")
    asked = [*playbook.waiting, *playbook.skip()]
    assert {command.parent for command in asked} == {B, C}
    assert len({command.index for command in asked}) == 2


def test_who_holds_nothing_begins_with_two_requests_and_has_one_more_for_each_four_pieces() -> None:
    playbook = Playbook(slots=5).attached().joined(40).with_parents("1" * 40, "1" * 40, "1" * 40, "1" * 40)
    (download,) = playbook.machine.downloads.values()
    seen = {}
    for held in range(30):
        seen[held] = len(download.peers.transfers)
        request = next(iter(download.peers.transfers))
        playbook.skip()
        playbook.arrives(request.peer.name, request.index).skip()
        playbook >> events.PieceCommitted(TASK, request.index)
    numbers = [seen[held] for held in (0, 4, 5, 8, 9, 13, 17, 29)]
    assert numbers == [2, 2, 3, 3, 4, 4, 4, 4], "four parents take one each"


def test_a_blob_that_is_new_waits_for_no_other(playbook: Playbook) -> None:
    playbook.joined(8).with_parents("11111111", "11111111").skip()
    playbook.joined(8, OTHER_TASK)
    playbook.said(Parents(OTHER_TASK, (Parent(HostId("e"), ()), Parent(HostId("f"), ())))).skip()
    for name in "ef":
        playbook >> events.ParentAvailable(HostId(name), OTHER_TASK, 0b11111111)
        playbook.skip()
    first, second = playbook.machine.downloads.values()
    assert (first.in_flight, second.in_flight) == (2, 1)
    for request in list(first.peers.transfers):  # it held itself back, and hears that others ended
        playbook >> events.PieceFailed(request.peer.name, TASK, request.index, PeerFault.CLOSED)
        playbook.skip()
    assert second.in_flight == 2


def test_pieces_that_left_a_ring_count_as_held(playbook: Playbook) -> None:
    playbook.joined(40)
    (download,) = playbook.machine.downloads.values()
    for index in range(8):
        download.blob.table.move(1 << index, Stage.MISSING, Stage.VERIFIED)
    download.blob.table.move(0b111111, Stage.VERIFIED, Stage.PASSED)
    assert download.blob.table.had == 8


def test_requests_for_all_blobs_together_have_so_many_slots() -> None:
    playbook = Playbook(slots=2).attached().joined(8).with_parents("11111111", "11111111", "11111111")
    assert sum(len(download.peers.transfers) for download in playbook.machine.downloads.values()) == 2


def test_a_busy_parent_is_asked_again_when_it_has_room(playbook: Playbook) -> None:
    playbook.joined(1).with_parents("1") << ask(A, 0)
    playbook >> events.ParentBusy(A, TASK, 0)
    playbook >> events.ParentReady(A) << ask(A, 0)


def test_or_after_a_second_since_its_word_may_be_lost(playbook: Playbook) -> None:
    playbook.joined(1).with_parents("1") << ask(A, 0)
    playbook >> events.ParentBusy(A, TASK, 0)
    playbook.at(BUSY_S) >> events.TimeReached()
    assert ask(A, 0) in playbook.skip()


def test_a_failed_request_goes_to_another_parent(playbook: Playbook) -> None:
    playbook.joined(1).with_parents("1", "1")
    assert playbook.waiting == [ask(A, 0)]
    fails(playbook, A, 0, PeerFault.CLOSED) << ask(B, 0)


def test_a_piece_that_a_parent_does_not_have_is_not_asked_of_it_again(playbook: Playbook) -> None:
    playbook.joined(1).with_parents("1") << ask(A, 0)
    fails(playbook, A, 0, PeerFault.GONE)
    playbook >> events.ParentHas(A, TASK, (record(0),)) << ask(A, 0)


def test_a_lost_parent_is_called_again(playbook: Playbook) -> None:
    playbook.joined(2).with_parents("1 ") << ask(A, 0)
    fails(playbook, A, 0, PeerFault.CLOSED)
    playbook >> events.ParentLost(A, PeerFault.CLOSED)
    while not playbook.done:
        playbook.time()
        playbook.done = [command for command in playbook.done if type(command) is Subscribe]
    playbook << Subscribe(Parent(A, ()), TASK)


def test_we_are_not_our_own_parent(playbook: Playbook) -> None:
    playbook.joined(1).said(Parents(TASK, (Parent(HERE, ()),)))


def test_claims_of_pieces_that_do_not_exist_mean_nothing(playbook: Playbook) -> None:
    playbook.joined(1).with_parents(" ")
    playbook >> events.ParentAvailable(A, TASK, 0b10)
    playbook >> events.ParentHas(A, TASK, (record(5),))


# --- hedges ---------------------------------------------------------------------------------------------------


def slow_piece(playbook: Playbook) -> None:
    """Piece 0 was asked of a long ago, and b was asked for it too."""
    playbook.joined(1).with_parents("1", "1")
    assert playbook.waiting == [ask(A, 0)]
    playbook.time() << ask(B, 0, scratch=True)


def test_an_old_request_is_hedged_and_the_hedge_wins(playbook: Playbook) -> None:
    slow_piece(playbook)
    playbook.arrives("b", 0, scratch=True) << cancel(A, 0)
    fails(playbook, A, 0, PeerFault.CANCELLED) << CommitPiece(TASK, record(0), scratch=True, source=B)


def test_or_the_original_wins(playbook: Playbook) -> None:
    slow_piece(playbook)
    playbook.arrives("a", 0) << cancel(B, 0, scratch=True) << CommitPiece(TASK, record(0), source=A)
    fails(playbook, B, 0, PeerFault.CANCELLED, scratch=True)


def test_or_both_arrive_and_the_first_counts(playbook: Playbook) -> None:
    slow_piece(playbook)
    playbook.arrives("b", 0, scratch=True) << cancel(A, 0)
    playbook.arrives("a", 0) << CommitPiece(TASK, record(0), scratch=True, source=B)


def test_or_the_original_fails_and_the_hedge_goes_on(playbook: Playbook) -> None:
    slow_piece(playbook)
    fails(playbook, A, 0, PeerFault.CLOSED)
    playbook.arrives("b", 0, scratch=True) << CommitPiece(TASK, record(0), scratch=True, source=B)


def test_a_request_beyond_its_deadline_is_taken_back(playbook: Playbook) -> None:
    playbook.joined(1).with_parents("1") << ask(A, 0)
    while cancel(A, 0) not in playbook.done:
        playbook.skip()
        playbook.time()
    playbook.skip()
    fails(playbook, A, 0, PeerFault.CANCELLED)
    assert ask(A, 0) not in playbook.skip(), "it is left alone for a while"


# --- help -----------------------------------------------------------------------------------------------------


def test_a_download_without_anything_to_ask_for_says_so(playbook: Playbook) -> None:
    playbook.joined(3).with_parents("   ")
    playbook.at(STARVING_EMPTY_S) >> events.TimeReached()
    playbook.told(Starving(TASK, 0b111))


def test_one_whose_parents_are_all_busy_waits_a_little_longer(playbook: Playbook) -> None:
    playbook.joined(1).with_parents("1")
    start = playbook.now - 100.0
    playbook << ask(A, 0)
    playbook >> events.ParentBusy(A, TASK, 0)
    playbook.at(start + STARVING_BUSY_S) >> events.TimeReached()
    playbook.told(Starving(TASK, 0b1))


def test_parents_that_are_busy_most_of_the_time_are_not_enough(playbook: Playbook) -> None:
    playbook.joined(1).with_parents("1")
    playbook << ask(A, 0)
    waited = 0.0
    while waited < THIRST_S + STARVING_BUSY_S:  # older waits fade a little
        playbook >> events.ParentBusy(A, TASK, 0)
        if playbook.machine.wakeup_at() <= playbook.now + STARVING_EMPTY_S:
            break
        waited += 0.09
        playbook.at(playbook.now - 100.0 + 0.09) >> events.ParentReady(A) << ask(A, 0)
    playbook.time().told(Starving(TASK, 0b1))
    assert waited >= THIRST_S - STARVING_BUSY_S


def test_what_a_lease_covers_is_no_reason_to_starve(playbook: Playbook) -> None:
    playbook.joined(2).said(Lease(TASK, Epoch(1), 0, 2, 10.0))
    playbook.skip()
    playbook.at(1.0) >> events.TimeReached()


def test_a_quarantined_host_is_left_and_what_it_sends_is_not_believed(playbook: Playbook) -> None:
    playbook.joined(1).with_parents("1") << ask(A, 0)
    playbook.said(Quarantine(A, 60.0))
    assert cancel(A, 0) in playbook.skip()
    playbook.arrives("a", 0)
    assert not [command for command in playbook.skip() if type(command) is CommitPiece]
    playbook.said(Parents(TASK, (Parent(A, ()),)))


def test_quarantine_ends_with_the_scheduler_that_said_it(playbook: Playbook) -> None:
    playbook.joined(1).with_parents("1") << ask(A, 0)
    playbook.said(Quarantine(A, 60.0))
    playbook.skip()
    playbook >> events.PieceFailed(A, TASK, 0, events.PeerFault.CANCELLED)
    playbook.skip()
    playbook >> events.SchedulerLost("it restarts")
    playbook.skip()
    playbook >> events.SchedulerAttached()
    playbook.skip()
    playbook.said(Parents(TASK, (Parent(A, ()),))) << Subscribe(Parent(A, ()), TASK)


def test_who_gave_us_a_wrong_piece_itself_stays_shunned(playbook: Playbook) -> None:
    playbook.joined(1).with_parents("1") << ask(A, 0)
    playbook.arrives("a", 0, digest=b"wrong")
    playbook.skip()
    playbook.said(Quarantine(A, 60.0))
    playbook >> events.SchedulerAttached()
    playbook.skip()
    playbook.said(Parents(TASK, (Parent(A, ()),)))


def test_blobs_share_the_room_at_a_host(playbook: Playbook) -> None:
    playbook.joined(1).with_parents("1") << ask(A, 0)
    playbook.joined(1, OTHER_TASK).with_parents("1", task=OTHER_TASK)
    playbook.arrives("a", 0) << Anything(CommitPiece) << RequestPiece(A, OTHER_TASK, 0)


def refuses(playbook: Playbook, last: object) -> float:
    """A parent sends a piece that is not what the scheduler told, until `last` is done; return how long that took."""
    began = playbook.now
    while last not in (done := playbook.skip()):
        if ask(A, 0) in done:
            playbook.arrives("a", 0)
        elif any(isinstance(command, Subscribe) for command in done):
            playbook >> events.ParentAvailable(A, TASK, 0b1)
        else:
            playbook.time()
    return playbook.now - began


TOLD = PieceRecord(0, b"told", Epoch(1))


def test_where_nobody_has_a_piece_as_the_scheduler_told_the_origin_is_asked_who_is_right(
    playbook: Playbook,
) -> None:
    playbook.joined(1).said(TaskInfo(TASK, PIECE, (TOLD,))).with_parents("1")
    took_s = refuses(playbook, FetchRange(TASK, UNGRANTED, 0, 1, 20.0))
    assert REFUSED_S <= took_s <= 2 * REFUSED_S
    playbook >> events.OriginPieceArrived(TASK, UNGRANTED, record(0))
    playbook.told(PieceRejected(TASK, 0, HERE, record(0).digest, b"told", fits=True))
    playbook << CommitPiece(TASK, record(0))


def test_who_cannot_ask_the_origin_takes_it_after_all_for_the_blobs_digest_to_decide(
    playbook: Playbook,
) -> None:
    playbook.joined(1, may_fetch=False).said(TaskInfo(TASK, PIECE, (TOLD,))).with_parents("1")
    took_s = refuses(playbook, CommitPiece(TASK, record(0), source=A))
    assert REFUSED_S <= took_s <= 2 * REFUSED_S
