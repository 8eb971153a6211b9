"""A host forges pieces, with digests that fit: all get the right bytes, and only the forger loses its good name."""

from dataclasses import replace

import pytest

from benchmarks.simulator.cluster import Cluster
from benchmarks.simulator.scenario import MIB, Fault, FaultKind, Scenario, Target
from dfdaemon.config import FIRST_NODES
from scheduler.claims import ANSWER_S
from tests.support.simulations import all_complete, origin_at_most, replay

JUDGED = Fault(8.0, FaultKind.ORIGIN_RETURNS)
"""Changes nothing: the run goes on until all claims were judged."""
FORGED = Fault(0.2, FaultKind.HOST_FORGES, Target.PARENT)
HERD = Scenario(hosts=20, blobs=(48 * MIB,), faults=(FORGED, JUDGED))
LARGE = Scenario(hosts=100, blobs=(48 * MIB,), faults=(FORGED, JUDGED))
AGAIN = 1.3
"""What the origin may send: the blob, and what none but the forger held, a fifth of it, once more."""


def quarantined(cluster: Cluster) -> list[str]:
    """Return the hosts that are not trusted at the end."""
    machine = cluster.control.machine
    assert machine is not None, "the scheduler lives"
    return [host.id for host in machine.cluster.hosts.values() if not host.is_trusted()]


def forgers(cluster: Cluster) -> list[str]:
    """Return the hosts that forge."""
    return [host.info.host for host in cluster.hosts if host.peering.forges]


def run(scenario: Scenario, seed: int, validates: bool = False, again: float = AGAIN) -> Cluster:
    """Run to the end: all have the right bytes, the origin sent little twice, and only forgers are punished."""
    cluster = Cluster(scenario, seed, validates)
    verdict = cluster.run()
    all_complete(verdict, scenario, seed, within_s=ANSWER_S + 5.0)
    origin_at_most(verdict, again, scenario, seed)
    assert quarantined(cluster) == forgers(cluster), replay(scenario, seed)
    return cluster


@pytest.mark.parametrize("seed", [1, 2, 3, 4, 5])
def test_a_forger_among_twenty_is_found_and_nobody_else_is_punished(seed: int) -> None:
    cluster = run(HERD, seed)
    assert len(forgers(cluster)) == 1
    assert cluster.notes["origin_fetched_ungranted"] == 0, replay(HERD, seed)


@pytest.mark.parametrize("seed", [1, 2])
def test_a_forger_among_a_hundred_is_found_and_nobody_else_is_punished(seed: int) -> None:
    run(LARGE, seed)


@pytest.mark.parametrize("seed", [1, 2])
def test_a_forger_that_others_do_not_depend_on_costs_the_origin_nothing(seed: int) -> None:
    late = replace(FORGED, host=10)
    run(replace(HERD, spread_s=0.1, faults=(late, JUDGED)), seed, again=1.0)


def test_two_forgers_are_found_and_all_invariants_hold_after_every_event() -> None:
    both = tuple(Fault(0.06, FaultKind.HOST_FORGES, number) for number in (1, 2))
    cluster = run(
        Scenario(hosts=8, blobs=(16 * MIB, 6 * MIB), spread_s=0.1, faults=(*both, JUDGED)), 11, True
    )
    assert len(forgers(cluster)) == 2


def test_a_forger_is_found_where_a_few_hosts_hash_for_all() -> None:
    run(replace(HERD, verify=FIRST_NODES), 1)


def test_without_a_scheduler_all_get_the_right_bytes_from_the_origin() -> None:
    scenario = replace(HERD, faults=(FORGED, Fault(0.3, FaultKind.SCHEDULER_DIES)))
    cluster = Cluster(scenario, 1)
    all_complete(cluster.run(), scenario, 1)
    assert cluster.notes["blob_mismatch"] > 0, replay(scenario, 1)


def test_a_scheduler_that_knows_no_records_punishes_nobody() -> None:
    restart = (Fault(0.25, FaultKind.SCHEDULER_DIES), Fault(0.5, FaultKind.SCHEDULER_RETURNS))
    scenario = replace(HERD, faults=(FORGED, *restart, JUDGED))
    cluster = Cluster(scenario, 1)
    all_complete(cluster.run(), scenario, 1)
    assert set(quarantined(cluster)) <= set(forgers(cluster)), replay(scenario, 1)
