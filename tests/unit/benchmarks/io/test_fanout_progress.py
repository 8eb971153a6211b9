"""Adding up what the processes of a fan-out say."""

from benchmarks.io.fanout_progress import costs, results
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
