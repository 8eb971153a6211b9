"""The scenarios that can be asked for by name, with their numbers of hosts, sizes and rates.

Unless one says otherwise: links and origin of 1 Gbit/s, all hosts within one second.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from benchmarks.simulator.scenario import Fault, FaultKind, OriginModel, Scenario, Target
from swarm.dice import Dice

GBIT = 125e6
"""Bytes a second."""
GB = 10**9
LAYERS, LAYER_BYTES_MIN, IMAGE_BYTES = 10, 1000, 2 * GB
LAYER_ORDER = (7, 2, 9, 0, 5, 8, 3, 6, 1, 4)
"""Sizes come mixed, as in images: neither the largest nor the smallest first."""
CHURN_SHARE, CHURN_S, AWAY_S = 0.05, 60.0, 10.0
"""This share of the hosts dies within this time; each comes back that much later."""
LIARS = 0.02
PARTITION_S = 60.0

HERD = Scenario(hosts=500, blobs=(GB,), spread_s=1.0)

MakeFaults = Callable[[Scenario, Dice], tuple[Fault, ...]]


def _none(scenario: Scenario, dice: Dice) -> tuple[Fault, ...]:
    return ()


def _churn(scenario: Scenario, dice: Dice) -> tuple[Fault, ...]:
    """Let hosts die one after the other, and come back empty."""
    count = max(1, round(scenario.hosts * CHURN_SHARE))
    faults = []
    for number, host in enumerate(dice.sample(range(scenario.hosts), count)):
        at = (number + dice.share()) * CHURN_S / count
        kind = FaultKind.HOST_VANISHES if dice.share() < 0.5 else FaultKind.HOST_DIES
        faults += [Fault(at, kind, host), Fault(at + AWAY_S, FaultKind.HOST_RETURNS_EMPTY, host)]
    return tuple(sorted(faults, key=lambda fault: fault.at))


def _deaths(scenario: Scenario, dice: Dice) -> tuple[Fault, ...]:
    """Kill owners, and hosts that others depend on, one after the other; some come back."""
    step = scenario.limit_s / 8
    return (
        Fault(1 * step, FaultKind.HOST_DIES, Target.OWNER),
        Fault(2 * step, FaultKind.HOST_DIES, Target.PARENT),
        Fault(3 * step, FaultKind.HOST_VANISHES, Target.PARENT),
        Fault(4 * step, FaultKind.HOST_DIES, Target.OWNER),
        Fault(5 * step, FaultKind.HOST_RETURNS, Target.DEAD),
    )


def _scheduler_restart(scenario: Scenario, dice: Dice) -> tuple[Fault, ...]:
    down = scenario.limit_s * (0.1 + 0.8 * dice.share())
    return (Fault(down, FaultKind.SCHEDULER_DIES), Fault(down + 2.0, FaultKind.SCHEDULER_RETURNS))


def _liar(scenario: Scenario, dice: Dice) -> tuple[Fault, ...]:
    """Let some hosts lie from the start."""
    count = max(1, round(scenario.hosts * LIARS))
    liars = dice.sample(range(scenario.hosts), count)
    return tuple(Fault(0.0, FaultKind.HOST_LIES, host) for host in liars)


def _partition(scenario: Scenario, dice: Dice) -> tuple[Fault, ...]:
    """Cut the last zone off while all pull: who comes later, cut off and knowing nobody, is not what this shows."""
    at = scenario.spread_s + (scenario.limit_s - scenario.spread_s) * (0.1 + 0.6 * dice.share())
    zone = scenario.zones - 1
    return (Fault(at, FaultKind.ZONE_CUT, zone), Fault(at + PARTITION_S, FaultKind.ZONE_HEALS, zone))


@dataclass(frozen=True, slots=True)
class Named:
    """What a name stands for: a scenario, and what goes wrong in it, which depends on the seed."""

    scenario: Scenario
    faults: MakeFaults = _none
    shape: Callable[[Scenario], Scenario] = lambda scenario: scenario
    """What follows from the numbers of hosts and bytes."""


def image_layers() -> tuple[int, ...]:
    """Return the sizes of the image's layers: each the same factor larger than the one before."""
    low, high = 1.0, 100.0
    for _ in range(60):
        factor = (low + high) / 2
        total = sum(LAYER_BYTES_MIN * factor**number for number in range(LAYERS))
        low, high = (factor, high) if total < IMAGE_BYTES else (low, factor)
    sizes = [round(LAYER_BYTES_MIN * low**number) for number in range(LAYERS)]
    sizes[-1] += IMAGE_BYTES - sum(sizes)
    return tuple(sizes[number] for number in LAYER_ORDER)


