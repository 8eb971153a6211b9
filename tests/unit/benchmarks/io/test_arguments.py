"""Numbers as they are typed."""

import argparse
from pathlib import Path

import pytest

from benchmarks.io.arguments import count_of_bytes, new_file, positive


@pytest.mark.parametrize(
    ("text", "count"),
    [("1", 1), ("33554432", 1 << 25), ("32MiB", 1 << 25), ("4MB", 4_000_000), ("1gib", 1 << 30)],
)
def test_bytes_have_units(text: str, count: int) -> None:
    assert count_of_bytes(text) == count


@pytest.mark.parametrize("text", ["", "0", "-1", "1.5MiB", "MiB", "32 MiB", "32XB"])
def test_what_is_no_number_of_bytes_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="32MiB"):
        count_of_bytes(text)


def test_counts_begin_at_one() -> None:
    assert positive("7") == 7
    with pytest.raises(argparse.ArgumentTypeError):
        positive("0")


def test_where_results_cannot_be_written_is_found_out_before_the_work(tmp_path: Path) -> None:
    assert new_file(str(tmp_path / "figures.json")) == tmp_path / "figures.json"
    for text in (str(tmp_path), str(tmp_path / "none" / "figures.json")):
        with pytest.raises(argparse.ArgumentTypeError, match="cannot be written"):
            new_file(text)
