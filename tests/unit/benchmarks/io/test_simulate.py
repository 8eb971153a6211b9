"""dfbench simulate."""

import json
from pathlib import Path

import pytest

from benchmarks.__main__ import main

KEYS = [
    "scenario",
    "seed",
    "nodes",
    "limit_s",
    "p50_s",
    "p90_s",
    "p99_s",
    "max_s",
    "p50_ratio",
    "p90_ratio",
    "p99_ratio",
    "max_ratio",
    "origin_bytes_ratio",
    "origin_requests",
    "cross_zone_bytes_ratio",
    "rescued_ratio",
    "control_messages",
    "failures",
    "wall_s",
]
SMALL = ["simulate", "--nodes", "4", "--blob-bytes", str(8 << 20)]


def test_figures_on_the_screen_and_in_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = tmp_path / "report.json"
    with pytest.raises(SystemExit) as ended:
        main([*SMALL, "--seed", "3", "--json", str(report)])
    assert ended.value.code == 0
    shown = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    written = json.loads(report.read_text())
    assert shown["origin_bytes_ratio"] == "1.0"
    assert shown["unfinished"] == "0"
    assert written["origin_bytes_ratio"] == 1.0
    assert (written["scenario"], written["seed"], written["nodes"]) == ("herd", 3, 4)
    assert set(KEYS) <= set(written)
    assert written["p50_s"] <= written["p90_s"] <= written["p99_s"] <= written["max_s"]


def test_many_seeds_and_the_worst_of_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = tmp_path / "report.json"
    with pytest.raises(SystemExit) as ended:
        main([*SMALL, "--seeds", "3-5", "--json", str(report)])
    assert ended.value.code == 0
    written = json.loads(report.read_text())
    assert [run["seed"] for run in written["each"]] == [3, 4, 5]
    assert written["p99_ratio"] == max(run["p99_ratio"] for run in written["each"])
    assert written["seeds_of_worst"]["p99_ratio"] in (3, 4, 5)
    assert capsys.readouterr().out.count("seed ") == 3


def test_a_picture_is_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = tmp_path / "run.png"
    with pytest.raises(SystemExit) as ended:
        main([*SMALL, "--plot", str(picture)])
    assert ended.value.code == 0
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert "p99_ratio" in capsys.readouterr().out


def test_faults_are_asked_for_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*SMALL, "--scenario", "scheduler-restart", "--validate"])
    assert ended.value.code == 0
    assert "scheduler_lost" in capsys.readouterr().out


@pytest.mark.parametrize("wrong", [["--nodes", "0"], ["--scenario", "flood"], ["--seeds", "9-3"]])
def test_what_cannot_be_simulated_is_refused(wrong: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["simulate", *wrong])
    assert ended.value.code == 2
