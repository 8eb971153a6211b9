"""When a download helps itself."""

import pytest

from dfdaemon import events
from dfdaemon.blob_state import READ_SHARE
from dfdaemon.commands import (
    CloseTask,
    CommitPiece,
    FailReaders,
    FetchRange,
    OpenStore,
    ReleaseReaders,
    RequestPiece,
    StopFetch,
    Subscribe,
    TellScheduler,
)
from dfdaemon.fallback import (
    HANG_S,
    HOPE_S,
    JITTER_OF_EACH_S,
    PART_S,
    REMEMBERED_JITTER_S,
    REMEMBERED_S,
    STALL_JITTER_MAX_S,
    STALL_JITTER_S,
    STALL_S,
    UNREACHED_S,
)
from dfdaemon.origin_side import OWN_TRIES_MAX
from swarm import availability
from swarm.ids import UNGRANTED, Epoch, HostId, ReaderId
from swarm.messages import Join, Lease, NoSource, OriginFault, Parent, Parents
from tests.support.daemon_playbook import OTHER_TASK, PIECE, READER, REGISTRY, TASK, Playbook, record

A = HostId("a")


@pytest.fixture
def playbook() -> Playbook:
    return Playbook()


def own(start: int, end: int) -> FetchRange:
    return FetchRange(TASK, UNGRANTED, start, end, 20.0)


def fetched(done: list[object]) -> int:
    """Return the bitmap of what is fetched from the origin."""
    ranges = [command for command in done if isinstance(command, FetchRange)]
    return sum(availability.span(fetch.start, fetch.end) for fetch in ranges)


def test_without_a_scheduler_and_without_memories_it_asks_the_origin_at_once(playbook: Playbook) -> None:
    playbook.alone().wanted(3)
    assert playbook.later(0.0) == [own(0, 3)]


def test_but_a_scheduler_lost_just_before_has_some_seconds_to_come_back() -> None:
    playbook = Playbook(schedulers=("scheduler:9000",)).attached().alone()
    playbook.at(1.0).wanted(3)
    assert playbook.later(STALL_S - 1.1) == []
    assert own(0, 3) in playbook.later(STALL_JITTER_S + 0.2)


def test_one_that_is_lost_for_long_is_not_waited_for() -> None:
    playbook = Playbook(schedulers=("scheduler:9000",)).attached().alone()
    playbook.at(STALL_S + STALL_JITTER_S)
    playbook.alone().wanted(3)
    assert playbook.later(0.0) == [own(0, 3)], "to fail again is no new loss"


def test_remembered_hosts_are_asked_first(playbook: Playbook) -> None:
    playbook.attached().joined(1, OTHER_TASK).with_parents("1", task=OTHER_TASK).skip()
    playbook.alone()
    playbook.wanted(3) << Subscribe(Parent(A, ()), TASK)
    assert not fetched(playbook.later(REMEMBERED_S - 0.01))
    assert fetched(playbook.later(REMEMBERED_JITTER_S + 0.02)).bit_count() == 1


def test_what_is_fetched_unasked_stops_when_there_is_a_scheduler(playbook: Playbook) -> None:
    playbook.alone().wanted(3)
    assert own(0, 3) in playbook.later(0.0)
    playbook >> events.SchedulerAttached()
    assert StopFetch(TASK, UNGRANTED) in playbook.skip()


def test_and_only_what_they_do_not_offer_is_fetched(playbook: Playbook) -> None:
    playbook.attached().joined(1, OTHER_TASK).with_parents("1", task=OTHER_TASK).skip()
    playbook >> events.PieceFailed(A, OTHER_TASK, 0, events.PeerFault.GONE)
    playbook.skip()
    playbook.alone()
    playbook.wanted(3) << Subscribe(Parent(A, ()), TASK)
    playbook >> events.ParentAvailable(A, TASK, 0b001) << RequestPiece(A, TASK, 0)
    assert fetched(playbook.later(REMEMBERED_S + REMEMBERED_JITTER_S + 0.1)) in (0b010, 0b100)


