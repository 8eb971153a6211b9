"""dfbench fanout, small: real daemons, and the figures that it promises."""

import json
import sys
from pathlib import Path

from tests.support.processes import run

FANOUT_S = 90.0


def test_a_small_fan_out_has_no_failures_and_costs_the_origin_one_download(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    size = ["--nodes", "8", "--blob-bytes", "4MiB"]
    run([sys.executable, "-m", "benchmarks", "fanout", *size, "--json", figures], FANOUT_S)
    found = json.loads(figures.read_text())
    assert (found["nodes"], found["failures"]) == (8, 0)
    assert round(found["origin_bytes_ratio"], 2) == 1.0
    assert found["machine_limit_ratio"] > 0
    assert found["p50_s"] <= found["max_s"]
