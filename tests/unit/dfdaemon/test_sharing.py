from itertools import count

import pytest

from dfdaemon.admission import EXPORTS_MAX
from dfdaemon.commands import (
    AbortUpload,
    Command,
    RefuseUpload,
    SendAvailability,
    SendGone,
    SendHave,
    StartUpload,
    StopSending,
    WakeChild,
)
from dfdaemon.config import DaemonConfig, PeerConfig
from dfdaemon.events import (
    ChildLost,
    ChildSubscribed,
    ChildUnsubscribed,
    PieceRequested,
    Stopping,
    TimeReached,
    UploadEnded,
)
from dfdaemon.sharing import (
    HAVE_DELAY_S,
    HAVE_RECORDS_MAX,
    PROMPT_PIECES,
    SUBSCRIPTIONS_MAX,
    WAKE_GRACE_S,
    Sharing,
)
from swarm.dice import Dice
from swarm.ids import Epoch, HostId, RequestId, TaskId
from swarm.messages import PieceRecord
from swarm.pieces import PIECE_BYTES_MIN

SIZE = 16 * PIECE_BYTES_MIN
"""Sixteen pieces."""
OLD = tuple(range(PROMPT_PIECES, 16))
"""As many as make later ones no hurry."""
OLD_BITS = 0xFF00
TASK, OTHER = TaskId("sha256:" + "a" * 64), TaskId("sha256:" + "b" * 64)
A, B, C, D = HostId("a"), HostId("b"), HostId("c"), HostId("d")


def record(index: int, fill: int = 0) -> PieceRecord:
    return PieceRecord(index, bytes([fill]) * 16, Epoch(1))


def records(*indexes: int) -> tuple[PieceRecord, ...]:
    return tuple(record(index) for index in indexes)


class Playbook:
    """Says what happens to a Sharing, and returns what it does; every step ends with validate()."""

    def __init__(self, slots: int = 2, children_max: int = 64, uplink: int = 0) -> None:
        peer = PeerConfig(upload_slots=slots, children_max=children_max)
        self.told: dict[HostId, int] = {}
        """What other hosts told us that they hold."""
        config = DaemonConfig(upload_bytes_per_s=uplink, peer=peer)
        self.sharing = Sharing(config, Dice(1), lambda task, host: self.told.get(host, 0), zone="z")
        self.now = 0.0
        self._requests = count(1)

    def holds(self, *indexes: int, task: TaskId = TASK, size: int = SIZE) -> list[Command]:
        result = self.sharing.offer(task, size, records(*indexes))
        self.sharing.validate()
        return result

    def gains(self, *indexes: int, task: TaskId = TASK) -> list[Command]:
        result = self.sharing.gained(task, records(*indexes), self.now)
        self.sharing.validate()
        return result

    def happens(self, event: object) -> list[Command]:
        result = self.sharing.handle(event, self.now)  # type: ignore[arg-type]
        self.sharing.validate()
        return result

    def subscribes(self, *children: HostId, task: TaskId = TASK) -> list[Command]:
        return [command for child in children for command in self.happens(ChildSubscribed(child, task))]

    def subscribes_from(self, zone: str, *children: HostId) -> None:
        for child in children:
            self.happens(ChildSubscribed(child, TASK, zone))

    def asks(self, child: HostId, index: int = 0, task: TaskId = TASK) -> tuple[RequestId, list[Command]]:
        request = RequestId(next(self._requests))
        return request, self.happens(PieceRequested(child, request, task, index))

    def starts(self, child: HostId, index: int = 0) -> RequestId:
        request, result = self.asks(child, index)
        assert result[:1] == [StartUpload(child, request, TASK, record(index))]
        return request

    def is_refused(self, child: HostId) -> None:
        request, result = self.asks(child)
        assert result == [RefuseUpload(child, request)]

    def ends(self, child: HostId, request: RequestId, seconds: float = 0.01) -> list[Command]:
        return self.happens(UploadEnded(child, request, TASK, PIECE_BYTES_MIN, seconds))

    def waits_until(self, now: float) -> list[Command]:
        assert self.sharing.wakeup_at() <= now, "nothing would wake it"
        self.now = now
        return self.happens(TimeReached())


# --- who hears of what -----------------------------------------------------------------------------------------------


def test_a_child_hears_what_we_hold() -> None:
    play = Playbook()
    play.holds(0, 2)
    assert play.subscribes(A) == [SendAvailability(A, TASK, SIZE, 0b101)]


def test_a_child_may_wait_for_a_task_that_has_nothing_yet() -> None:
    play = Playbook()
    play.holds()
    assert play.subscribes(A) == [SendAvailability(A, TASK, SIZE, 0)]


def test_a_task_that_we_do_not_have_is_gone() -> None:
    assert Playbook().subscribes(A) == [SendGone(A, TASK)]


