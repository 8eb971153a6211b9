"""Pulling without a swarm, with processes of its own."""

from pathlib import Path

import pytest
from rich.console import Console

from benchmarks.io.fanout_compare import Setting, pull_without_swarm
from benchmarks.io.image import generate_image
from benchmarks.io.origin_registry import OriginRegistry
from benchmarks.report import Costs, Run

MIB = 1 << 20


async def test_figures_of_hosts_that_go_straight_to_the_origin(tmp_path: Path) -> None:
    image = generate_image(tmp_path / "image", "bench/app", "v1", [2 * MIB])
    size = image.layers[0].size
    swarm = Run("fanout", 5, size, [], Costs(1.0, 1.0, 1), 0.5, None, size, 1, 0, {})
    async with OriginRegistry([image]) as origin:
        console, setting = Console(quiet=True), Setting(image, "bench/app", 3, 0, swarm)
        run = await pull_without_swarm(
            "direct", origin.address, setting, tmp_path, [], origin.address, console
        )
    assert (run.scenario, run.seed, run.limit_s) == ("direct", 5, 0.5)
    assert run.failures == []
    assert len(run.nodes) == 3
    assert run.origin_bytes == pytest.approx(3 * size)
    assert run.origin_requests == 3
    assert not (tmp_path / "direct").exists(), "what was stored is removed"
