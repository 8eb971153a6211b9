"""Hosts die, vanish, lie and come back, and the scheduler dies and comes back: every pull that survives completes.

Of the origin is taken what died with its only holders once more, and no more than that.
"""

from dataclasses import replace

import pytest

from benchmarks.simulator.scenario import MIB, Fault, FaultKind, OriginModel, Scenario, Target
from benchmarks.simulator.scenarios import named
from tests.support.simulations import all_complete, origin_at_most, replay, simulate

HERD = Scenario(hosts=24, blobs=(48 * MIB,), spread_s=0.1)
DIES, VANISHES, RETURNS = FaultKind.HOST_DIES, FaultKind.HOST_VANISHES, FaultKind.HOST_RETURNS
OWNER, PARENT, DEAD = Target.OWNER, Target.PARENT, Target.DEAD
SCHEDULER_DIES, SCHEDULER_RETURNS = FaultKind.SCHEDULER_DIES, FaultKind.SCHEDULER_RETURNS

DEATHS = {
    "an owner": (Fault(0.2, DIES, OWNER),),
    "two owners": (Fault(0.15, DIES, OWNER), Fault(0.3, DIES, OWNER)),
    "parents": (Fault(0.2, DIES, PARENT), Fault(0.3, DIES, PARENT), Fault(0.4, DIES, PARENT)),
    "an owner, which comes back": (Fault(0.2, DIES, OWNER), Fault(1.2, RETURNS, DEAD)),
    "an owner, cut off": (Fault(0.2, VANISHES, OWNER),),
    "a parent, cut off for a moment": (Fault(0.2, VANISHES, PARENT), Fault(0.7, RETURNS, DEAD)),
    "half of all": tuple(Fault(0.2 + number / 100, DIES, number) for number in range(0, 24, 2)),
}


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("deaths", DEATHS.values(), ids=DEATHS.keys())
def test_deaths_cost_the_origin_what_died_and_no_pull(deaths: tuple[Fault, ...], seed: int) -> None:
    scenario = replace(HERD, faults=deaths)
    verdict = simulate(scenario, seed)
    all_complete(verdict, scenario, seed)
    origin_at_most(verdict, 1.0, scenario, seed)


@pytest.mark.parametrize("away_s", [1.0, 2.5, 5.0])
@pytest.mark.parametrize("seed", [1, 2])
def test_a_scheduler_that_dies_and_comes_back_knowing_nothing(away_s: float, seed: int) -> None:
    faults = (Fault(0.2, SCHEDULER_DIES), Fault(0.2 + away_s, SCHEDULER_RETURNS))
    scenario = replace(HERD, faults=faults)
    verdict = simulate(scenario, seed)
    all_complete(verdict, scenario, seed)
    origin_at_most(verdict, 1.02, scenario, seed)


@pytest.mark.parametrize("seed", [1375, 1, 2])
def test_a_new_scheduler_is_asked_for_help_by_who_waited_for_it(seed: int) -> None:
    scenario = Scenario(
        hosts=2,
        blobs=(1000, 40 * MIB, 16 * MIB, 9 * MIB),
        rates_known=True,
        spread_s=2.0,
        zones=2,
        origin=OriginModel(bytes_per_s=30e6),
        faults=(Fault(0.1, SCHEDULER_DIES), Fault(4.4, SCHEDULER_RETURNS)),
    )
    all_complete(simulate(scenario, seed), scenario, seed, within_s=10.0)


@pytest.mark.parametrize("seed", [7, 1, 2])
def test_a_new_scheduler_hears_of_a_liar_that_was_found_before(seed: int) -> None:
    scenario = Scenario(
        hosts=5,
        blobs=(16 * MIB,),
        spread_s=0.0,
        full_disks=(3,),
        origin=OriginModel(bytes_per_s=30e6),
        faults=(
            Fault(0.04, SCHEDULER_DIES),
            Fault(0.15, FaultKind.HOST_LIES, PARENT),
            Fault(0.39, DIES, 4),
            Fault(0.83, SCHEDULER_RETURNS),
        ),
    )
    all_complete(simulate(scenario, seed), scenario, seed, within_s=10.0)


@pytest.mark.parametrize("at", [0.0, 0.2])
def test_a_roll_out_that_begins_while_the_scheduler_restarts_does_not_go_on_alone(at: float) -> None:
    faults = (Fault(at, SCHEDULER_DIES), Fault(2.2, SCHEDULER_RETURNS))
    scenario = replace(named("herd", 1, 24, (64 * MIB,), same_times=True), faults=faults)
    verdict = simulate(scenario, 1)
    all_complete(verdict, scenario, 1)
    origin_at_most(
        verdict, 1.5, scenario, 1
    )  # 24 x the rest before: each went on with what it fetched unasked


def test_a_scheduler_that_never_comes_back_stops_no_pull() -> None:
    scenario = replace(HERD, faults=(Fault(0.2, SCHEDULER_DIES),))
    all_complete(simulate(scenario, 3), scenario, 3)


@pytest.mark.parametrize("seed", [1, 2])
def test_an_owner_dies_while_there_is_no_scheduler(seed: int) -> None:
    faults = (Fault(0.2, SCHEDULER_DIES), Fault(0.25, DIES, OWNER), Fault(2.2, SCHEDULER_RETURNS))
    scenario = replace(HERD, faults=faults)
    verdict = simulate(scenario, seed)
    all_complete(verdict, scenario, seed)
    origin_at_most(verdict, 1.02, scenario, seed)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_liar_is_found_and_nothing_of_it_is_kept(seed: int) -> None:
    scenario = replace(HERD, faults=(Fault(0.2, FaultKind.HOST_LIES, PARENT),))
    verdict = simulate(scenario, seed)
    all_complete(verdict, scenario, seed)
    assert verdict.notes["piece_rejected"] >= 1, replay(scenario, seed)
    assert verdict.notes["quarantine"] == 1, replay(scenario, seed)
    origin_at_most(verdict, 1.15, scenario, seed)  # what only the liar held is taken from the origin again


def test_all_invariants_hold_after_every_event_while_everything_breaks() -> None:
    herd = replace(HERD, hosts=10, blobs=(16 * MIB, 6 * MIB))
    faults = (
        Fault(0.06, DIES, OWNER),
        Fault(0.09, FaultKind.HOST_LIES, PARENT),
        Fault(0.12, SCHEDULER_DIES),
        Fault(0.15, VANISHES, PARENT),
        Fault(1.2, SCHEDULER_RETURNS),
        Fault(1.4, RETURNS, DEAD),
    )
    for seed in range(1, 4):
        scenario = replace(herd, faults=faults)
        all_complete(simulate(scenario, seed, validates=True), scenario, seed)
