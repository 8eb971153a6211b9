"""What is simulated, as data."""

from dataclasses import replace

import pytest

from benchmarks.simulator.scenario import OriginModel, Scenario


def test_the_bound_is_the_slowest_of_origin_downlink_and_all_uplinks_together() -> None:
    blob = (100 * 10**6,)
    assert Scenario(10, blob, link_bytes_per_s=1e8, origin=OriginModel(5e7)).limit_s == pytest.approx(2.0)
    assert Scenario(10, blob, link_bytes_per_s=5e7, origin=OriginModel(1e9)).limit_s == pytest.approx(2.0)
    assert Scenario(1000, blob, link_bytes_per_s=5e7, origin=OriginModel(5e7)).limit_s >= 2.0


def test_slow_hosts_lower_what_all_can_send_and_have_a_bound_of_their_own() -> None:
    herd = Scenario(10, (10**9,), link_bytes_per_s=1e8, origin=OriginModel(1e8))
    slow = replace(herd, slow_every=5)
    assert [slow.link_of(number) for number in (3, 4, 9)] == [1e8, 2.5e7, 2.5e7]
    assert slow.limit_s == pytest.approx(10e9 / (1e8 + 8 * 1e8 + 2 * 2.5e7))
    assert slow.limit_of(2.5e7) == pytest.approx(40.0)
    assert [slow.group_of(number) for number in (3, 4)] == ["fast", "slow"]


def test_the_bound_of_a_link_alone_minds_neither_origin_nor_others() -> None:
    alone = Scenario(10, (10**9,), link_bytes_per_s=1e8, origin=OriginModel(1e6), link_alone=True)
    assert alone.limit_s == pytest.approx(10.0)


def test_each_doubling_of_hosts_costs_a_piece_time_more() -> None:
    few, many = (
        Scenario(hosts, (10**9,), link_bytes_per_s=1e8, origin=OriginModel(1e8)) for hosts in (8, 16)
    )
    assert many.rounds_limit_s - few.rounds_limit_s == pytest.approx((1 << 20) / 1e8)
    faster = replace(many, origin=OriginModel(4e8))
    assert faster.rounds_limit_s == pytest.approx(few.rounds_limit_s - (1 << 20) / 1e8)


def test_hosts_arrive_one_after_the_other_and_late_ones_late() -> None:
    scenario = Scenario(4, spread_s=2.0, late=2, late_at=9.0)
    assert [scenario.arrival_s(number) for number in range(4)] == [0.0, 0.5, 9.0, 10.0]
    assert [scenario.group_of(number) for number in range(4)] == ["herd", "herd", "late", "late"]


def test_waves_arrive_each_within_the_spread() -> None:
    scenario = Scenario(6, spread_s=3.0, waves=3, wave_s=10.0)
    assert [scenario.arrival_s(number) for number in range(6)] == [0.0, 1.5, 10.0, 11.5, 20.0, 21.5]
    assert [scenario.group_of(number) for number in (0, 2, 5)] == ["wave-1", "wave-2", "wave-3"]


def test_frames_take_longer_between_zones_and_each_pair_can_have_its_own_time() -> None:
    scenario = Scenario(4, zones=2)
    assert scenario.latency_between(0, 0) < scenario.latency_between(0, 1)
    far = replace(scenario, zone_latencies_s=((0.1, 0.2), (0.3, 0.4)))
    assert [far.latency_between(*pair) for pair in ((0, 1), (1, 0), (1, 1))] == [0.2, 0.3, 0.4]
