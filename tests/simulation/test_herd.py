"""Many hosts want the same blobs at once, and nothing breaks: each byte leaves the origin once."""

from dataclasses import replace

import pytest

from benchmarks.simulator.cluster import Cluster
from benchmarks.simulator.scenario import MIB, OriginModel, Scenario
from tests.support.simulations import all_complete, origin_at_most, replay, simulate

HERD = Scenario(hosts=50, blobs=(64 * MIB,))


@pytest.mark.parametrize("seed", [1, 2, 3, 4, 5])
def test_every_byte_leaves_the_origin_once(seed: int) -> None:
    verdict = simulate(HERD, seed)
    all_complete(verdict, HERD, seed)
    assert verdict.origin_bytes_ratio == 1.0, replay(HERD, seed)
    assert verdict.origin_requests <= 8, replay(HERD, seed)


def test_a_large_blob_takes_little_longer_than_no_schedule_can_beat() -> None:
    herd = replace(HERD, blobs=(256 * MIB,))
    verdict = simulate(herd, 1)
    all_complete(verdict, herd, 1)
    assert verdict.origin_bytes_ratio == 1.0
    assert verdict.quantile(0.99) <= 1.35 * herd.limit_s, replay(herd, 1)


def test_all_invariants_hold_after_every_event() -> None:
    herd = replace(HERD, hosts=12, blobs=(24 * MIB, 8 * MIB))
    verdict = simulate(herd, 6, validates=True)
    all_complete(verdict, herd, 6)
    assert verdict.origin_bytes_ratio == 1.0


def test_the_same_seed_gives_the_same_run_and_another_seed_another() -> None:
    herd = replace(HERD, hosts=12, blobs=(24 * MIB,))
    first, second, other = (simulate(herd, seed, records=True).transcript for seed in (7, 7, 8))
    assert first == second
    assert first != other


@pytest.mark.parametrize("rates_known", [False, True])
def test_an_image_of_several_blobs_of_all_sizes(rates_known: bool) -> None:
    image = replace(
        HERD, hosts=20, blobs=(1500, 48 * MIB, 100_000, 7 * MIB + 1, 700_000), rates_known=rates_known
    )
    verdict = simulate(image, 9)
    all_complete(verdict, image, 9)
    assert verdict.origin_bytes_ratio == 1.0, replay(image, 9)


@pytest.mark.parametrize("hosts", [1, 12])
def test_layers_of_an_image_come_one_after_the_other(hosts: int) -> None:
    """Who unpacks them in order begins with the first while the others come."""
    image = replace(HERD, hosts=hosts, blobs=(128 * MIB,) * 3, at_once=3)
    cluster = Cluster(image, 13)
    all_complete(cluster.run(), image, 13)
    for host in cluster.hosts:
        first, second, third = (host.finished[task] - host.arrived_at for task, _ in cluster.blobs)
        assert first <= 0.6 * third, replay(image, 13)
        assert second <= 0.95 * third, replay(image, 13)


def test_zones() -> None:
    zones = replace(HERD, hosts=30, zones=3)
    verdict = simulate(zones, 10)
    all_complete(verdict, zones, 10)
    assert verdict.origin_bytes_ratio == 1.0, replay(zones, 10)


@pytest.mark.parametrize("latency_s", [0.001, 0.004, 0.01, 0.03])
def test_any_round_trip_is_lived_with(latency_s: float) -> None:
    far = replace(HERD, hosts=12, blobs=(16 * MIB,), link_bytes_per_s=6e6, latency_s=latency_s, spread_s=0.0)
    far = replace(far, origin=OriginModel(6e6, 6e6), time_limit_s=20.0)
    verdict = simulate(far, 12)
    all_complete(verdict, far, 12)
    assert verdict.origin_bytes_ratio == 1.0, replay(far, 12)


def test_who_comes_late_takes_nothing_from_the_origin() -> None:
    herd = replace(HERD, hosts=20, late=5, late_at=10.0)
    verdict = simulate(herd, 11)
    all_complete(verdict, herd, 11)
    assert verdict.origin_bytes_ratio == 1.0
    late = verdict.outcomes[-5:]
    assert [outcome.origin_bytes for outcome in late] == [0] * 5, replay(herd, 11)
    assert max(outcome.seconds for outcome in late) <= 3 * herd.limit_s, replay(herd, 11)


def test_an_origin_that_ignores_range_is_read_once_by_one() -> None:
    herd = replace(HERD, hosts=20, origin=OriginModel(honours_range=False))
    verdict = simulate(herd, 12)
    all_complete(verdict, herd, 12)
    origin_at_most(verdict, 1.0, herd, 12)


def test_hosts_without_room_on_disk_stream_what_others_hold() -> None:
    herd = replace(HERD, hosts=20, full_disks=(3, 7, 13))
    verdict = simulate(herd, 13)
    all_complete(verdict, herd, 13)
    origin_at_most(verdict, 1.0, herd, 13)


def test_one_host_alone_takes_each_byte_once() -> None:
    alone = replace(HERD, hosts=1)
    verdict = simulate(alone, 14, validates=True)
    all_complete(verdict, alone, 14)
    assert verdict.origin_bytes_ratio == 1.0
    assert verdict.quantile(1.0) <= 1.2 * alone.limit_s, replay(alone, 14)