def _rolling(scenario: Scenario) -> Scenario:
    return replace(scenario, wave_s=scenario.spread_s + 1.5 * scenario.limit_s)


def _late(scenario: Scenario) -> Scenario:
    return replace(
        scenario, late=max(1, scenario.hosts // 2), late_at=scenario.spread_s + 2 * scenario.limit_s
    )


def _spread(scenario: Scenario) -> Scenario:
    return replace(scenario, spread_s=scenario.limit_s)


SMALL = replace(HERD, hosts=100)
SCENARIOS = {
    "kraken": Named(
        replace(
            HERD,
            hosts=2600,
            blobs=(3 * GB // 2,) * 2,
            link_bytes_per_s=300e6,
            origin=OriginModel(1.5e9, 300e6),
        )
    ),
    "herd": Named(replace(HERD, hosts=1000)),
    "image": Named(replace(HERD, blobs=image_layers(), at_once=3)),
    "rolling": Named(replace(HERD, waves=5, link_alone=True), shape=_rolling),
    "spread": Named(HERD, shape=_spread),
    "late": Named(replace(HERD, measured="late", link_alone=True), shape=_late),
    "slow": Named(replace(HERD, slow_every=10)),
    "zones": Named(replace(HERD, zones=3, zone_bytes_per_s=10 * GBIT)),
    "churn": Named(SMALL, _churn),
    "deaths": Named(SMALL, _deaths),
    "scheduler-restart": Named(SMALL, _scheduler_restart),
    "origin-slow": Named(replace(SMALL, origin=OriginModel(0.2 * GBIT, 0.05 * GBIT, 0.1))),
    "origin-no-range": Named(replace(SMALL, origin=OriginModel(honours_range=False))),
    "origin-429": Named(replace(SMALL, origin=OriginModel(requests_max=4, window_s=4.0))),
    "liar": Named(SMALL, _liar),
    "partition": Named(replace(SMALL, zones=2), _partition),
    "huge": Named(
        replace(HERD, blobs=(100 * GB,), link_bytes_per_s=25 * GBIT, origin=OriginModel(50 * GBIT, 25 * GBIT))
    ),
}


def named(
    name: str,
    seed: int,
    hosts: int = 0,
    blobs: tuple[int, ...] = (),
    rates_known: bool = False,
    same_times: bool = False,
) -> Scenario:
    """Return a scenario by its name; hosts and blobs are its own unless given.

    `same_times`: with other blobs, all rates change with their size, so that everything takes as long as before.
    """
    chosen = SCENARIOS[name]
    own = chosen.scenario
    plain = replace(own, hosts=hosts or own.hosts, blobs=blobs or own.blobs, rates_known=rates_known)
    shaped = chosen.shape(_at_rates(plain, plain.size / own.size) if same_times else plain)
    return replace(shaped, faults=chosen.faults(shaped, Dice(seed)))


def _at_rates(scenario: Scenario, factor: float) -> Scenario:
    origin = scenario.origin
    return replace(
        scenario,
        link_bytes_per_s=scenario.link_bytes_per_s * factor,
        zone_bytes_per_s=scenario.zone_bytes_per_s * factor,
        origin=replace(
            origin,
            bytes_per_s=origin.bytes_per_s * factor,
            connection_bytes_per_s=origin.connection_bytes_per_s * factor,
        ),
    )
