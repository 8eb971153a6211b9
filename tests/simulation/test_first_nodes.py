"""A few hosts compute the digest of a blob, and all others believe them: nothing wrong is kept, nobody waits long."""

from dataclasses import replace

import pytest

from benchmarks.simulator.cluster import Cluster
from benchmarks.simulator.scenario import MIB, Fault, FaultKind, Scenario, Target
from dfdaemon.config import FIRST_NODES
from dfdaemon.whole_check import PATIENCE_MAX_S
from scheduler.verification import VERIFIERS, VOTES_NEEDED
from tests.support.simulations import all_complete, replay

HERD = Scenario(hosts=20, blobs=(48 * MIB,), spread_s=0.1, verify=FIRST_NODES)
PARENT = Target.PARENT


def run(scenario: Scenario, seed: int, validates: bool = False) -> Cluster:
    """Run to the end; every host has every blob, and is right about it (simulator/disk.py asserts that)."""
    cluster = Cluster(scenario, seed, validates)
    verdict = cluster.run()
    all_complete(verdict, scenario, seed)
    return cluster


def hashed(cluster: Cluster) -> int:
    """Hosts that computed the digest."""
    return sum(bool(host.disk.hashed) for host in cluster.hosts)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_only_the_first_hash_it(seed: int) -> None:
    cluster = run(HERD, seed)
    assert VOTES_NEEDED <= hashed(cluster) <= VERIFIERS, replay(HERD, seed)
    assert cluster.notes["blob_proven"] == 1
    assert cluster.notes["root_conflict"] == 0


def test_a_herd_is_as_fast_as_where_everybody_hashes() -> None:
    mine, all_hash = run(HERD, 4)._verdict(), run(replace(HERD, verify="every-node"), 4)._verdict()
    assert mine.quantile(1.0) <= 1.05 * all_hash.quantile(1.0)


def test_in_zones_the_word_of_several_is_needed() -> None:
    zones = replace(HERD, zones=3)
    cluster = run(zones, 5)
    assert VOTES_NEEDED <= hashed(cluster) <= VERIFIERS + 2
    assert cluster.notes["blob_proven"] == 1


def test_who_comes_late_believes_what_was_proven_long_ago() -> None:
    herd = replace(HERD, late=5, late_at=10.0)
    cluster = run(herd, 6)
    assert hashed(cluster) <= VERIFIERS
    assert not any(host.disk.hashed for host in cluster.hosts[-5:])


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_liar_that_forges_pieces_with_digests_that_fit_is_found(seed: int) -> None:
    scenario = replace(HERD, faults=(Fault(0.2, FaultKind.HOST_FORGES, PARENT),))
    cluster = run(scenario, seed)
    assert cluster.notes["blob_mismatch"] >= 1, replay(scenario, seed)
    assert cluster.notes["quarantine"] >= 1, replay(scenario, seed)
    assert cluster.notes["root_conflict"] == 0, replay(scenario, seed)


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("kind", [FaultKind.HOST_DIES, FaultKind.HOST_VANISHES])
def test_verifiers_that_die_before_they_told_are_replaced(kind: FaultKind, seed: int) -> None:
    scenario = replace(HERD, faults=tuple(Fault(0.15 + number / 100, kind, number) for number in range(4)))
    cluster = run(scenario, seed)
    verdict = cluster._verdict()
    assert cluster.notes["blob_proven"] == 1, replay(scenario, seed)
    assert hashed(cluster) < len(verdict.outcomes), replay(scenario, seed)


def test_when_all_verifiers_are_cut_off_others_take_their_place_once_that_is_noticed() -> None:
    silence_s = 4.0
    hang = tuple(Fault(0.25, FaultKind.HOST_VANISHES, number) for number in range(VERIFIERS))
    scenario = replace(HERD, faults=hang, silence_s=silence_s)
    cluster = run(scenario, 7)
    assert cluster.notes["blob_proven"] == 1
    assert not any(host.disk.hashed for host in cluster.hosts[:VERIFIERS])
    assert hashed(cluster) <= VERIFIERS
    assert cluster._verdict().quantile(1.0) <= silence_s + PATIENCE_MAX_S


def test_a_scheduler_that_comes_back_has_it_proven_again() -> None:
    faults = (Fault(0.2, FaultKind.SCHEDULER_DIES), Fault(0.6, FaultKind.SCHEDULER_RETURNS))
    run(replace(HERD, faults=faults), 8)


def test_without_a_scheduler_everybody_hashes() -> None:
    scenario = replace(HERD, faults=(Fault(0.2, FaultKind.SCHEDULER_DIES),))
    cluster = run(scenario, 9)
    assert hashed(cluster) == HERD.hosts


def test_all_invariants_hold_after_every_event_while_verifiers_die_and_lie() -> None:
    faults = (
        Fault(0.06, FaultKind.HOST_DIES, 1),
        Fault(0.08, FaultKind.HOST_FORGES, PARENT),
        Fault(0.12, FaultKind.SCHEDULER_DIES),
        Fault(0.3, FaultKind.SCHEDULER_RETURNS),
    )
    run(replace(HERD, hosts=8, blobs=(16 * MIB, 6 * MIB), faults=faults), 11, validates=True)


def test_small_blobs_are_just_hashed() -> None:
    scenario = replace(HERD, blobs=(MIB, 700_000))
    cluster = run(scenario, 10)
    assert hashed(cluster) == HERD.hosts
    assert cluster.notes["blob_proven"] == 0