def test_a_daemon_that_just_started_waits_for_word_of_a_scheduler(playbook: Playbook) -> None:
    playbook.wanted(3)
    assert playbook.later(3.5) == []
    assert own(0, 3) in playbook.later(2.0)


def test_a_scheduler_that_comes_in_time_decides(playbook: Playbook) -> None:
    playbook.wanted(3)
    playbook.attached()
    assert own(0, 3) not in playbook.later(HANG_S - 1)


def test_but_no_pull_hangs_for_ever(playbook: Playbook) -> None:
    playbook.attached().joined(3)
    assert own(0, 1) in playbook.later(2 * HANG_S)


def test_attached_it_fetches_little_by_itself_and_more_while_no_parent_offers_it(playbook: Playbook) -> None:
    playbook.attached().joined(4)
    assert own(0, 1) in playbook.later(2 * HANG_S)
    playbook >> events.OriginPieceArrived(TASK, UNGRANTED, record(0)) << CommitPiece(TASK, record(0))
    playbook >> events.PieceCommitted(TASK, 0)
    playbook.skip()
    playbook >> events.OriginEnded(TASK, UNGRANTED)
    assert own(1, 3) in playbook.later(0.1)


def test_what_it_fetched_at_once_while_attached_does_not_count_among_hosts_without_a_scheduler() -> None:
    playbook = Playbook().attached().joined(20).with_parents("0" * 20)
    bits = fetched(playbook.later(2 * HANG_S))
    for count in (1, 2, 4):
        assert bits.bit_count() == count
        if count == 4:
            playbook.alone()
        for index in availability.indexes(bits):
            playbook >> events.OriginPieceArrived(TASK, UNGRANTED, record(index))
            playbook.skip()
            playbook >> events.PieceCommitted(TASK, index)
            playbook.skip()
        playbook >> events.OriginEnded(TASK, UNGRANTED)
        bits = fetched([*playbook.skip(), *playbook.later(0.1)])
    assert 1 <= bits.bit_count() <= 2


def test_attached_to_a_scheduler_and_cut_off_from_all_parents_it_helps_itself_soon() -> None:
    playbook = Playbook().attached().joined(3).with_parents("000", "000")
    playbook.skip()
    for name in ("a", "b"):
        playbook >> events.ParentLost(HostId(name), events.PeerFault.UNREACHABLE)
        playbook.skip()
    assert not fetched(playbook.later(UNREACHED_S - 0.1))
    assert fetched(playbook.later(UNREACHED_S + 2 * STALL_JITTER_S + 0.2))


def test_parents_that_can_be_reached_and_hold_nothing_yet_are_waited_for_longer() -> None:
    playbook = Playbook().attached().joined(3).with_parents("000", "000")
    playbook.skip()
    playbook >> events.ParentLost(HostId("a"), events.PeerFault.UNREACHABLE)
    playbook.skip()
    assert not fetched(playbook.later(HANG_S - 1))
    assert fetched(playbook.later(UNREACHED_S + 2 * STALL_JITTER_MAX_S))


def test_one_connection_that_fails_cuts_nobody_off_while_others_only_need_time() -> None:
    playbook = Playbook().attached().joined(3)
    playbook.said(Parents(TASK, (Parent(HostId("a"), ()), Parent(HostId("b"), ())))).skip()
    playbook >> events.ParentLost(HostId("a"), events.PeerFault.UNREACHABLE)
    playbook.skip()
    assert not fetched(playbook.later(HANG_S - 1))


def test_a_lost_scheduler_has_some_seconds_to_come_back(playbook: Playbook) -> None:
    playbook.attached().joined(3).alone()
    assert playbook.later(STALL_S - 0.1) == []
    assert own(0, 3) in playbook.later(STALL_JITTER_S + 0.2)


