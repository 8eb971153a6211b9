"""What a run showed."""

from benchmarks.simulator.verdict import Outcome, Verdict
from swarm.ids import HostId


def outcome(seconds: float, group: str = "all", *failures: str) -> Outcome:
    return Outcome(HostId(f"{group}-{seconds}"), group, seconds, 1.0, 0.0, 0, failures)


def verdict(*outcomes: Outcome) -> Verdict:
    return Verdict(outcomes, (), 1.0, 1.0, 0.0, 1, {}, {}, 9.0)


def test_quantiles_are_of_those_that_finished_in_all_or_in_a_group() -> None:
    run = verdict(outcome(1.0, "slow"), outcome(2.0), outcome(3.0), outcome(-1.0))
    assert [run.quantile(share) for share in (0.3, 0.5, 1.0)] == [1.0, 2.0, 3.0]
    assert run.quantile(1.0, "slow") == 1.0
    assert run.quantile(1.0, "fast") == 0.0
    assert run.groups == ("slow", "all")


def test_a_host_has_failed_once_whether_it_was_told_or_only_never_done() -> None:
    run = verdict(
        outcome(-1.0, "all", "no source", "again"),
        outcome(-1.0),
        outcome(2.0, "all", "no source"),
        outcome(1.0),
    )
    assert run.failed == 3
    assert len(run.unfinished) == 2
    assert run.failures == ("no source", "again", "no source")
