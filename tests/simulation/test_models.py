"""The models that scenarios switch on: disks, processors, cold connections, an origin that fails for a while."""

from dataclasses import replace

import pytest

from benchmarks.simulator.scenario import MIB, Fault, FaultKind, Scenario
from tests.support.simulations import all_complete, origin_at_most, replay, simulate

HERD = Scenario(hosts=12, blobs=(24 * MIB,), spread_s=0.1)


@pytest.mark.parametrize(
    "slower",
    [
        {"cpu_s_per_piece": 0.004},
        {"initial_window_bytes": 15_000, "latency_s": 0.005},
        {"disk_bytes_per_s": 60e6},
    ],
    ids=["processor", "ramp", "disk"],
)
def test_what_takes_time_makes_a_herd_slower_and_costs_nothing_else(slower: dict[str, float]) -> None:
    fast, scenario = simulate(HERD, 1), replace(HERD, **slower)  # type: ignore[arg-type]
    verdict = simulate(scenario, 1)
    all_complete(verdict, scenario, 1)
    origin_at_most(verdict, 1.0, scenario, 1)
    assert verdict.quantile(0.5) > fast.quantile(0.5), replay(scenario, 1)


def test_a_disk_with_room_for_one_of_two_blobs_streams_the_other() -> None:
    scenario = replace(HERD, blobs=(8 * MIB, 16 * MIB), disk_bytes=20 * MIB, hosts=4)
    all_complete(simulate(scenario, 2), scenario, 2)


def test_hosts_without_room_share_the_origin_and_hold_each_other_up_no_more_than_that() -> None:
    scenario = replace(HERD, blobs=(256 * MIB,), disk_bytes=8 * MIB, hosts=2)
    verdict = simulate(scenario, 2)
    all_complete(verdict, scenario, 2)
    assert verdict.quantile(1.0) <= 2.05 * scenario.limit_s, replay(scenario, 2)
    origin_at_most(verdict, 2.05, scenario, 2)


def test_an_origin_that_fails_for_a_while_fails_no_pull() -> None:
    faults = (Fault(0.1, FaultKind.ORIGIN_FAILS), Fault(1.5, FaultKind.ORIGIN_RETURNS))
    scenario = replace(HERD, faults=faults)
    verdict = simulate(scenario, 3)
    all_complete(verdict, scenario, 3)
    assert verdict.quantile(1.0) > 1.0, "it waits for the origin"
    origin_at_most(verdict, 1.1, scenario, 3)


def test_an_origin_that_slows_down_makes_all_wait() -> None:
    scenario = replace(HERD, faults=(Fault(0.05, FaultKind.ORIGIN_SLOWS, amount=0.1),))
    verdict = simulate(scenario, 4)
    all_complete(verdict, scenario, 4)
    assert verdict.quantile(0.5) > 4 * HERD.limit_s, replay(scenario, 4)