def test_of_many_that_wait_few_begin_before_the_others() -> None:
    waits = []
    for seed in range(100):
        playbook = Playbook(seed=seed).attached().joined(3).with_parents(*[" "] * 8)
        playbook.skip()
        playbook.alone()
        start = playbook.now
        while not any(isinstance(command, FetchRange) for command in playbook.later(0.25)):
            assert playbook.now < start + STALL_S + 8 * JITTER_OF_EACH_S + 0.25
        waits.append(playbook.now - start)
    first = min(waits)
    assert STALL_S <= first < STALL_S + 3 * JITTER_OF_EACH_S
    assert sum(wait <= first + 0.5 for wait in waits) <= 4, "7 if none were likelier than others"
    assert sum(wait > STALL_S + 6 * JITTER_OF_EACH_S for wait in waits) > 50


def next_fetch(seed: int, gained: tuple[int, ...]) -> int:
    """Return how many pieces are fetched after the first, if a neighbour gains these while that one comes."""
    playbook = Playbook(seed=seed).attached().joined(1, OTHER_TASK).with_parents("1", task=OTHER_TASK)
    playbook.skip()
    playbook.alone().wanted(8) << Subscribe(Parent(A, ()), TASK)
    playbook >> events.ParentAvailable(A, TASK, 0)
    first = fetched(playbook.later(REMEMBERED_S + REMEMBERED_JITTER_S + 0.1))
    assert first.bit_count() == 1
    index = first.bit_length() - 1
    done: list[object] = []
    for event in (
        *(events.ParentHas(A, TASK, (record((index + 1 + other) % 8),)) for other in gained),
        events.OriginPieceArrived(TASK, UNGRANTED, record(index)),
        events.PieceCommitted(TASK, index),
        events.OriginEnded(TASK, UNGRANTED),
    ):
        playbook >> event
        done += playbook.skip()
    return fetched([*done, *playbook.later(0.1)]).bit_count()


def test_who_fetches_alone_fetches_more_at_a_time() -> None:
    assert {next_fetch(seed, ()) for seed in range(8)} == {1, 2}, "two, unless only one is left in a row"


def test_what_neighbours_gain_shows_that_others_fetch_too_before_it_has_arrived_here() -> None:
    assert {next_fetch(seed, (0, 3)) for seed in range(8)} <= {0, 1}, "one at a time, or it is left to them"


def test_what_is_in_flight_counts_as_life(playbook: Playbook) -> None:
    playbook.attached().joined(3).said(Lease(TASK, Epoch(1), 0, 1, 100.0)).skip()
    playbook.alone()
    assert playbook.later(5 * STALL_S) == []
    playbook >> events.OriginPieceArrived(TASK, Epoch(1), record(0)) << CommitPiece(TASK, record(0))
    playbook >> events.PieceCommitted(TASK, 0) << ReleaseReaders(TASK, 0b1)
    playbook >> events.OriginEnded(TASK, Epoch(1))
    playbook.skip()
    assert own(1, 3) in playbook.later(2 * (STALL_S + STALL_JITTER_S))


def test_an_origin_that_fails_is_tried_again_and_then_the_client_hears_why(playbook: Playbook) -> None:
    playbook.alone().wanted(3)
    for _ in range(OWN_TRIES_MAX):
        assert playbook.later(60.0)[-1] == own(0, 3)
        playbook >> events.OriginEnded(TASK, UNGRANTED, OriginFault.SERVER_ERROR, detail="502 Bad Gateway")
    done = [*playbook.skip(), *playbook.later(60.0)]
    assert done == [FailReaders(TASK, "502 Bad Gateway"), CloseTask(TASK)]


def test_a_registry_that_asks_for_time_gets_it(playbook: Playbook) -> None:
    playbook.alone().wanted(3)
    playbook.later(0.0)
    playbook >> events.OriginEnded(TASK, UNGRANTED, OriginFault.THROTTLED, retry_after_s=7.0)
    assert playbook.later(6.9) == []
    assert own(0, 3) in playbook.later(1.0)


def test_without_a_credential_it_is_hopeless_alone(playbook: Playbook) -> None:
    playbook.alone().wanted(3, may_fetch=False)
    done = playbook.later(60.0)
    assert [type(command) for command in done] == [FailReaders, CloseTask]


