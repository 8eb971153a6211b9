"""Which data connections are let in, and that each OPEN is good for one."""

import random
from dataclasses import replace

import pytest

from dfdaemon.data_opening import WINDOW, Gate, Opener
from swarm.frames import OpenFrame
from swarm.handshake import prove_open
from swarm.ids import HostId

CHILD = HostId("child")
KEY = b"k" * 32


def opening(counter: int, key: bytes = KEY) -> OpenFrame:
    return OpenFrame(CHILD, counter, prove_open(key, counter))


def test_each_connection_of_a_child_is_let_in_once() -> None:
    opener, gate = Opener(CHILD, KEY), Gate(KEY)
    frames = [opener.open() for _ in range(3 * WINDOW)]
    assert [frame.counter for frame in frames] == list(range(1, 3 * WINDOW + 1))
    assert all(gate.admits(frame) for frame in frames)
    assert not any(gate.admits(frame) for frame in frames)


def test_connections_may_overtake_each_other() -> None:
    gate = Gate(KEY)
    assert [gate.admits(opening(counter)) for counter in (3, 1, 2, 3, 1, 2, 4)] == [True] * 3 + [
        False
    ] * 3 + [True]


def test_what_comes_too_late_is_refused() -> None:
    gate = Gate(KEY)
    assert gate.admits(opening(WINDOW + 1))
    assert not gate.admits(opening(1))
    assert gate.admits(opening(2))


def test_a_leap_forgets_what_lies_behind_and_takes_no_memory() -> None:
    gate = Gate(KEY)
    last = 2**64 - 1
    assert gate.admits(opening(1))
    assert gate.admits(opening(last))
    assert not gate.admits(opening(1))
    assert not gate.admits(opening(last))
    assert gate.admits(opening(last - WINDOW + 1))
    assert not gate.admits(opening(last - WINDOW))


def test_counters_begin_at_one() -> None:
    assert not Gate(KEY).admits(opening(0))


@pytest.mark.parametrize(
    "frame",
    [
        opening(1, b"x" * 32),
        replace(opening(1), counter=2),
        replace(opening(1), proof=bytes(32)),
    ],
)
def test_a_wrong_proof_is_refused_and_uses_no_counter_up(frame: OpenFrame) -> None:
    gate = Gate(KEY)
    assert not gate.admits(frame)
    assert gate.admits(opening(1))
    assert gate.admits(opening(2))


@pytest.mark.parametrize("seed", range(20))
def test_in_any_order_none_is_let_in_twice_and_none_of_the_window_is_lost(seed: int) -> None:
    dice, gate, seen = random.Random(seed), Gate(KEY), set[int]()
    for _ in range(400):
        counter = max(0, max(seen, default=0) + dice.randint(-2 * WINDOW, WINDOW // 8))
        newest = max(seen, default=0)
        fresh = counter > 0 and counter not in seen and counter > newest - WINDOW
        assert gate.admits(opening(counter)) == fresh, (seed, counter)
        if fresh:
            seen.add(counter)
