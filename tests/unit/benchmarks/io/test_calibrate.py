import argparse

import pytest

from benchmarks.io import calibrate
from benchmarks.io.child_process import ChildFailed
from benchmarks.io.fanout import Measured

OPTIONS = argparse.Namespace(nodes=4, blob_bytes=4 << 20)
LINK_BYTES_PER_S = 8_000_000.0
SEEN = {"p50_s": 1.0, "p99_s": 1.1, "max_s": 1.2, "limit_s": 0.5, "cpu_s_per_gb": 1.0}


def test_what_was_measured_is_simulated_with_the_same_links() -> None:
    near = calibrate.pair("netns", OPTIONS, 1, Measured(SEEN, [], [1.0], []), LINK_BYTES_PER_S, 0.0002)
    far = calibrate.pair("netns", OPTIONS, 1, Measured(SEEN, [], [1.0], []), LINK_BYTES_PER_S, 0.05)
    assert near.limit_s == 0.5
    assert 0.5 < near.simulated["p50_s"] < far.simulated["p50_s"]
    assert near.ratios()["max_s"] == round(1.2 / near.simulated["max_s"], 3)


def test_a_run_with_failures_says_nothing_about_the_simulator() -> None:
    with pytest.raises(ChildFailed, match="2 nodes failed, the first: no"):
        calibrate.pair("fanout", OPTIONS, 1, Measured(SEEN, ["no", "nor"], [], []), LINK_BYTES_PER_S, 0.0002)
