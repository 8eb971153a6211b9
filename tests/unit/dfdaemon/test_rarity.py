import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfdaemon.rarity import Rarity


def test_counts_add_up() -> None:
    rarity = Rarity()
    for bits in (0b0111, 0b0011, 0b0001, 0b0001):
        rarity.add(bits)
    assert [rarity.count(index) for index in range(4)] == [4, 2, 1, 0]


def test_the_rarest_are_those_with_the_fewest_holders() -> None:
    rarity = Rarity()
    for bits in (0b0111, 0b1011, 0b0001):
        rarity.add(bits)
    assert rarity.rarest(0b1111) == 0b1100
    assert rarity.rarest(0b0011) == 0b0010
    assert rarity.rarest(0b0001) == 0b0001


def test_a_holder_that_was_not_counted_cannot_be_lost() -> None:
    rarity = Rarity()
    rarity.add(0b01)
    with pytest.raises(AssertionError, match="no holder to lose"):
        rarity.remove(0b11)


@given(st.lists(st.integers(0, 255), max_size=20), st.data())
def test_counts_are_those_of_a_list(holders: list[int], data: st.DataObject) -> None:
    rarity = Rarity()
    for bits in holders:
        rarity.add(bits)
    gone = data.draw(st.integers(0, len(holders)))
    for bits in holders[:gone]:
        rarity.remove(bits)
    counts = [sum(bits >> index & 1 for bits in holders[gone:]) for index in range(8)]
    assert [rarity.count(index) for index in range(8)] == counts
    wanted = data.draw(st.integers(1, 255))
    fewest = min(counts[index] for index in range(8) if wanted >> index & 1)
    assert rarity.rarest(wanted) == sum(1 << i for i in range(8) if wanted >> i & 1 and counts[i] == fewest)
