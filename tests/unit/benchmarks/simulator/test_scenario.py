"""What is simulated, as data."""

import pytest

from benchmarks.simulator.scenario import MIB, SCENARIOS, OriginModel, Scenario


def test_the_bound_is_the_slowest_of_origin_downlink_and_all_uplinks_together() -> None:
    blob = (100 * 10**6,)
    assert Scenario(10, blob, link_bytes_per_s=1e8, origin=OriginModel(5e7)).limit_s == pytest.approx(2.0)
    assert Scenario(10, blob, link_bytes_per_s=5e7, origin=OriginModel(1e9)).limit_s == pytest.approx(2.0)
    assert Scenario(1000, blob, link_bytes_per_s=5e7, origin=OriginModel(5e7)).limit_s >= 2.0


def test_hosts_arrive_one_after_the_other_and_late_ones_late() -> None:
    scenario = Scenario(4, spread_s=2.0, late=1, late_at=9.0)
    assert [scenario.arrival_s(number) for number in range(4)] == [0.0, 0.5, 1.0, 9.0]


@pytest.mark.parametrize("name", SCENARIOS)
def test_named_scenarios_strike_in_order_while_the_herd_pulls(name: str) -> None:
    scenario = SCENARIOS[name](Scenario(50, (64 * MIB,)))
    times = [fault.at for fault in scenario.faults]
    assert times == sorted(times)
    assert bool(times) == (name != "herd")
    assert all(0 < at < scenario.limit_s for at in times[:1])
