"""The named scenarios, small, over a few seeds; `make simulate-nightly` runs more hosts and seeds."""

import pytest

from benchmarks.simulator.figures import figures_of
from benchmarks.simulator.requirements import FAULTY, breaches
from benchmarks.simulator.scenario import MIB
from benchmarks.simulator.scenarios import SCENARIOS, named
from tests.support.simulations import replay, simulate

SEEDS = range(1, 6)
PARTITION_BYTES = 128 * MIB
"""With fewer pieces, what several hosts without a scheduler fetch at once is a large part of all."""
ZONES_BYTES = 64 * MIB
"""With fewer, at rates at which they take as long, a piece that takes a second is asked for again, and counts twice."""
CALM = [name for name in SCENARIOS if name not in FAULTY]


def hold(name: str, seed: int, hosts: int, size: int) -> None:
    scenario = named(name, seed, hosts, (size,), same_times=True)
    figures = figures_of(name, seed, scenario, simulate(scenario, seed), 0.0)
    assert not breaches(name, figures), f"{breaches(name, figures)}\n{replay(scenario, seed)}"


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", FAULTY)
def test_what_breaks_fails_no_pull_and_costs_the_origin_little(name: str, seed: int) -> None:
    hold(name, seed, 20, PARTITION_BYTES if name == "partition" else 16 * MIB)


@pytest.mark.parametrize("seed", SEEDS)
def test_every_byte_comes_into_a_zone_once(seed: int) -> None:
    hold("zones", seed, 21, ZONES_BYTES)


@pytest.mark.parametrize("name", CALM)
def test_where_nothing_breaks_every_byte_leaves_the_origin_once(name: str) -> None:
    hold(name, 5, 20, ZONES_BYTES if name == "zones" else 16 * MIB)
