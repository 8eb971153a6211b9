"""The scenarios that have names."""

from itertools import pairwise

import pytest

from benchmarks.simulator.scenario import FaultKind
from benchmarks.simulator.scenarios import CHURN_S, GB, SCENARIOS, image_layers, named

CALM = {"kraken", "herd", "image", "rolling", "spread", "late", "slow", "zones", "huge"}
LIMITED = {"origin-slow", "origin-no-range", "origin-429"}


@pytest.mark.parametrize("name", SCENARIOS)
def test_faults_come_in_order_and_depend_on_the_seed_alone(name: str) -> None:
    scenario = named(name, 7)
    times = [fault.at for fault in scenario.faults]
    assert times == sorted(times)
    assert bool(times) == (name not in CALM | LIMITED)
    assert named(name, 7) == scenario


@pytest.mark.parametrize("name", ["churn", "scheduler-restart", "liar", "partition"])
def test_another_seed_strikes_elsewhere(name: str) -> None:
    assert named(name, 1).faults != named(name, 2).faults


def test_numbers_of_hosts_and_bytes_can_be_given() -> None:
    assert named("herd", 1).hosts == 1000
    small = named("rolling", 1, hosts=50, blobs=(10**8,))
    assert (small.hosts, small.blobs) == (50, (10**8,))
    assert small.wave_s == pytest.approx(1.0 + 1.5 * 10**8 / 125e6)


def test_layers_are_spread_from_a_kilobyte_to_most_of_the_image() -> None:
    layers = sorted(image_layers())
    assert (len(layers), sum(layers), layers[0]) == (10, 2 * GB, 1000)
    factors = [larger / smaller for smaller, larger in pairwise(layers)]
    assert max(factors) / min(factors) < 1.01


def test_churn_kills_a_twentieth_a_minute_and_each_comes_back_empty() -> None:
    faults = named("churn", 3, hosts=200).faults
    back = [fault.host for fault in faults if fault.kind is FaultKind.HOST_RETURNS_EMPTY]
    gone = [fault for fault in faults if fault.kind is not FaultKind.HOST_RETURNS_EMPTY]
    assert len(gone) == 10
    assert len({fault.host for fault in gone}) == 10
    assert sorted(map(str, back)) == sorted(str(fault.host) for fault in gone)
    assert all(0 <= fault.at <= CHURN_S for fault in gone)
    assert {fault.kind for fault in gone} == {FaultKind.HOST_DIES, FaultKind.HOST_VANISHES}


def test_liars_are_two_of_a_hundred_and_never_none() -> None:
    assert len(named("liar", 1, hosts=200).faults) == 4
    assert len(named("liar", 1, hosts=3).faults) == 1
