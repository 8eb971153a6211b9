"""The figures of a run."""

from dataclasses import replace

from benchmarks.simulator.figures import figures_of, lines, worst_of
from benchmarks.simulator.scenario import Scenario
from benchmarks.simulator.verdict import Outcome, Verdict
from swarm.ids import HostId

SCENARIO = Scenario(4, (10**9,), slow_every=4)


def verdict() -> Verdict:
    fast = Outcome(HostId("a"), "fast", 9.0, 8.0, 0.0, 0, (), pieces=60, rescued=6, hedged=1)
    slow = Outcome(HostId("b"), "slow", 36.0, 32.0, 0.0, 0, (), pieces=40, rescued=0, hedged=1)
    return Verdict((fast, slow), (), 8.0, 1.25, 0.2, 7, {"Join": 2}, {}, 40.0)


def test_all_hosts_are_held_against_the_limit_of_the_slowest_and_each_group_against_its_own() -> None:
    figures = figures_of("slow", 3, SCENARIO, verdict(), 1.0)
    assert (figures["limit_s"], figures["max_s"], figures["max_ratio"]) == (32.0, 36.0, 1.125)
    assert figures["groups"]["fast"]["p99_ratio"] == 1.125


def test_a_scenario_may_be_about_some_of_its_hosts() -> None:
    figures = figures_of("slow", 3, replace(SCENARIO, measured="fast"), verdict(), 1.0)
    assert (figures["limit_s"], figures["max_s"]) == (8.0, 9.0)


def test_shares_are_of_all_pieces_and_what_died_with_its_holder_is_told_apart() -> None:
    figures = figures_of("slow", 3, SCENARIO, verdict(), 1.0)
    assert (figures["rescued_ratio"], figures["hedged_ratio"]) == (0.06, 0.02)
    assert (figures["origin_bytes_ratio"], figures["origin_again_ratio"]) == (1.25, 1.05)


def test_the_worst_of_several_runs_and_the_seeds_that_gave_it() -> None:
    first = figures_of("slow", 3, SCENARIO, verdict(), 1.0)
    second = figures_of("slow", 4, SCENARIO, replace(verdict(), origin_bytes_ratio=1.5), 0.5)
    worst = worst_of([first, second])
    assert (worst["runs"], worst["origin_bytes_ratio"], worst["wall_s"]) == (2, 1.5, 1.0)
    assert worst["seeds_of_worst"]["origin_bytes_ratio"] == 4


def test_a_line_for_each_figure_and_each_group() -> None:
    text = "\n".join(lines(figures_of("slow", 3, SCENARIO, verdict(), 1.0)))
    assert "control_messages         Join 2" in text
    assert "group fast               limit_s 8.0" in text
