import argparse
from pathlib import Path

from rich.console import Console

from benchmarks.io import netns
from benchmarks.io.namespaces import Place

PLACES = {"host0": Place("dfb1-host0", "10.77.1.3")}


def options(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    netns.add_arguments(parser)
    return parser.parse_args(arguments)


def made(asked: argparse.Namespace, tmp_path: Path) -> netns.Netns:
    return netns.Netns(PLACES, 0.95, 0.008, asked, tmp_path, Console(quiet=True), 0)


def test_the_limit_counts_with_what_links_carry(tmp_path: Path) -> None:
    links = made(options("--link-mbit-per-s", "80"), tmp_path).links()
    assert [round(rate) for rate in (links.up, links.down)] == 2 * [9_500_000]
    assert round(links.origin) == 118_750_000, "1 Gbit/s, as in all benchmarks"


def test_the_origin_may_have_another_link(tmp_path: Path) -> None:
    run = made(options("--link-mbit-per-s", "80", "--origin-mbit-per-s", "160"), tmp_path)
    assert round(run.links().origin) == run.conditions["origin_goodput_bytes_per_s"] == 19_000_000
    assert run.conditions["loaded_rtt_s"] == 0.008
