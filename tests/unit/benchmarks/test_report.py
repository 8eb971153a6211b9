"""What a run is judged by."""

import pytest

from benchmarks.report import (
    Costs,
    Links,
    MachineLimit,
    NodeResult,
    Run,
    as_dict,
    compared,
    figures,
    fluid_limit_s,
    lines,
    quantile,
)

MB = 1_000_000


def run(*seconds: float, failed: int = 0, machine: MachineLimit | None = None) -> Run:
    nodes = [NodeResult(each, cross_zone_bytes=MB) for each in seconds]
    nodes += [NodeResult(9.0, failure="not done")] * failed
    costs = Costs(wall_s=4.0, cpu_s=6.0, rss_bytes=100 * MB)
    return Run("fanout", 7, 10 * MB, nodes, costs, 2.0, machine, 10 * MB, 3, 2, {"Join": 4, "Completed": 2})


@pytest.mark.parametrize(("share", "value"), [(0.5, 2), (0.75, 3), (0.76, 4), (1.0, 4), (0.01, 1)])
def test_a_quantile_is_the_smallest_value_that_enough_do_not_exceed(share: float, value: float) -> None:
    assert quantile([4, 1, 3, 2], share) == value
    assert quantile([], share) == 0


@pytest.mark.parametrize(
    ("links", "limit_s"),
    [
        (Links(0, 0, 0), 0.0),
        (Links(10 * MB, 0, 0), 10.0),
        (Links(100 * MB, 0, 5 * MB), 20.0),
        (Links(100 * MB, 1 * MB, 0), 10 * 100 / 110),
    ],
)
def test_nobody_is_faster_than_the_slowest_link(links: Links, limit_s: float) -> None:
    assert fluid_limit_s(100 * MB, 10, links) == pytest.approx(limit_s)


def test_figures_of_a_run() -> None:
    shown = figures(run(1.0, 2.0, 3.0, 4.0, failed=1, machine=MachineLimit(1.0, 2.0)))
    assert (shown["p50_s"], shown["max_s"], shown["p50_ratio"], shown["max_ratio"]) == (2.0, 4.0, 1.0, 2.0)
    assert (shown["nodes"], shown["failures"], shown["origin_bytes_ratio"]) == (5, 1, 1.0)
    assert (shown["cross_zone_bytes_ratio"], shown["rescued_ratio"]) == (0.4, 0.4)
    assert shown["control_messages"] == {"Completed": 2, "Join": 4}
    assert (shown["cpu_s_per_gb"], shown["aggregate_bytes_per_s"]) == (150.0, 10 * MB)
    assert (shown["machine_limit_ratio"], shown["machine_cpu_s_per_gb"]) == (0.25, 50.0)
    assert shown["rss_bytes_per_daemon"] == 20 * MB


def test_where_nothing_was_measured_nothing_is_said() -> None:
    shown = figures(run(1.0))
    assert shown["machine_limit_ratio"] is None
    assert "machine_limit_ratio      -" in list(lines(shown))


def test_what_is_compared_stands_beside_the_swarm() -> None:
    shown = figures(run(1.0)) | {"compare": {"direct": compared(run(8.0)), "cache": compared(run(5.0))}}
    table = [line.split() for line in lines(shown)]
    assert table[0] == ["swarm", "direct", "cache"]
    assert ["p50_s", "1.0", "8.0", "5.0"] in table
    assert ["nodes", "1"] in table, "what says nothing about others is not repeated"
    assert "compare" not in {row[0] for row in table}


def test_results_travel_as_json() -> None:
    node = NodeResult(1.5, 2, 3, 4, "why")
    assert NodeResult(**as_dict(node)) == node
