"""dfbench simulate: the production machines in virtual time, from one seed, with a table of what they did."""

import argparse
import gc
import json
import resource
import sys
import time
from typing import Any

from benchmarks.io import compiled, plots
from benchmarks.io.arguments import count_of_bytes, new_file, positive
from benchmarks.simulator.cluster import Cluster
from benchmarks.simulator.figures import figures_of, lines, worst_of
from benchmarks.simulator.scenarios import SCENARIOS, named
from benchmarks.simulator.verdict import Verdict

COLLECT_AFTER = 500_000
"""Objects after which Python looks for cycles. A run makes few of them, and with the default of 700 a tenth of it was
spent looking."""
SAMPLES = 200
"""Points in time of a plot, within the limit."""


def seeds(text: str) -> range:
    """Read the first and the last seed of several, such as 1-200."""
    first, dash, last = text.partition("-")
    if not (dash and first.isdigit() and last.isdigit() and int(first) <= int(last)):
        raise argparse.ArgumentTypeError(f"{text!r} is not a range of seeds such as 1-20")
    return range(int(first), int(last) + 1)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what can be asked for."""
    add = parser.add_argument
    add("--scenario", choices=SCENARIOS, default="herd", help="what is simulated (default herd)")
    add("--nodes", type=positive, default=0, help="hosts (default the scenario's own)")
    add("--blob-bytes", type=count_of_bytes, help="size of the blob (default the scenario's own)")
    add(
        "--same-times",
        action="store_true",
        help="rates change with the size of the blob: a small one takes as long",
    )
    add("--blobs", type=positive, default=1, help="blobs of that size at once (default 1)")
    add("--seed", type=int, default=1, help="the same seed gives the same run (default 1)")
    add("--seeds", type=seeds, metavar="A-B", help="run all these, one after the other; show the worst")
    add("--rates-known", action="store_true", help="the daemons know the rates of their links")
    add("--validate", action="store_true", help="assert all invariants after every event (slow)")
    add("--compile", action="store_true", help="compile it first, once for these sources: twice as fast")
    add("--json", type=new_file, metavar="FILE", help="write the figures to a file too")
    add(
        "--plot", type=new_file, metavar="FILE.png", help="draw when hosts were done, and the bytes over time"
    )


def run(options: argparse.Namespace) -> int:
    """Simulate, print; return the exit status: 1 when a host that lives has not everything, or a pull failed."""
    if options.compile:
        return _run_compiled([argument for argument in options.arguments if argument != "--compile"])
    runs = []
    for seed in options.seeds or [options.seed]:
        figures, verdict = simulate(options, seed)
        runs.append(figures)
        if options.seeds:
            print(_brief(figures), flush=True)
        if options.plot:
            plots.draw(options.plot, figures, [each.seconds for each in verdict.of("")], verdict.samples)
    shown = worst_of(runs) if options.seeds else runs[0]
    for line in lines(shown):
        print(line)
    if options.json:
        options.json.write_text(
            json.dumps({**shown, "each": runs} if options.seeds else shown, indent=2) + "\n"
        )
    return 1 if any(figures["failures"] for figures in runs) else 0


def _run_compiled(arguments: list[str]) -> int:
    try:
        return compiled.run(arguments)
    except compiled.CannotCompile as error:
        print(error, file=sys.stderr)
        return 2


def simulate(options: argparse.Namespace, seed: int) -> tuple[dict[str, Any], Verdict]:
    """Run one seed; return its figures, and what they were made of."""
    blobs = (options.blob_bytes,) * options.blobs if options.blob_bytes else ()
    scenario = named(
        options.scenario, seed, options.nodes, blobs, options.rates_known, same_times=options.same_times
    )
    sample_s = scenario.limit_s / SAMPLES if options.plot else 0.0
    gc.set_threshold(COLLECT_AFTER)
    began, cpu_s = time.monotonic(), time.process_time()
    verdict = Cluster(scenario, seed, validates=options.validate, sample_s=sample_s).run()
    figures = figures_of(options.scenario, seed, scenario, verdict, time.monotonic() - began)
    figures["cpu_s"] = round(time.process_time() - cpu_s, 2)
    figures["rss_bytes_max"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return figures, verdict


def _brief(figures: dict[str, Any]) -> str:
    names = (
        "p50_ratio",
        "p99_ratio",
        "max_ratio",
        "origin_bytes_ratio",
        "origin_again_ratio",
        "failures",
        "wall_s",
    )
    return f"seed {figures['seed']:<6} " + "  ".join(f"{name} {figures[name]}" for name in names)
