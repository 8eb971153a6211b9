from collections import Counter

import pytest

from swarm.dice import Dice


def test_the_throws_are_those_of_the_published_generator() -> None:
    """SplitMix64 with seed 1234567, as in Rosetta Code and the reference implementation."""
    dice = Dice(1234567)
    assert [dice.throw() for _ in range(3)] == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
    ]


def test_the_same_seed_gives_the_same_throws() -> None:
    one, other = Dice(7), Dice(7)
    assert [one.throw() for _ in range(9)] == [other.throw() for _ in range(9)]
    assert Dice(8).throw() != Dice(7).throw()


def test_numbers_stay_below_their_end_and_all_come() -> None:
    dice = Dice(1)
    counts = Counter(dice.below(6) for _ in range(6000))
    assert sorted(counts) == [0, 1, 2, 3, 4, 5]
    assert min(counts.values()) > 800


def test_a_die_without_faces_is_a_fault_of_the_caller() -> None:
    with pytest.raises(AssertionError, match="at least one face"):
        Dice(1).below(0)


def test_shares_lie_in_the_unit_interval() -> None:
    dice = Dice(2)
    shares = [dice.share() for _ in range(1000)]
    assert 0 <= min(shares) < 0.05
    assert 0.95 < max(shares) < 1


def test_a_sample_has_different_items_and_leaves_its_source_alone() -> None:
    items = list("abcdef")
    sample = Dice(3).sample(items, 4)
    assert len(set(sample)) == 4
    assert items == list("abcdef")
    assert sorted(Dice(3).sample(items, 99)) == items
    assert Dice(3).sample([], 2) == []


def test_a_choice_is_one_of_the_items() -> None:
    dice = Dice(4)
    assert {dice.choose("xyz") for _ in range(100)} == {"x", "y", "z"}
