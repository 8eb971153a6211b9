"""dfbench simulate."""

import json
from pathlib import Path

import pytest

from benchmarks.__main__ import main

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
    assert written["asked"]["seed"] == 3
    assert written["p50_s"] <= written["p90_s"] <= written["p99_s"] <= written["max_s"]


def test_faults_are_asked_for_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*SMALL, "--scenario", "scheduler-restart", "--validate"])
    assert ended.value.code == 0
    assert "scheduler_lost" in capsys.readouterr().out


@pytest.mark.parametrize("wrong", [["--nodes", "0"], ["--scenario", "flood"]])
def test_what_cannot_be_simulated_is_refused(wrong: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["simulate", *wrong])
    assert ended.value.code == 2
