from scheduler.lease import Lease, LeaseState
from scheduler.registry import ALONE_S_MAX, HUNGRY_MAX, NO_RANGE_S, RETRY_AFTER_MAX_S, Ranges, Registry
from swarm.ids import Epoch, HostId, TaskId
from swarm.pieces import MIB


def registry(busy: int = 2, connections: int = 2) -> Registry:
    one = Registry("r", connections, connections_max=4)
    for number in range(busy):
        lease = Lease(
            TaskId("t"), HostId("a"), "r", Epoch(number + 1), 0, 20, 20 * MIB, 10.0, state=LeaseState.STARTED
        )
        one.leases[lease] = None
    one.hungry[TaskId("t")] = None
    return one


def test_connections_grow_while_the_rate_grows_and_all_are_used() -> None:
    one = registry()
    assert one.measure(10 * MIB, 1.0)
    assert one.connections == 3
    assert not one.measure(20 * MIB, 2.0), "one connection is free now"


def test_connections_stay_when_more_brings_nothing() -> None:
    one = registry()
    one.measure(10 * MIB, 1.0)
    one.connections = 2
    assert not one.measure(10 * MIB, 2.0)
    assert one.connections == 2


def test_connections_stay_within_their_bound() -> None:
    one = registry(busy=4, connections=4)
    assert not one.measure(10 * MIB, 1.0)


def test_throttling_halves_once_a_window_and_waits_as_asked() -> None:
    one = registry(connections=4)
    one.throttle(HostId("a"), 5.0, now=10.0)
    one.throttle(HostId("a"), 2.0, now=10.1)
    assert one.connections == 2
    assert not one.has_room(14.9)
    assert one.blocked_until == 15.0
    one.throttle(HostId("a"), 1e9, now=20.0)
    assert one.blocked_until == 20.0 + ALONE_S_MAX, "another host may be welcome"
    assert one.connections == 1
    one.throttle(HostId("b"), 1e9, now=50.0)
    assert one.blocked_until == 50.0 + RETRY_AFTER_MAX_S, "two heard the same"


def test_room_is_what_busy_leases_leave() -> None:
    one = registry(busy=2, connections=2)
    assert not one.has_room(0.0)
    next(iter(one.leases)).next_piece = 19
    assert one.has_room(0.0), "a lease that is nearly done makes room for the next"


def test_a_registry_with_leases_or_waiting_tasks_or_a_pause_is_in_use() -> None:
    one = registry(busy=1)
    assert one.is_in_use(0.0)
    one.leases.clear()
    assert one.is_in_use(0.0)
    one.hungry.clear()
    assert not one.is_in_use(0.0)
    one.throttle(HostId("a"), 5.0, now=0.0)
    assert one.is_in_use(4.9)
    assert not one.is_in_use(5.0)


def test_ignored_ranges_are_forgotten_after_a_while() -> None:
    one = registry()
    one.learned_ranges(False, 10.0)
    assert one.honours(10.0 + NO_RANGE_S - 1) is Ranges.IGNORED
    assert one.honours(10.0 + NO_RANGE_S) is Ranges.UNKNOWN
    one.learned_ranges(True, 700.0)
    assert one.honours(1e9) is Ranges.HONOURED


def test_those_who_wait_are_bounded() -> None:
    one = registry()
    for number in range(HUNGRY_MAX + 10):
        one.wait(TaskId(f"t{number}"))
    assert len(one.hungry) == HUNGRY_MAX


def test_the_best_rate_is_remembered_and_fades() -> None:
    one = Registry("r", 2, connections_max=2)
    for second, received in enumerate((0, 100, 100, 10, 10)):
        one.measure(received * MIB, second + 1.0)
    assert one.best_rate == 25 * MIB
