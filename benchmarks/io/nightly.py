"""dfbench nightly: the scenarios in which something breaks, each over many seeds, on all cores, compiled."""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.io import compiled
from benchmarks.io.arguments import count_of_bytes, positive
from benchmarks.io.simulate import seeds
from benchmarks.simulator.figures import lines, worst_of
from benchmarks.simulator.requirements import FAULTY, breaches
from benchmarks.simulator.scenarios import SCENARIOS

SEEDS_PER_PROCESS = 10
"""So many runs share the start of a process, and few are lost when one dies."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what can be asked for."""
    add = parser.add_argument
    add("--seeds", type=seeds, default=range(1, 201), metavar="A-B", help="of each scenario (default 1-200)")
    add(
        "--scenarios",
        nargs="+",
        choices=SCENARIOS,
        default=FAULTY,
        metavar="NAME",
        help="(default those with faults)",
    )
    add("--nodes", type=positive, default=100, help="hosts (default 100)")
    add(
        "--blob-bytes",
        type=count_of_bytes,
        default=128 << 20,
        help="blob, at rates that keep the times (128MiB)",
    )
    add("--interpreted", action="store_true", help="do not compile: slower, needs no C compiler")


def run(options: argparse.Namespace) -> int:
    """Run all seeds of all scenarios; print the worst of each; return 1 when something that must hold does not."""
    environment = dict(os.environ)
    if not options.interpreted:
        environment["PYTHONPATH"] = str(compiled.build())
    broken = False
    with TemporaryDirectory() as folder, ThreadPoolExecutor(os.cpu_count() or 1) as workers:
        for name in options.scenarios:
            groups = _in_groups(options.seeds)
            started = [
                workers.submit(_runs, options, name, group, Path(folder), environment) for group in groups
            ]
            broken |= _judge(name, [figures for future in started for figures in future.result()])
    return 1 if broken else 0


def _in_groups(all_seeds: range) -> Iterable[range]:
    return (
        all_seeds[start : start + SEEDS_PER_PROCESS] for start in range(0, len(all_seeds), SEEDS_PER_PROCESS)
    )


def _runs(
    options: argparse.Namespace, name: str, group: range, folder: Path, environment: dict[str, str]
) -> list[dict[str, Any]]:
    """Run some seeds in a process of their own; return the figures of each. Raises SystemExit when it dies."""
    report = folder / f"{name}-{group[0]}.json"
    asked = ["--nodes", str(options.nodes), "--blob-bytes", str(options.blob_bytes), "--same-times"]
    asked += ["--scenario", name, "--seeds", f"{group[0]}-{group[-1]}", "--json", str(report)]
    command = [sys.executable, "-P", "-m", "benchmarks", "simulate", *asked]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if not report.exists():
        raise SystemExit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    each: list[dict[str, Any]] = json.loads(report.read_text())["each"]
    return each


def _judge(name: str, runs: list[dict[str, Any]]) -> bool:
    """Print the worst of a scenario's runs, and every run that breaks a requirement; tell whether one does."""
    found = [(figures["seed"], broken) for figures in runs if (broken := breaches(name, figures))]
    print(f"== {name}")
    for line in lines(worst_of(runs)):
        print(line)
    for seed, broken in found:
        print(f"BROKEN seed {seed}: {'; '.join(broken)}")
    print(f"{name}: {len(runs) - len(found)} of {len(runs)} seeds hold", flush=True)
    return bool(found)
