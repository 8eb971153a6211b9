"""Runs simulations for tests, and says of a failure how to see it again."""

from benchmarks.simulator.cluster import Cluster
from benchmarks.simulator.scenario import Scenario
from benchmarks.simulator.scenarios import SCENARIOS, named
from benchmarks.simulator.verdict import Verdict


def simulate(scenario: Scenario, seed: int, validates: bool = False, records: bool = False) -> Verdict:
    """Run a scenario; an invariant that breaks names the run."""
    try:
        return Cluster(scenario, seed, validates, records).run()
    except AssertionError as error:
        raise AssertionError(f"{error}\n{replay(scenario, seed)}") from error


def replay(scenario: Scenario, seed: int) -> str:
    """Return what to type to see this run again."""
    for name in SCENARIOS:
        asked = named(name, seed, scenario.hosts, scenario.blobs, scenario.rates_known)
        if asked == scenario and len(set(scenario.blobs)) == 1:
            size, count = scenario.blobs[0], len(scenario.blobs)
            typed = f"--nodes {scenario.hosts} --blob-bytes {size} --blobs {count} --scenario {name} --seed {seed}"
            return f"see it again: dfbench simulate {typed}"
    return f"see it again: seed {seed} of {scenario}"


def all_complete(verdict: Verdict, scenario: Scenario, seed: int, within_s: float = 30.0) -> None:
    """Assert that every living host soon has every blob, right, and that no client was told of a failure."""
    again = replay(scenario, seed)
    late = [outcome.host for outcome in verdict.unfinished]
    assert not late, f"{len(late)} hosts did not finish: {late[:5]}\n{again}"
    assert verdict.quantile(1.0) <= within_s, f"the last host took {verdict.quantile(1.0):.1f} s\n{again}"
    assert not verdict.failures, f"clients were told: {sorted(set(verdict.failures))}\n{again}"


def origin_at_most(verdict: Verdict, ratio: float, scenario: Scenario, seed: int) -> None:
    """Assert how much the origin sent: a ratio of the blobs, and what died with its only holders once more."""
    sent, lost = verdict.origin_bytes_ratio, verdict.lost_bytes_ratio
    allowed = ratio + lost
    assert sent <= allowed, f"the origin sent {sent:.4f}, at most {allowed:.4f}\n{replay(scenario, seed)}"
