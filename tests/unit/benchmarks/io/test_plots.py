"""Pictures of simulated runs."""

from pathlib import Path

from benchmarks.io.plots import columns_of, draw_ratios, steps_of
from benchmarks.simulator.verdict import Sample


def test_the_share_of_hosts_grows_with_each_that_is_done() -> None:
    assert steps_of([3.0, 1.0]) == ([0.0, 1.0, 3.0], [0.0, 0.5, 1.0])


def test_nobody_done_is_a_flat_line() -> None:
    assert steps_of([]) == ([0.0], [0.0])


def test_bytes_over_time_by_where_they_came_from() -> None:
    columns = columns_of([Sample(0.0, 0, 0, 0), Sample(1.0, 2 * 10**9, 10**10, 5 * 10**8)])
    assert list(columns.values()) == [[0.0, 2.0], [0.0, 10.0], [0.0, 0.5]]


def test_ratios_are_drawn_as_a_picture(tmp_path: Path) -> None:
    draw_ratios(tmp_path / "ratios.png", {"upload": 0.9, "download": 1.1}, "speed")
    assert (tmp_path / "ratios.png").read_bytes().startswith(b"\x89PNG")
