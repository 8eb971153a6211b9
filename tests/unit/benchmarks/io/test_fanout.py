"""dfbench fanout: what it asks of the machine. tests/e2e/test_fanout_bench.py runs it."""

import argparse

import pytest

from benchmarks.io.fanout import (
    DAEMON_BYTES,
    PAGE_CACHE_BYTES_MAX,
    PROCESSES_BYTES,
    add_arguments,
    memory_bytes,
)


def test_memory_is_for_what_is_stored_and_for_the_daemons() -> None:
    assert memory_bytes(10, 1 << 20) == PROCESSES_BYTES + 10 * DAEMON_BYTES + (1 << 20)


def test_memory_has_a_bound() -> None:
    assert memory_bytes(10, 1 << 50) <= PROCESSES_BYTES + 10 * DAEMON_BYTES + PAGE_CACHE_BYTES_MAX


def test_what_can_be_asked_for() -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    asked = parser.parse_args(["--nodes", "5", "--compare", "direct", "--compare", "cache"])
    assert (asked.nodes, asked.compare, asked.blob_bytes) == (5, ["direct", "cache"], 32 << 20)
    assert asked.verify == "every-node"
    with pytest.raises(SystemExit):
        parser.parse_args(["--compare", "nothing"])
