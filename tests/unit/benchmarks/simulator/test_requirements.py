"""What must hold where something breaks."""

import pytest

from benchmarks.simulator.requirements import FAULTY, breaches
from benchmarks.simulator.scenarios import SCENARIOS


@pytest.mark.parametrize(
    ("name", "sent", "holds"),
    [
        ("churn", 1.05, True),
        ("churn", 1.06, False),
        ("partition", 2.05, True),
        ("herd", 1.0, True),
        ("herd", 1.001, False),
    ],
)
def test_what_the_origin_may_send(name: str, sent: float, holds: bool) -> None:
    assert (breaches(name, {"failures": 0, "origin_again_ratio": sent}) == []) == holds


def test_no_host_may_fail() -> None:
    assert breaches("partition", {"failures": 2, "origin_again_ratio": 1.0}) == ["2 hosts failed"]


def test_what_is_run_over_many_seeds_has_a_name() -> None:
    assert set(FAULTY) <= set(SCENARIOS)


@pytest.mark.parametrize(("crossed", "holds"), [(2.0, True), (2.04, True), (2.05, False)])
def test_what_may_go_from_zone_to_zone(crossed: float, holds: bool) -> None:
    figures = {"failures": 0, "origin_again_ratio": 1.0, "cross_zone_bytes_ratio": crossed}
    assert (breaches("zones", figures) == []) == holds
