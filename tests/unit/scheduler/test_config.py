import pytest

from scheduler.config import NEIGHBOURS_MIN, PIECES_PER_NEIGHBOUR, PlacementConfig
from swarm.errors import ConfigError

CONFIG = PlacementConfig()


def test_a_blob_of_many_pieces_has_all_neighbours_and_one_of_unknown_size_too() -> None:
    assert CONFIG.for_pieces(PIECES_PER_NEIGHBOUR * CONFIG.neighbours) is CONFIG
    assert CONFIG.for_pieces(0) is CONFIG


def test_fewer_pieces_have_fewer_neighbours_and_as_many_fewer_parents() -> None:
    some = CONFIG.for_pieces(6 * PIECES_PER_NEIGHBOUR)
    assert (some.neighbours, some.parents_max) == (6, 24)
    assert CONFIG.for_pieces(1).neighbours == NEIGHBOURS_MIN


def test_who_asks_for_few_neighbours_gets_no_more() -> None:
    few = PlacementConfig(neighbours=2, remote_neighbours=1, parents_max=2)
    assert few.for_pieces(1) is few
    narrow = PlacementConfig(neighbours=8, remote_neighbours=7, parents_max=8).for_pieces(1)
    assert (narrow.neighbours, narrow.remote_neighbours, narrow.parents_max) == (4, 3, 4)


def test_more_remote_neighbours_than_neighbours_are_refused() -> None:
    with pytest.raises(ConfigError, match="remote_neighbours"):
        PlacementConfig(neighbours=4, remote_neighbours=4)
