"""dfbench attach, small: a real scheduler, streams of daemons without bytes, and the figures that it promises."""

import json
import sys
from pathlib import Path

from tests.support.processes import run

ATTACH_S = 60.0
DAEMONS = 30


def test_every_join_is_answered_and_the_messages_are_counted(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    size = ["--daemons", DAEMONS, "--blob-bytes", "64MiB", "--download-s", 1, "--spread-s", 1]
    command = [sys.executable, "-m", "benchmarks", "attach", *map(str, size), "--json", figures]
    run(command, ATTACH_S)
    found = json.loads(figures.read_text())
    assert (found["daemons"], found["unanswered"], found["sent_to_origin"]) == (DAEMONS, 0, 0)
    for part in ("herd", "spread"):
        assert 0 < found[f"{part}_answer_p50_s"] <= found[f"{part}_answer_max_s"]
        assert found[f"{part}_heard"]["task_info"] == found[f"{part}_sent"]["Completed"] == DAEMONS
    assert 0 < found["herd_decision_p99_s"] < 10
