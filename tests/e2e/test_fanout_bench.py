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


def test_links_are_kept_to_and_a_cluster_without_a_swarm_stands_beside_it(tmp_path: Path) -> None:
    figures, picture = tmp_path / "figures.json", tmp_path / "picture.png"
    size = [
        "--nodes",
        "6",
        "--blob-bytes",
        "4MiB",
        "--link-bytes-per-s",
        "10MB",
        "--origin-bytes-per-s",
        "10MB",
    ]
    asked = [*size, "--compare", "direct", "--compare", "cache", "--json", figures, "--plot", picture]
    run([sys.executable, "-m", "benchmarks", "fanout", *asked], FANOUT_S)
    found = json.loads(figures.read_text())
    assert found["failures"] == 0
    assert found["p50_ratio"] > 0.95, "nobody is faster than the links"
    direct, cache = found["compare"]["direct"], found["compare"]["cache"]
    assert round(direct["origin_bytes_ratio"]) == 6
    assert round(cache["origin_bytes_ratio"]) == 1
    assert direct["max_s"] > 0.95 * 6 * found["limit_s"]
    assert picture.read_bytes().startswith(b"\x89PNG")
