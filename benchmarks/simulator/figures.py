"""The figures of a run, under the names that docs/benchmarks.md explains."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from benchmarks.report import QUANTILES, RATIO_DIGITS, SECONDS_DIGITS, ratio
from benchmarks.simulator.scenario import Scenario
from benchmarks.simulator.verdict import Verdict

WORST = (
    *(f"{name}_{what}" for name, _ in QUANTILES for what in ("s", "ratio")),
    "origin_bytes_ratio",
    "origin_again_ratio",
    "origin_requests",
    "cross_zone_bytes_ratio",
    "rescued_ratio",
    "hedged_ratio",
    "failures",
    "wall_s",
)
"""Figures of which the largest of several runs is the worst."""


def figures_of(name: str, seed: int, scenario: Scenario, verdict: Verdict, wall_s: float) -> dict[str, Any]:
    """Return everything worth knowing of a run, by name."""
    limit_s = _limit_s(verdict, scenario.measured)
    shown: dict[str, Any] = {"scenario": name, "seed": seed, "nodes": scenario.hosts}
    shown["limit_s"] = round(limit_s, SECONDS_DIGITS)
    shown["rounds_limit_s"] = round(scenario.rounds_limit_s, SECONDS_DIGITS)
    shown |= _quantiles(verdict, scenario.measured, limit_s)
    shown["p99_rounds_ratio"] = ratio(verdict.quantile(0.99, scenario.measured), scenario.rounds_limit_s)
    shown["origin_bytes_ratio"] = round(verdict.origin_bytes_ratio, RATIO_DIGITS)
    shown["origin_again_ratio"] = round(
        max(0.0, verdict.origin_bytes_ratio - verdict.lost_bytes_ratio), RATIO_DIGITS
    )
    shown["origin_requests"] = verdict.origin_requests
    shown["origin_requests_refused"] = verdict.origin_refused
    shown["cross_zone_bytes_ratio"] = round(verdict.cross_zone_bytes_ratio, RATIO_DIGITS)
    shown["peer_bytes_ratio"] = round(verdict.peer_bytes_ratio, RATIO_DIGITS)
    shown |= _shares(verdict)
    shown["control_messages"] = verdict.messages
    shown["notes"] = verdict.notes
    shown["failures"] = verdict.failed
    shown["failure_reasons"] = sorted(set(verdict.failures))
    shown["unfinished"] = len(verdict.unfinished)
    shown["died"] = len(verdict.died)
    shown["simulated_s"] = round(verdict.seconds, SECONDS_DIGITS)
    shown["wall_s"] = round(wall_s, 2)
    return shown | {"groups": _groups(verdict)} if len(verdict.groups) > 1 else shown


def _limit_s(verdict: Verdict, group: str) -> float:
    return max((outcome.limit_s for outcome in verdict.of(group)), default=verdict.limit_s)


def _quantiles(verdict: Verdict, group: str, limit_s: float) -> dict[str, Any]:
    seconds = {name: verdict.quantile(share, group) for name, share in QUANTILES}
    figures: dict[str, Any] = {f"{name}_s": round(value, SECONDS_DIGITS) for name, value in seconds.items()}
    return figures | {f"{name}_ratio": ratio(value, limit_s) for name, value in seconds.items()}


def _shares(verdict: Verdict) -> dict[str, Any]:
    """Return which share of all pieces from parents came from rescuers, and which as second copies."""
    pieces = sum(outcome.pieces for outcome in verdict.outcomes)
    return {
        "rescued_ratio": ratio(sum(outcome.rescued for outcome in verdict.outcomes), pieces),
        "hedged_ratio": ratio(sum(outcome.hedged for outcome in verdict.outcomes), pieces),
    }


def _groups(verdict: Verdict) -> dict[str, Any]:
    """Return the quantiles of each group against its own limit."""
    shown = {}
    for group in verdict.groups:
        limit_s = _limit_s(verdict, group)
        shown[group] = {"limit_s": round(limit_s, SECONDS_DIGITS), **_quantiles(verdict, group, limit_s)}
    return shown


def worst_of(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the worst figures of several runs of one scenario, and which seed gave each of the ratios."""
    known = [name for name in WORST if any(run[name] is not None for run in runs)]
    worst = {name: max(runs, key=lambda run: run[name] or 0) for name in known}
    figures = {name: run[name] for name, run in worst.items()}
    seeds = {name: run["seed"] for name, run in worst.items() if name.endswith("_ratio") and run[name]}
    return {"runs": len(runs), **figures, "seeds_of_worst": seeds}


def lines(figures: Mapping[str, Any]) -> Iterable[str]:
    """Return figures as lines of text."""
    for name, value in figures.items():
        if name == "groups":
            for group, table in value.items():
                yield f"{'group ' + group:<24} {_text(table)}"
        else:
            yield f"{name:<24} {_text(value)}"


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {count}" for name, count in value.items()) or "none"
    if isinstance(value, list):
        return "; ".join(value) or "none"
    return "-" if value is None else str(value)
