"""dfbench calibrate: the same scenario with real daemons and in the simulator, in turns, side by side.

Two kinds of real runs: `fanout`, whose daemons know the rates of their links and keep to them, over loopback; `netns`,
whose links the kernel shapes (root). The simulator gets what was measured in that very run: a link's goodput, and for
netns the latency beside full links, for queues before links are nothing that it models. A ratio is real to simulated.
"""

import argparse
import json
import signal
import statistics
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from benchmarks.io import fanout, netns
from benchmarks.io.arguments import count_of_bytes, new_file, positive
from benchmarks.io.child_process import ChildFailed
from benchmarks.io.local_cluster import ProcessFailed
from benchmarks.io.namespaces import NoNamespaces
from benchmarks.simulator.cluster import Cluster
from benchmarks.simulator.scenario import OriginModel, Scenario

BITS, MEGABIT = 8, 1_000_000
LOOPBACK_LATENCY_S = 0.0002
"""One way, from one daemon's loop to the other's, on an idle machine."""
ORIGIN_LATENCY_S = 0.002
"""Until the first byte of an answer of our own origin."""
SHOWN = ("p50_s", "p99_s", "max_s")
TOLERANCE = 0.1
"""By how much the simulator may be wrong."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what can be asked for."""
    parser.add_argument("--nodes", type=positive, default=16, help="hosts (default 16)")
    parser.add_argument(
        "--blob-bytes", type=count_of_bytes, default=64 << 20, metavar="B", help="(default 64MiB)"
    )
    parser.add_argument(
        "--link-mbit-per-s", type=positive, default=50, metavar="X", help="of hosts and origin (default 50)"
    )
    parser.add_argument("--rounds", type=positive, default=2, help="of both kinds (default 2)")
    parser.add_argument(
        "--kinds", nargs="+", choices=tuple(KINDS), default=list(KINDS), help="(default both)"
    )
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="for the stores")
    parser.add_argument("--json", type=new_file, metavar="FILE", help="write the figures to a file too")


@dataclass(frozen=True, slots=True)
class Pair:
    """One round of one kind: what was seen, and what the simulator said, in seconds by name."""

    kind: str
    real: Mapping[str, float]
    simulated: Mapping[str, float]
    limit_s: float
    cpu_s_per_gb: float

    def ratios(self) -> dict[str, float]:
        """Return real to simulated, by name."""
        return {name: round(self.real[name] / self.simulated[name], 3) for name in SHOWN}


def run(options: argparse.Namespace) -> int:
    """Run, print; returns the exit status: 1 when real and simulated differ by more than TOLERANCE, or a run failed."""
    console = Console(stderr=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that what was made is removed
    try:
        pairs = list(_pairs(options, console))
    except (ChildFailed, ProcessFailed, NoNamespaces) as error:
        console.print(f"the calibration failed: {error}", markup=False)
        return 1
    summary = {kind: _medians([pair for pair in pairs if pair.kind == kind]) for kind in options.kinds}
    for kind, ratios in summary.items():
        print(f"{kind:<8} real / simulated, median of {options.rounds}: {ratios}")
    if options.json:
        rounds = [
            {
                "kind": pair.kind,
                "limit_s": pair.limit_s,
                "real": dict(pair.real),
                "simulated": dict(pair.simulated),
                "ratio": pair.ratios(),
                "cpu_s_per_gb": pair.cpu_s_per_gb,
            }
            for pair in pairs
        ]
        options.json.write_text(json.dumps({"rounds": rounds, "ratio": summary}, indent=2) + "\n")
    off = [ratio for ratios in summary.values() for ratio in ratios.values() if abs(ratio - 1) > TOLERANCE]
    return 1 if off else 0


def _pairs(options: argparse.Namespace, console: Console) -> Iterator[Pair]:
    for number in range(options.rounds):
        for kind in options.kinds:
            pair = KINDS[kind](options, console, number + 1)
            print(
                f"{kind:<8} limit {pair.limit_s:6.2f} s"
                + "".join(
                    f"   {name} real {pair.real[name]:6.2f} simulated {pair.simulated[name]:6.2f}"
                    for name in SHOWN
                )
                + f"   CPU s/GB {pair.cpu_s_per_gb:.1f}",
                flush=True,
            )
            yield pair


def _fanout(options: argparse.Namespace, console: Console, seed: int) -> Pair:
    """Shaped by the daemons themselves: each keeps its uplink to the rate that its configuration tells."""
    rate = options.link_mbit_per_s * MEGABIT // BITS
    asked = _asked(fanout.add_arguments, options, seed)
    asked.link_bytes_per_s = asked.origin_bytes_per_s = rate
    measured = fanout.measure(asked, console)
    return pair("fanout", options, seed, measured, rate, LOOPBACK_LATENCY_S)


def _netns(options: argparse.Namespace, console: Console, seed: int) -> Pair:
    asked = _asked(netns.add_arguments, options, seed)
    asked.link_mbit_per_s = asked.origin_mbit_per_s = options.link_mbit_per_s
    measured = netns.measure(asked, console)
    rate, rtt_s = measured.figures["link_goodput_bytes_per_s"], measured.figures["loaded_rtt_s"]
    return pair("netns", options, seed, measured, rate, rtt_s / 2)


KINDS: dict[str, Callable[[argparse.Namespace, Console, int], Pair]] = {"fanout": _fanout, "netns": _netns}
"""The kinds of real runs."""


def _asked(
    declare: Callable[[argparse.ArgumentParser], None], options: argparse.Namespace, seed: int
) -> argparse.Namespace:
    """Return the options of a real run: their defaults, but for what the calibration sets."""
    parser = argparse.ArgumentParser()
    declare(parser)
    asked = parser.parse_args([])
    asked.nodes, asked.blob_bytes, asked.folder = options.nodes, options.blob_bytes, options.folder
    asked.seed = seed
    return asked


def pair(
    kind: str,
    options: argparse.Namespace,
    seed: int,
    measured: fanout.Measured,
    link_bytes_per_s: float,
    latency_s: float,
) -> Pair:
    """Simulate what was measured; raises ChildFailed when nodes failed."""
    if measured.failures:
        raise ChildFailed(f"{len(measured.failures)} nodes failed, the first: {measured.failures[0]}")
    scenario = Scenario(
        options.nodes,
        (options.blob_bytes,),
        link_bytes_per_s=link_bytes_per_s,
        rates_known=kind == "fanout",
        latency_s=latency_s,
        spread_s=0.0,
        origin=OriginModel(link_bytes_per_s, link_bytes_per_s, ORIGIN_LATENCY_S),
    )
    verdict = Cluster(scenario, seed).run()
    simulated = {
        "p50_s": verdict.quantile(0.5),
        "p99_s": verdict.quantile(0.99),
        "max_s": verdict.quantile(1),
    }
    found = measured.figures
    return Pair(
        kind, {name: found[name] for name in SHOWN}, simulated, found["limit_s"], found["cpu_s_per_gb"]
    )


def _medians(pairs: Sequence[Pair]) -> dict[str, float]:
    return {name: round(statistics.median(pair.ratios()[name] for pair in pairs), 3) for name in SHOWN}
