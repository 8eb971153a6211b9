"""Pictures: piece 0 is left. In a parent's picture `1` is held; of ours `*` is missing, `-` is not."""

from dataclasses import dataclass

import pytest

from dfdaemon import picker
from dfdaemon.rarity import Rarity
from swarm.dice import Dice
from tests.support.daemon_playbook import bits_of


@dataclass(eq=False)
class Someone:
    bits: int
    is_near: bool = True
    open_requests: int = 0


def pick(missing: str, *parents: str, readers: tuple[int, ...] = ()) -> set[int | None]:
    """Which pieces may be picked, over many throws of the dice."""
    rarity = Rarity()
    offered = 0
    for picture in parents:
        rarity.add(bits_of(picture))
        offered |= bits_of(picture)
    wanted = bits_of(missing)
    return {
        picker.pick_piece(wanted, offered, readers, rarity, len(parents), Dice(seed)) for seed in range(50)
    }


def test_nothing_is_picked_that_nobody_has_or_that_is_not_missing() -> None:
    assert pick("****", "    ") == {None}
    assert pick("----", "1111") == {None}
    assert pick("**--", "  11") == {None}


def test_the_rarest_goes_first() -> None:
    assert pick("****", "1111", "11 1", "11 1") == {2}
    assert pick("**-*", "1111", "11 1", "11  ") == {3}


def test_ties_fall_by_dice() -> None:
    assert pick("****", "1111", "1  1") == {1, 2}


def test_what_an_urgent_reader_waits_for_goes_before_what_is_rare() -> None:
    assert pick("****", "1111", "11 1", readers=(1,)) == {1}


def test_the_longest_awaited_readers_piece_goes_first() -> None:
    assert pick("****", "1111", readers=(3, 0)) == {3}


def test_an_urgent_piece_that_nobody_has_holds_nothing_up() -> None:
    assert pick("****", "   1", readers=(0,)) == {3}


def test_a_piece_beyond_the_window_is_picked_only_where_nobody_offers_one_within() -> None:
    missing = "*" * (picker.WINDOW + 1)
    far = " " * picker.WINDOW + "1"
    assert pick(missing, far) == {picker.WINDOW}
    held = "11" + far[2:]
    assert pick(missing, held, held, "11") == {0, 1}, "what two of three parents have is not rare"


def test_what_few_parents_have_goes_first_wherever_it_lies() -> None:
    missing = "*" * (picker.WINDOW + 1)
    near = " 1" + " " * (picker.WINDOW - 2)
    assert pick(missing, near + "1", near, near) == {picker.WINDOW}, "one of three parents has it"


def test_the_window_begins_at_the_first_missing_piece() -> None:
    assert picker.window_of(bits_of("--*-*")) == ((1 << picker.WINDOW) - 1) << 2
    assert picker.window_of(0) == 0


def parent(*parents: Someone) -> set[int]:
    return {parents.index(picker.pick_parent(parents, 0, Dice(seed))) for seed in range(50)}


def test_parents_of_the_own_zone_go_first() -> None:
    assert parent(Someone(1, is_near=False), Someone(1, open_requests=2), Someone(0)) == {1}


def test_then_those_that_send_least() -> None:
    assert parent(Someone(1, open_requests=1), Someone(1), Someone(1)) == {1, 2}


@pytest.mark.parametrize(
    ("round_trip_s", "piece_s", "requests"),
    [(0.0, 0.1, 1), (0.04, 0.1, 1), (0.06, 0.1, 2), (0.1, 0.1, 3), (1.0, 0.1, 4), (1.0, 0.0, 1)],
)
def test_more_requests_only_where_round_trips_are_long(
    round_trip_s: float, piece_s: float, requests: int
) -> None:
    assert picker.depth(round_trip_s, piece_s) == requests


def test_every_piece_of_a_bitmap_can_be_the_one() -> None:
    assert {picker.one_of(0b10110, Dice(seed)) for seed in range(50)} == {1, 2, 4}
