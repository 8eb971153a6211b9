"""dfbench simulate: the production machines in virtual time, from one seed, with a table of what they did."""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.io.arguments import count_of_bytes, positive
from benchmarks.simulator.cluster import Cluster
from benchmarks.simulator.scenario import SCENARIOS, Scenario
from benchmarks.simulator.verdict import Verdict

QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what can be asked for."""
    parser.add_argument("--nodes", type=positive, default=50, help="hosts (default 50)")
    parser.add_argument(
        "--blob-bytes", type=count_of_bytes, default=256 << 20, help="size of the blob (default 256MiB)"
    )
    parser.add_argument("--blobs", type=positive, default=1, help="blobs of that size at once (default 1)")
    parser.add_argument("--seed", type=int, default=1, help="the same seed gives the same run (default 1)")
    parser.add_argument(
        "--scenario", choices=SCENARIOS, default="herd", help="what goes wrong (default nothing)"
    )
    parser.add_argument(
        "--rates-known", action="store_true", help="the daemons know the rates of their links"
    )
    parser.add_argument(
        "--validate", action="store_true", help="assert all invariants after every event (slow)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to a file too")


def run(options: argparse.Namespace) -> int:
    """Simulate, print; return the exit status: 1 when a host that lives has not everything."""
    herd = Scenario(options.nodes, (options.blob_bytes,) * options.blobs, rates_known=options.rates_known)
    scenario = SCENARIOS[options.scenario](herd)
    began = time.monotonic()
    verdict = Cluster(scenario, options.seed, validates=options.validate).run()
    figures = figures_of(verdict, time.monotonic() - began)
    for name, value in figures.items():
        print(f"{name:<22} {_shown(value)}")
    if options.json:
        asked = {"scenario": options.scenario, "seed": options.seed, **asdict(scenario)}
        options.json.write_text(json.dumps({"asked": asked, **figures}, indent=2, default=str) + "\n")
    return 1 if verdict.unfinished else 0


def figures_of(verdict: Verdict, wall_s: float) -> dict[str, Any]:
    """Return everything worth printing of a run, by name."""
    figures: dict[str, Any] = {"limit_s": round(verdict.limit_s, 3)}
    for name, share in QUANTILES.items():
        seconds = verdict.quantile(share)
        figures[f"{name}_s"] = round(seconds, 3)
        figures[f"{name}_to_limit"] = round(seconds / verdict.limit_s, 3)
    return figures | {
        "origin_bytes_ratio": round(verdict.origin_bytes_ratio, 4),
        "lost_bytes_ratio": round(verdict.lost_bytes_ratio, 4),
        "origin_requests": verdict.origin_requests,
        "hosts": len(verdict.outcomes),
        "died": len(verdict.died),
        "unfinished": len(verdict.unfinished),
        "failures": sorted(set(verdict.failures)),
        "starving": verdict.messages.get("Starving", 0),
        "rescued": verdict.notes.get("rescue", 0),
        "messages": verdict.messages,
        "notes": verdict.notes,
        "simulated_s": round(verdict.seconds, 3),
        "wall_s": round(wall_s, 2),
    }


def _shown(value: object) -> str:
    show: dict[type, Callable[[Any], str]] = {
        dict: lambda table: ", ".join(f"{name} {count}" for name, count in table.items()) or "none",
        list: lambda items: "; ".join(items) or "none",
    }
    return show.get(type(value), str)(value)