def test_what_arrived_before_a_cut_is_not_fetched_again(playbook: Playbook) -> None:
    playbook.alone().wanted(3)
    playbook.later(0.0)
    playbook >> events.OriginPieceArrived(TASK, UNGRANTED, record(0, 0))
    playbook.skip()
    playbook >> events.PieceCommitted(TASK, 0)
    playbook.skip()
    playbook >> events.OriginEnded(TASK, UNGRANTED, OriginFault.CUT)
    assert own(1, 3) in playbook.later(10.0)


def test_hosts_that_hold_nothing_are_not_waited_for_for_ever(playbook: Playbook) -> None:
    playbook.attached().joined(1, OTHER_TASK).with_parents("1", task=OTHER_TASK).skip()
    playbook.alone()
    playbook.wanted(2, may_fetch=False) << Subscribe(Parent(A, ()), TASK)
    playbook >> events.ParentAvailable(A, TASK, 0)
    reason = "no host has it, and no credential of this host lets it ask the origin"
    assert FailReaders(TASK, reason) not in playbook.later(HOPE_S - 1)
    assert FailReaders(TASK, reason) in playbook.later(STALL_S + STALL_JITTER_S + 1)


def part(playbook: Playbook, piece: int) -> None:
    """A client reads one piece of forty."""
    size = 40 * PIECE
    playbook >> events.BlobWanted(TASK, size, REGISTRY, True, part=True) << OpenStore(TASK, size)
    playbook >> events.ReaderOpened(TASK, READER, piece * PIECE, (piece + 1) * PIECE)
    playbook >> events.StoreOpened(TASK)
    playbook.skip()


def test_a_part_is_fetched_at_once_where_there_is_nobody_to_ask(playbook: Playbook) -> None:
    playbook.alone()
    part(playbook, 17)
    assert playbook.later(0.0) == [own(17, 18)]


def test_a_part_is_fetched_at_once_when_the_scheduler_knows_nobody(playbook: Playbook) -> None:
    playbook.attached()
    part(playbook, 17)
    assert own(17, 18) not in playbook.later(PART_S - 0.01)
    playbook.said(NoSource(TASK, OriginFault.ABANDONED))
    assert own(17, 18) in playbook.later(0.0)


def test_a_part_that_no_parent_offers_is_waited_for_a_moment_only(playbook: Playbook) -> None:
    playbook.attached()
    part(playbook, 17)
    playbook.with_parents("1" * 10).skip()
    assert own(17, 18) in playbook.later(PART_S)


def test_a_part_that_a_parent_offers_comes_from_there(playbook: Playbook) -> None:
    playbook.attached()
    part(playbook, 1)
    playbook.with_parents("11")
    assert playbook.requests() == [("a", 1)]
    assert not [done for done in playbook.later(1.0) if isinstance(done, FetchRange)]


def test_of_a_blob_that_is_read_part_by_part_the_rest_follows(playbook: Playbook) -> None:
    playbook.attached()
    part(playbook, 0)
    for index in range(40 // READ_SHARE):
        playbook.said(NoSource(TASK, OriginFault.ABANDONED))
        assert own(index, index + 1) in playbook.later(0.0)
        playbook >> events.OriginPieceArrived(TASK, UNGRANTED, record(index, UNGRANTED))
        playbook.skip()
        playbook >> events.PieceCommitted(TASK, index)
        playbook.skip()
        playbook >> events.OriginEnded(TASK, UNGRANTED)
        playbook.skip()
        size, start = 40 * PIECE, (index + 1) * PIECE
        playbook >> events.BlobWanted(TASK, size, REGISTRY, True, part=True)
        playbook >> events.ReaderOpened(TASK, ReaderId(20 + index), start, start + PIECE)
        told = [command.message for command in playbook.skip() if isinstance(command, TellScheduler)]
    assert Join(TASK, 40 * PIECE, REGISTRY, True, bits=0b11111) in told
