"""Ratios of two programs that took turns."""

import pytest

from benchmarks.byte_figures import Path, Turn

GB = 10**9


def path(ours: list[Turn], other: list[Turn]) -> Path:
    return Path("upload", ours, other, "nginx")


def test_a_turn_says_how_fast_it_was_and_what_it_cost() -> None:
    turn = Turn(seconds=2.0, cpu_s=1.0, bytes=4 * GB)
    assert (turn.gb_per_s, turn.cpu_s_per_gb) == (2.0, 0.25)


def test_the_median_turn_of_each_side_counts_and_not_the_slow_one() -> None:
    ours = [Turn(1.0, 0.3, GB), Turn(50.0, 9.0, GB), Turn(1.0, 0.3, GB)]
    found = path(ours, [Turn(2.0, 0.1, GB)] * 3)
    assert found.figures() == {"upload_ratio": 2.0, "upload_cpu_ratio": 3.0}


def test_what_lies_behind_a_ratio_is_kept_turn_by_turn() -> None:
    found = path([Turn(1.0, 0.5, GB)], [Turn(0.5, 0.25, GB)])
    detail = found.detail()
    assert (detail["gb_per_s"], detail["other_gb_per_s"]) == ([1.0], [2.0])
    assert (detail["cpu_s_per_gb"], detail["other_cpu_s_per_gb"]) == ([0.5], [0.25])
    assert detail["against"] == "nginx"


def test_a_line_names_both_and_the_ratios() -> None:
    line = path([Turn(1.0, 0.5, GB)], [Turn(0.5, 0.25, GB)]).line()
    assert line.startswith("upload ")
    assert line.endswith("ratio 0.50, CPU 2.00")
    assert "nginx" in line


def test_different_amounts_are_compared_by_their_rates() -> None:
    assert path([Turn(1.0, 1.0, GB)], [Turn(4.0, 4.0, 4 * GB)]).speed_ratio == pytest.approx(1.0)
