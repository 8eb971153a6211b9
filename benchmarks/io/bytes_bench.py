"""dfbench bytes: what a daemon does with bytes, against the plain programs that set the limit, in turns in one run."""

import argparse
import asyncio
import json
import os
import signal
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks import byte_figures
from benchmarks.io import plots
from benchmarks.io.arguments import count_of_bytes, new_file, positive
from benchmarks.io.bystander import bystander
from benchmarks.io.byte_paths import OPTIONAL, PATHS, Paths
from benchmarks.io.bytes_stage import stage
from benchmarks.io.c_program import CProgramFailed
from benchmarks.io.child_process import ChildFailed
from benchmarks.io.flame_graph import NoProfiler
from benchmarks.io.local_cluster import ProcessFailed
from benchmarks.io.static_nginx import CONGESTION, NginxFailed
from swarm.errors import DamselflyError

INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells have it."""
SHAPED_BYTES_PER_S = 64_000_000
"""Of the daemon with a limit: 8 MB/s for each of its 8 connections."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what can be asked for."""
    parser.add_argument("--turns", type=positive, default=5, help="of each side (default 5)")
    parser.add_argument(
        "--paths",
        nargs="+",
        choices=(*PATHS, *OPTIONAL),
        default=list(PATHS),
        help=f"(default all but {', '.join(OPTIONAL)})",
        metavar="PATH",
    )
    sizes = (
        ("--blob-bytes", 2 << 30, "of the large blob: 2GiB (default) are cut into pieces of 4 MiB"),
        ("--small-blob-bytes", 256 << 20, "of the small one (default 256MiB)"),
        ("--turn-bytes", 4 << 30, "that a turn sends; one that stores an eighth of it (default 4GiB)"),
        ("--shaped-bytes-per-s", SHAPED_BYTES_PER_S, "of the limited daemon (default 64MB)"),
    )
    for name, usual, text in sizes:
        parser.add_argument(name, type=count_of_bytes, default=usual, metavar="B", help=text)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="for what is stored")
    parser.add_argument(
        "--profile", type=Path, metavar="DIR", help="draw a flame graph of our process in each path (py-spy)"
    )
    parser.add_argument("--json", type=new_file, metavar="FILE", help="write the figures to a file too")
    parser.add_argument("--plot", type=new_file, metavar="FILE.png", help="draw the ratios")


def run(options: argparse.Namespace) -> int:
    """Run, print; returns the exit status: 1 when a path could not be measured."""
    console = Console(stderr=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that what was made is removed
    if options.profile:
        options.profile.mkdir(parents=True, exist_ok=True)
    try:
        figures, paths = asyncio.run(_measure(options))
    except (
        ChildFailed,
        CProgramFailed,
        NginxFailed,
        NoProfiler,
        ProcessFailed,
        DamselflyError,
        OSError,
    ) as error:
        console.print(f"the benchmark failed: {error}", markup=False)
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")
    if options.plot:
        plots.draw_ratios(options.plot, {path.name: path.speed_ratio for path in paths}, "speed to the other")
    return 0


async def _measure(options: argparse.Namespace) -> tuple[dict[str, Any], Sequence[byte_figures.Path]]:
    load = round(os.getloadavg()[0], 2)
    with tempfile.TemporaryDirectory(prefix="df", dir=options.folder) as folder:
        done, measured = await _paths(options, Path(folder))
    figures: dict[str, Any] = {}
    for path in done:
        figures |= path.figures()
    details = {
        path.name: path.detail() | {"peak_bytes": measured.peaks[path.name]} | measured.lags[path.name]
        for path in done
    }
    for name in next(iter(measured.lags.values())):
        figures[name] = max(lags[name] for lags in measured.lags.values())
    conditions = {
        "turns": options.turns,
        "load_average": load,
        "congestion_control": CONGESTION.decode(),
    }
    shown = {name: figures[name] for name in figures if "loop_lag" in name} | conditions
    print(", ".join(f"{name} {value}" for name, value in shown.items()))
    return figures | conditions | {"paths": details}, done


async def _paths(options: argparse.Namespace, folder: Path) -> tuple[list[byte_figures.Path], Paths]:
    """Measure what was asked for; return it with what else was seen."""
    done: list[byte_figures.Path] = []
    sizes = options.blob_bytes, options.small_blob_bytes, options.shaped_bytes_per_s
    async with bystander(folder) as other, stage(folder, *sizes) as made:
        paths = Paths(made, options.turns, options.turn_bytes, options.profile)
        for name in options.paths:
            await other.figures()
            path = await paths.measure(name)
            paths.lags[name] |= await other.figures()
            done.append(path)
            print(path.line(), flush=True)
    return done, paths
