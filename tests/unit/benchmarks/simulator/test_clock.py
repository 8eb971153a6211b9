"""Virtual time."""

from benchmarks.simulator.clock import Clock


def run(clock: Clock, until: float = 100.0) -> None:
    clock.run(until, lambda: False)


def test_alarms_ring_in_order_of_time_and_then_of_setting() -> None:
    clock, heard = Clock(), []
    for name, at in (("b", 2.0), ("a", 1.0), ("c", 2.0)):
        clock.at(at, lambda name=name: heard.append((name, clock.now)))
    run(clock)
    assert heard == [("a", 1.0), ("b", 2.0), ("c", 2.0)]


def test_a_cancelled_alarm_never_rings() -> None:
    clock, heard = Clock(), []
    alarm = clock.after(1.0, lambda: heard.append("cancelled"))
    clock.after(0.5, alarm.cancel)
    clock.after(2.0, lambda: heard.append("other"))
    run(clock)
    assert heard == ["other"]


def test_what_lies_in_the_past_happens_now() -> None:
    clock, heard = Clock(), []
    clock.after(5.0, lambda: clock.at(1.0, lambda: heard.append(clock.now)))
    run(clock)
    assert heard == [5.0]


def test_time_stops_at_the_limit_and_when_done() -> None:
    clock, heard = Clock(), []
    for second in range(10):
        clock.at(float(second), lambda: heard.append(clock.now))
    clock.run(4.5, lambda: False)
    assert heard == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert clock.now == 4.5
    clock.run(100.0, lambda: len(heard) == 7)
    assert clock.now == 6.0
