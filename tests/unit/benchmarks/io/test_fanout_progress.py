"""Adding up what the processes of a fan-out say."""

import asyncio
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks.io.child_process import Child
from benchmarks.io.fanout_progress import costs, follow, results
from benchmarks.report import NodeResult, as_dict

ONE, OTHER = NodeResult(1.0, peer_bytes=5), NodeResult(2.0, failure="why")
ENDED = [
    {"results": [as_dict(ONE)], "cpu_s": 1.5, "rss_bytes": 100},
    {"results": [as_dict(OTHER)], "cpu_s": 2.5, "rss_bytes": 200},
]


def test_results_of_all_processes_in_order() -> None:
    assert results(ENDED) == [ONE, OTHER]


def test_what_a_run_took_is_what_all_took() -> None:
    took = costs(3.0, 0.5, ENDED)
    assert (took.wall_s, took.cpu_s, took.rss_bytes) == (3.0, 4.5, 300)


SPEAKS = """
import json, sys
sys.stdin.readline()
for done in (0, 1):
    told = {"done": done, "origin_bytes": 10 * done, "peer_bytes": 20 * done, "cross_zone_bytes": done}
    print(json.dumps(told), flush=True)
print(json.dumps({"results": [], "cpu_s": 0.5, "rss_bytes": 7}), flush=True)
sys.stdin.read()
"""


async def test_what_processes_say_is_followed_to_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "speaks.py").write_text(SPEAKS)
    monkeypatch.syspath_prepend(str(tmp_path))
    children = [await Child.start(f"child-{part}", tmp_path, "speaks") for part in range(2)]
    ended, samples = await follow(Console(quiet=True), children, 2, 60)
    await asyncio.gather(*(child.stop() for child in children))
    assert ended == [{"results": [], "cpu_s": 0.5, "rss_bytes": 7}] * 2
    assert (samples[0].at, samples[0].origin_bytes) == (0.0, 0)
    assert (samples[-1].origin_bytes, samples[-1].cross_zone_bytes) in [(10, 1), (20, 2)]
    assert samples == sorted(samples, key=lambda sample: sample.at)
