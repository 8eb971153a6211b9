"""Lives of simulated processes."""

from benchmarks.simulator.clock import Clock
from benchmarks.simulator.life import Life


def test_what_was_under_way_reaches_this_life_and_no_other() -> None:
    clock, heard = Clock(), []
    life = Life(clock)
    life.begin()
    life.soon(1.0, heard.append, "while it lives")
    life.soon(3.0, heard.append, "after its end")
    clock.at(2.0, life.end)
    clock.at(2.5, life.begin)
    clock.at(2.6, lambda: life.soon(1.0, heard.append, "in the next one"))
    clock.run(10.0, lambda: False)
    assert heard == ["while it lives", "in the next one"]


def test_errands_keep_their_order_among_alarms() -> None:
    clock, heard = Clock(), []
    life = Life(clock)
    life.begin()
    clock.at(1.0, lambda: heard.append("first"))
    life.soon(1.0, heard.append, "second")
    clock.at(1.0, lambda: heard.append("third"))
    clock.run(10.0, lambda: False)
    assert heard == ["first", "second", "third"]
