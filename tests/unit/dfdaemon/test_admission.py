import pytest

from dfdaemon.admission import (
    AT_ONCE_MAX,
    DURATION_MAX_S,
    DURATION_MIN_S,
    EXPORTS_MAX,
    PACES_MAX,
    Admission,
    UploadKey,
)
from dfdaemon.config import DaemonConfig, PeerConfig
from swarm.ids import HostId, RequestId
from swarm.pieces import PIECE_BYTES_MAX

MIB = 1 << 20
UPLINK = 100 * MIB


def key(child: str, request: int = 1) -> UploadKey:
    return HostId(child), RequestId(request)


def with_slots(count: int) -> Admission:
    return Admission(DaemonConfig(peer=PeerConfig(upload_slots=count)))


def with_uplink(rate: int = UPLINK) -> Admission:
    return Admission(DaemonConfig(upload_bytes_per_s=rate))


def take(admission: Admission, child: str, share: float, now: float = 0.0) -> None:
    """Let a child take a MiB alone, at a share of the uplink."""
    admission.start(key(child, 99), MIB, now)
    admission.end(key(child, 99), MIB, MIB / (share * UPLINK))


def test_slots_are_counted_while_the_uplink_is_unknown() -> None:
    admission = with_slots(2)
    assert (admission.is_measured, admission.room(0.0)) == (False, 2)
    admission.start(key("a"), MIB, 0.0)
    admission.start(key("b"), MIB, 0.0)
    assert admission.room(0.0) == 0
    admission.end(key("a"), MIB, 0.1)
    assert admission.room(0.0) == 1
    assert (admission.count_of(HostId("a")), admission.count_of(HostId("b"))) == (0, 1)


def test_an_unknown_child_is_thought_to_take_a_known_uplink_whole() -> None:
    admission = with_uplink()
    assert admission.room(0.0) == 1
    admission.start(key("a"), MIB, 0.0)
    assert admission.room(0.0) == 0


def test_an_upload_that_lasts_shows_that_it_takes_less() -> None:
    admission = with_uplink()
    admission.start(key("a"), MIB, 0.0)
    assert admission.room(0.01) == 0
    assert admission.room(0.02) == 1
    assert admission.taken_bytes_per_s(0.02) == pytest.approx(UPLINK / 2)


def test_children_that_are_slow_by_themselves_share_the_uplink() -> None:
    admission = with_uplink()
    for child in "abcd":
        take(admission, child, 0.25)
    for child in "abcd":
        assert admission.room(0.0) == 1
        admission.start(key(child), MIB, 0.0)
    assert admission.room(0.0) == 0


def test_a_child_that_had_its_share_may_be_faster() -> None:
    admission = with_uplink()
    take(admission, "a", 1.0)
    admission.start(key("a"), MIB, 0.0)
    admission.start(key("b"), MIB, 0.0)
    admission.end(key("b"), MIB, MIB / (UPLINK / 2))
    admission.end(key("a"), MIB, MIB / (UPLINK / 2))
    admission.start(key("a", 2), MIB, 1.0)
    assert admission.taken_bytes_per_s(1.0) == pytest.approx(UPLINK)


def test_a_child_that_became_slow_is_known_as_slow() -> None:
    admission = with_uplink()
    take(admission, "a", 1.0)
    take(admission, "a", 0.5)
    admission.start(key("a"), MIB, 0.0)
    assert admission.taken_bytes_per_s(0.0) == pytest.approx(UPLINK / 2)


def test_even_a_fast_uplink_has_a_last_slot() -> None:
    admission = with_uplink()
    for index in range(AT_ONCE_MAX):
        take(admission, f"child-{index}", 0.001)
    for index in range(AT_ONCE_MAX):
        admission.start(key(f"child-{index}"), MIB, 0.0)
    assert admission.room(0.0) == 0
    with pytest.raises(AssertionError, match="only where there is a slot"):
        admission.start(key("one-more"), MIB, 0.0)


def test_the_paces_of_many_children_do_not_pile_up() -> None:
    admission = with_uplink()
    for index in range(PACES_MAX + 1):
        take(admission, f"child-{index}", 0.5)
    admission.start(key("child-0"), MIB, 0.0)
    assert admission.taken_bytes_per_s(0.0) == UPLINK, "the first one was forgotten, and counts as unknown"


def test_a_slot_is_taken_back_once_when_its_time_is_up() -> None:
    admission = with_slots(1)
    admission.start(key("a"), MIB, 0.0)
    deadline = admission.next_deadline()
    assert DURATION_MIN_S <= deadline <= DURATION_MAX_S
    assert admission.overdue(deadline - 0.001) == []
    assert admission.overdue(deadline) == [key("a")]
    assert admission.overdue(deadline + 1) == []
    assert admission.next_deadline() == float("inf")
    assert admission.room(deadline) == 0, "it is free only when the upload has ended"
    admission.end(key("a"), 10, 9.0)
    assert admission.room(deadline) == 1


def test_slow_times_make_for_patience_up_to_a_limit() -> None:
    admission = with_slots(1)
    for _ in range(40):
        admission.start(key("a"), MIB, 0.0)
        admission.end(key("a"), MIB, 2.0)
    admission.start(key("a"), MIB, 100.0)
    assert admission.next_deadline() == pytest.approx(120.0, abs=0.1)
    admission.end(key("a"), MIB, 2.0)
    admission.start(key("a"), 8 * MIB, 100.0)
    assert admission.next_deadline() == 100.0 + DURATION_MAX_S


@pytest.mark.parametrize(("took_s", "limit_s"), [(0.001, DURATION_MIN_S), (2.0, DURATION_MAX_S)])
def test_a_piece_larger_than_usual_has_as_much_more_time(took_s: float, limit_s: float) -> None:
    admission = with_slots(1)
    for _ in range(40):
        admission.start(key("a"), MIB, 0.0)
        admission.end(key("a"), MIB, took_s)
    admission.start(key("a"), PIECE_BYTES_MAX, 100.0)
    assert admission.next_deadline() == 100.0 + 2 * limit_s


def test_the_end_of_an_unknown_upload_changes_nothing() -> None:
    admission = with_slots(1)
    admission.end(key("a"), MIB, 1.0)
    assert admission.room(0.0) == 1


def test_uploads_to_other_zones_have_a_few_slots_more() -> None:
    admission = with_slots(1)
    far = {HostId("far")}
    admission.start(key("near"), MIB, 0.0)
    for number in range(EXPORTS_MAX):
        assert admission.room_for_exports(far) == EXPORTS_MAX - number
        admission.start((HostId("far"), RequestId(number)), MIB, 0.0, is_export=True)
    assert admission.room_for_exports(far) == 0
    with pytest.raises(AssertionError, match="only where there is a slot"):
        admission.start(key("another"), MIB, 0.0, is_export=True)
