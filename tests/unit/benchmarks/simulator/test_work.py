"""One thing after the other."""

from benchmarks.simulator.clock import Clock
from benchmarks.simulator.work import Worker


def test_what_comes_while_it_is_busy_waits() -> None:
    clock = Clock()
    worker = Worker(clock)
    assert [worker.delay(2.0), worker.delay(1.0)] == [2.0, 3.0]
    clock.now = 2.5
    assert worker.delay(1.0) == 1.5
    clock.now = 10.0
    assert worker.delay(1.0) == 1.0
