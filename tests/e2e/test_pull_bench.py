"""dfbench pull, small: containerd, docker-registry and daemons, and the figures that it promises."""

import json
import sys
from pathlib import Path

import pytest

from tests.support.processes import run, short_directory

PULL_S = 60.0


@pytest.mark.needs("containerd", "docker-registry", "iproute2", root=True)
def test_pulls_have_their_figures_and_none_fails(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    sizes = ["--image-bytes", "4MB", "--layer-bytes", "1MB", "--many-bytes", "100kB"]
    counts = ["--turns", "1", "--blobs", "5"]
    paths = ["--paths", "cold", "first_byte", "memory", "limited"]
    with short_directory() as folder:
        asked = [*sizes, *counts, *paths, "--folder", folder, "--json", figures]
        run([sys.executable, "-m", "benchmarks", "pull", *asked], PULL_S)
        assert list(folder.iterdir()) == []
    found = json.loads(figures.read_text())
    assert found["cold_ratio"] > 0
    assert 0 < found["first_byte_ms_p50"] <= found["first_byte_ms_p99"]
    assert 10 < found["rss_idle_mib"] <= found["rss_10_layers_mib"]
    assert (found["limited_failures"], found["limited_killed"]) == (0, 0)


@pytest.mark.needs("iproute2", root=True)
def test_without_containerd_it_says_what_is_missing(tmp_path: Path) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("ip", "tc", "nsenter"):
        (programs / name).write_text("")
        (programs / name).chmod(0o755)
    words = [sys.executable, "-m", "benchmarks", "pull"]
    with pytest.raises(AssertionError, match=r"ended with 2\n.*containerd"):
        run(words, PULL_S, env={"PATH": str(programs)})