def test_gained_pieces_are_told_together_a_moment_later() -> None:
    play = Playbook()
    play.holds(*OLD)
    play.subscribes(A, B)
    assert play.gains(0) == []
    play.now = 0.004
    assert play.gains(1, 2) == []
    assert play.sharing.wakeup_at() == pytest.approx(HAVE_DELAY_S)
    assert play.waits_until(HAVE_DELAY_S) == [SendHave((A, B), TASK, records(0, 1, 2))]
    assert play.sharing.wakeup_at() == float("inf")


def test_the_first_pieces_are_told_at_once() -> None:
    play = Playbook()
    play.holds(*range(1, PROMPT_PIECES))
    play.subscribes(A)
    assert play.gains(0) == [SendHave((A,), TASK, records(0))]
    assert play.sharing.wakeup_at() == float("inf")
    assert play.gains(PROMPT_PIECES) == []
    assert play.waits_until(HAVE_DELAY_S) == [SendHave((A,), TASK, records(PROMPT_PIECES))]


def test_a_child_that_told_us_of_a_piece_does_not_hear_of_it_from_us() -> None:
    play = Playbook()
    play.holds(*OLD)
    play.subscribes(A, B, C)
    play.told = {A: 0b11, B: 0b01}
    play.gains(0, 1)
    play.now = HAVE_DELAY_S
    assert play.happens(TimeReached()) == [SendHave((B, C), TASK, records(0, 1))]
    play.told = {A: 0b100, B: 0b100, C: 0b100}
    play.gains(2)
    play.now = 2 * HAVE_DELAY_S
    assert play.happens(TimeReached()) == []


def test_each_task_has_its_own_news() -> None:
    play = Playbook()
    play.holds(*OLD)
    play.holds(*OLD, task=OTHER)
    play.subscribes(A)
    play.subscribes(B, task=OTHER)
    play.gains(0)
    play.gains(1, task=OTHER)
    assert play.waits_until(1.0) == [SendHave((A,), TASK, records(0)), SendHave((B,), OTHER, records(1))]


def test_many_pieces_at_once_are_told_at_once() -> None:
    play = Playbook()
    play.holds(size=2 * PIECE_BYTES_MIN * HAVE_RECORDS_MAX)
    play.subscribes(A)
    everything = tuple(range(HAVE_RECORDS_MAX))
    assert play.gains(*everything) == [SendHave((A,), TASK, records(*everything))]


def test_what_nobody_asked_for_and_what_is_no_news_is_not_told() -> None:
    play = Playbook()
    play.holds(0)
    play.gains(1)
    assert play.sharing.wakeup_at() == float("inf")
    play.subscribes(A)
    play.gains(0, 1)
    assert play.sharing.wakeup_at() == float("inf")


def test_who_unsubscribed_or_left_hears_nothing_more() -> None:
    play = Playbook()
    play.holds(*OLD)
    play.subscribes(A, B, C)
    play.happens(ChildUnsubscribed(A, TASK))
    play.happens(ChildLost(B))
    play.gains(0)
    assert play.waits_until(1.0) == [SendHave((C,), TASK, records(0))]


def test_subscribing_again_is_answered_again_and_told_once() -> None:
    play = Playbook()
    play.holds(0, *OLD)
    play.subscribes(A)
    assert play.subscribes(A) == [SendAvailability(A, TASK, SIZE, OLD_BITS | 1)]
    play.gains(1)
    assert play.waits_until(1.0) == [SendHave((A,), TASK, records(1))]


def test_a_forgotten_task_is_gone_for_its_children() -> None:
    play = Playbook()
    play.holds(0, *OLD)
    play.subscribes(A, B)
    play.gains(1)
    assert play.sharing.forget(TASK) == [SendGone(A, TASK), SendGone(B, TASK)]
    assert play.sharing.forget(TASK) == []
    assert play.waits_until(1.0) == []
    assert play.subscribes(A) == [SendGone(A, TASK)]


def test_offering_again_tells_what_is_new() -> None:
    play = Playbook()
    play.holds(0)
    play.subscribes(A)
    assert play.holds(0, 1) == []
    assert play.waits_until(0.0) == [SendHave((A,), TASK, records(1))]


def test_a_task_with_another_size_begins_anew() -> None:
    play = Playbook()
    play.holds(0, 7)
    play.subscribes(A)
    assert play.holds(0, size=2 * PIECE_BYTES_MIN) == [SendGone(A, TASK)]
    assert play.subscribes(A) == [SendAvailability(A, TASK, 2 * PIECE_BYTES_MIN, 1)]


