"""dfbench netns, small: hosts in namespaces of their own, links that the kernel shapes, and nothing left behind."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.processes import run

pytestmark = pytest.mark.needs("iproute2", root=True)
NETNS_S = 90.0
SHAPED = ["--link-mbit-per-s", "80"]


def namespaces() -> set[str]:
    return {path.name for path in Path("/run/netns").glob("dfb*")}


def test_a_small_fan_out_between_namespaces(tmp_path: Path) -> None:
    figures, size = tmp_path / "figures.json", ["--nodes", "4", "--blob-bytes", "4MiB"]
    run([sys.executable, "-m", "benchmarks", "netns", *size, *SHAPED, "--json", figures], NETNS_S)
    found = json.loads(figures.read_text())
    assert (found["scenario"], found["nodes"], found["failures"]) == ("netns", 4, 0)
    assert round(found["origin_bytes_ratio"], 2) == 1.0
    assert found["max_ratio"] > 1, "nobody is faster than the links"
    assert 0.85 * 10_000_000 < found["link_goodput_bytes_per_s"] < 10_000_000
    assert found["congestion_control"] == "reno"


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_nothing_is_left_behind_when_it_is_stopped(tmp_path: Path, how: signal.Signals) -> None:
    size = ["--nodes", "2", "--blob-bytes", "128MiB"]  # 13 s: it is stopped long before
    command = [sys.executable, "-m", "benchmarks", "netns", *size, *SHAPED, "--folder", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as bench:
        assert bench.stderr is not None, "made with a pipe"
        assert any("daemons" in line for line in bench.stderr), "it ended before its daemons were up"
        assert f"dfb{bench.pid}-host1" in namespaces()
        bench.send_signal(how)
        bench.communicate(timeout=NETNS_S)
        assert bench.returncode != 0
    assert not [name for name in namespaces() if name.startswith(f"dfb{bench.pid}-")]
    assert list(tmp_path.iterdir()) == []
