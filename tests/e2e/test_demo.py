"""The demo of the README does what it promises."""

import sys

from tests.support.processes import run

DEMO_S = 90.0


def test_the_demo_shows_that_each_byte_left_the_origin_once() -> None:
    printed = run([sys.executable, "-m", "benchmarks", "demo"], DEMO_S, env={"COLUMNS": "120"})
    assert "digests verified on every node: yes" in printed
    assert "origin bytes / image bytes: 1.00 " in printed
    assert "from Join to the scheduler's answer, p50" in printed