def test_children_and_their_subscriptions_are_bounded() -> None:
    play = Playbook(children_max=2)
    play.holds(0)
    play.subscribes(A, B)
    assert play.subscribes(C) == [SendGone(C, TASK)]
    play.happens(ChildLost(A))
    assert play.subscribes(C) == [SendAvailability(C, TASK, SIZE, 1)]
    tasks = [TaskId(f"sha256:{number:064x}") for number in range(SUBSCRIPTIONS_MAX)]
    for task in tasks:
        play.holds(task=task)
    answers = [play.subscribes(C, task=task)[0] for task in tasks]
    assert [answer for answer in answers if isinstance(answer, SendGone)] == [SendGone(C, tasks[-1])]


# --- who gets a piece ------------------------------------------------------------------------------------------------


def test_a_request_is_started_at_once() -> None:
    play = Playbook()
    play.holds(3)
    play.subscribes(A)
    play.starts(A, 3)
    assert play.sharing.uploads == 1


@pytest.mark.parametrize("index", [1, 8, 4096])
def test_a_piece_that_we_do_not_hold_is_gone(index: int) -> None:
    play = Playbook()
    play.holds(0)
    play.subscribes(A)
    request, result = play.asks(A, index)
    assert result == [RefuseUpload(A, request, gone=True)]


def test_a_lost_piece_is_gone_and_not_told_any_more() -> None:
    play = Playbook()
    play.holds(0, *OLD)
    play.subscribes(A)
    play.gains(1)
    assert play.sharing.lost(TASK, 0b11) == [StopSending(TASK, 0b11)]
    assert play.sharing.lost(TASK, 0b11) == []
    assert play.sharing.lost(OTHER, 1) == []
    request, result = play.asks(A, 0)
    assert result == [RefuseUpload(A, request, gone=True)]
    assert play.waits_until(1.0) == []


def test_a_piece_that_is_offered_no_more_is_sent_no_more() -> None:
    play = Playbook()
    play.holds(0, 1)
    assert play.holds(0) == [], "there are no children"
    play.holds(0, 1)
    play.subscribes(A)
    assert play.holds(0) == [StopSending(TASK, 0b10)]


def test_a_host_that_never_subscribed_gets_nothing() -> None:
    play = Playbook()
    play.holds(0)
    request, result = play.asks(A)
    assert result == [RefuseUpload(A, request, gone=True)]


def test_without_a_slot_a_child_is_refused_and_woken_when_there_is_one() -> None:
    play = Playbook(slots=1)
    play.holds(0)
    play.subscribes(A, B)
    first = play.starts(A)
    play.is_refused(B)
    assert play.ends(A, first) == [WakeChild(B)]
    play.starts(B)


def test_the_one_that_was_refused_last_is_woken_first() -> None:
    play = Playbook(slots=1)
    play.holds(0)
    play.subscribes(A, B, C)
    request = play.starts(A)
    play.is_refused(B)
    play.is_refused(C)
    play.now = 0.001
    play.is_refused(B)
    assert play.ends(A, request) == [WakeChild(B)], "it most likely still needs the slot"
    request = play.starts(B)
    assert play.ends(B, request) == [WakeChild(C)]


def test_a_quicker_child_takes_a_slot_and_the_one_that_was_woken_is_woken_again() -> None:
    play = Playbook(slots=1)
    play.holds(0)
    play.subscribes(A, B, C)
    request = play.starts(A)
    play.is_refused(B)
    assert play.ends(A, request) == [WakeChild(B)]
    request = play.starts(A)
    play.is_refused(C)
    play.now = 0.0001
    play.is_refused(B)
    assert play.ends(A, request) == [WakeChild(B)]


def test_the_slot_of_a_child_that_does_not_come_goes_to_the_next() -> None:
    play = Playbook(slots=1)
    play.holds(0)
    play.subscribes(A, B, C)
    request = play.starts(A)
    play.is_refused(C)
    play.now = 0.001
    play.is_refused(B)
    assert play.ends(A, request) == [WakeChild(B)]
    assert play.waits_until(0.001 + WAKE_GRACE_S) == [WakeChild(C)]


def test_the_slot_of_a_child_that_left_goes_to_the_next() -> None:
    play = Playbook(slots=1)
    play.holds(0)
    play.subscribes(A, B, C)
    request = play.starts(A)
    play.is_refused(C)
    play.now = 0.001
    play.is_refused(B)
    play.ends(A, request)
    assert play.happens(ChildLost(B)) == [WakeChild(C)]


def test_one_child_gets_half_of_the_slots_while_others_wait() -> None:
    play = Playbook(slots=4)
    play.holds(0)
    play.subscribes(A, B)
    running = [play.starts(A) for _ in range(4)]
    play.is_refused(B)
    assert play.ends(A, running[0]) == [WakeChild(B)]
    play.starts(B)
    play.is_refused(B)
    assert play.ends(A, running[1]) == [WakeChild(B)]
    play.is_refused(A)
    play.starts(B)


