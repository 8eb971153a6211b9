"""dfbench nightly."""

import pytest

from benchmarks.__main__ import main

SMALL = ["nightly", "--interpreted", "--nodes", "5", "--blob-bytes", str(4 << 20), "--seeds", "3-4"]


def test_the_worst_of_each_scenario_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*SMALL, "--scenarios", "origin-429", "origin-no-range"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert "origin-429: 2 of 2 seeds hold" in text
    assert "origin-no-range: 2 of 2 seeds hold" in text


def test_a_seed_that_breaks_a_requirement_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*SMALL, "--nodes", "40", "--scenarios", "partition"])  # of few pieces many hosts fetch the same
    assert ended.value.code == 1
    assert "BROKEN seed 3: the origin sent" in capsys.readouterr().out
