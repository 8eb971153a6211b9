"""dfbench bytes, small: every path, against the real nginx, curl and the loop in C."""

import json
import sys
from pathlib import Path

import pytest

from benchmarks.io.byte_paths import PATHS
from tests.support.processes import run

BYTES_S = 60.0


@pytest.mark.needs("nginx-light", "build-essential", "curl", "openssl")
def test_every_path_moves_its_bytes_and_has_its_figures(tmp_path: Path) -> None:
    figures, picture = tmp_path / "figures.json", tmp_path / "picture.png"
    sizes = ["--blob-bytes", "16MiB", "--small-blob-bytes", "2MiB", "--turn-bytes", "32MiB"]
    asked = [*sizes, "--turns", "1", "--shaped-bytes-per-s", "16MB", "--folder", tmp_path]
    run([sys.executable, "-m", "benchmarks", "bytes", *asked, "--json", figures, "--plot", picture], BYTES_S)
    found = json.loads(figures.read_text())
    assert set(found["paths"]) == set(PATHS)
    assert all(found[f"{name}_ratio"] > 0 and found[f"{name}_cpu_ratio"] > 0 for name in PATHS)
    assert all(found["paths"][name]["peak_bytes"] > 1 << 20 for name in PATHS)
    limited = found["paths"]["shaped"]["gb_per_s"][0]
    assert limited < 2 * 0.016, "the limited daemon keeps to its rate, but for a first burst"
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert {path.name for path in tmp_path.iterdir()} == {"figures.json", "picture.png"}