def test_alone_a_child_gets_all_slots() -> None:
    play = Playbook(slots=4)
    play.holds(0)
    play.subscribes(A, B)
    for _ in range(4):
        play.starts(A)
    play.is_refused(A)


def test_a_child_that_holds_its_part_does_not_keep_others_from_being_woken() -> None:
    play = Playbook(slots=2)
    play.holds(0)
    play.subscribes(A, B)
    first, second = play.starts(A), play.starts(A)
    play.is_refused(A)
    play.now = 0.001
    play.is_refused(B)
    assert play.ends(A, first) == [WakeChild(B)]
    assert play.ends(A, second) == [WakeChild(A)]


def test_a_request_number_used_twice_is_answered_busy() -> None:
    play = Playbook()
    play.holds(0)
    play.subscribes(A)
    request = play.starts(A)
    result = play.happens(PieceRequested(A, request, TASK, 0))
    assert result[0] == RefuseUpload(A, request)
    assert play.sharing.uploads == 1


def test_a_child_that_is_refused_when_it_was_woken_is_woken_again() -> None:
    play = Playbook()
    play.holds(0)
    play.subscribes(A, B)
    request, other = play.starts(A), play.starts(B)
    play.is_refused(A)
    assert play.ends(B, other) == [WakeChild(A)]
    result = play.happens(PieceRequested(A, request, TASK, 0))
    assert result == [RefuseUpload(A, request), WakeChild(A)]


def test_an_upload_that_takes_too_long_loses_its_slot() -> None:
    play = Playbook(slots=1)
    play.holds(0)
    play.subscribes(A, B)
    request = play.starts(A)
    play.is_refused(B)
    assert play.waits_until(60.0) == [AbortUpload(A, request)]
    assert play.happens(UploadEnded(A, request, TASK, 0, 60.0, failed=True)) == [WakeChild(B)]


def test_a_known_uplink_is_filled_and_not_overfilled() -> None:
    play = Playbook(uplink=200 * PIECE_BYTES_MIN)
    play.holds(0)
    play.subscribes(A, B)
    first = play.starts(A)
    play.is_refused(B)
    assert play.ends(A, first, seconds=0.02) == [WakeChild(B)]
    play.starts(A)  # takes a quarter, as is known by now, and comes before B
    play.starts(B)
    play.is_refused(A)


def test_a_known_uplink_has_room_when_an_upload_turns_out_slow() -> None:
    play = Playbook(uplink=200 * PIECE_BYTES_MIN)
    play.holds(0)
    play.subscribes(A, B)
    play.starts(A)
    play.is_refused(B)
    assert play.waits_until(0.05) == [WakeChild(B)]
    play.starts(B)


def test_a_daemon_that_stops_lets_uploads_finish_and_starts_none() -> None:
    play = Playbook()
    play.holds(0)
    play.subscribes(A, B)
    request = play.starts(A)
    assert play.happens(Stopping()) == [SendGone(A, TASK), SendGone(B, TASK)]
    assert play.subscribes(C) == [SendGone(C, TASK)]
    late, result = play.asks(B)
    assert result == [RefuseUpload(B, late, gone=True)]
    assert play.gains(1) == []
    play.ends(A, request)
    assert play.sharing.uploads == 0


def test_pieces_of_a_task_that_was_not_offered_are_a_fault_of_the_caller() -> None:
    with pytest.raises(AssertionError, match="offered before"):
        Playbook().gains(0)


# --- other zones -----------------------------------------------------------------------------------------------------


def test_a_child_in_another_zone_starts_where_all_slots_are_taken() -> None:
    play = Playbook(slots=1)
    play.holds(0, 1)
    play.subscribes_from("z", A, B)
    play.subscribes_from("y", C)
    play.starts(A)
    play.is_refused(B)
    play.starts(C)


def test_but_not_more_than_a_few_do() -> None:
    play = Playbook(slots=1)
    play.holds(*range(EXPORTS_MAX + 1))
    play.subscribes_from("y", A, B)
    requests = [play.starts(A, index) for index in range(EXPORTS_MAX)]
    play.is_refused(B)
    assert WakeChild(B) in play.ends(A, requests[0])
    play.starts(B, 1)


def test_a_child_that_tells_no_zone_is_like_those_of_our_own() -> None:
    play = Playbook(slots=1)
    play.holds(0, 1)
    play.subscribes_from("", A)
    play.subscribes_from("y", B)
    play.starts(B)
    play.is_refused(A)


def test_a_child_that_was_lost_is_of_no_zone() -> None:
    play = Playbook(slots=1)
    play.holds(0, 1)
    play.subscribes_from("y", A)
    play.happens(ChildLost(A))
    play.subscribes_from("z", A, B)
    play.starts(B)
    play.is_refused(A)
