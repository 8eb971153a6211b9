"""dfbench netns: the fan-out with a network namespace for each host and links that the kernel shapes, not we.

One daemon in each namespace, the scheduler and the origin in namespaces of their own, a bridge between all. Links are
token buckets both ways (namespaces.py). The limit counts with the rate that a link was measured to carry, not with the
one that was asked for: Ethernet, IP and TCP headers take 4 %.
"""

import argparse
import signal
import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path

from rich.console import Console

from benchmarks.io import fanout
from benchmarks.io.arguments import count_of_bytes, new_file, positive
from benchmarks.io.child_process import Child
from benchmarks.io.fanout_worker import FanoutTask
from benchmarks.io.goodput import goodput_bytes_per_s, loaded_rtt_s
from benchmarks.io.local_cluster import LocalCluster, Where
from benchmarks.io.namespaces import NoNamespaces, Place, connected, network, require_namespaces
from benchmarks.report import Links
from dfdaemon.config import EVERY_NODE

BITS = 8
MEGABIT = 1_000_000
NOT_ROOT = 2
"""Exit status where namespaces cannot be made."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what can be asked for; what fanout has and netns does not is set to what fits."""
    parser.add_argument("--nodes", type=positive, default=32, help="hosts (default 32)")
    parser.add_argument(
        "--blob-bytes",
        type=count_of_bytes,
        default=128 << 20,
        metavar="B",
        help="of a layer (default 128MiB)",
    )
    parser.add_argument("--layers", type=positive, default=1, metavar="L", help="of that size (default 1)")
    parser.add_argument(
        "--link-mbit-per-s", type=positive, default=200, metavar="X", help="of each host (default 200)"
    )
    origin = "of the origin (default 1000)"
    parser.add_argument("--origin-mbit-per-s", type=positive, default=1000, metavar="X", help=origin)
    parser.add_argument(
        "--congestion-control", default="reno", metavar="NAME", help="of all connections (default reno)"
    )
    parser.add_argument(
        "--rates-known", action="store_true", help="the daemons know the rates of their links"
    )
    parser.add_argument("--download-slots", type=positive, default=4, help="of each daemon (default 4)")
    parser.add_argument("--upload-slots", type=positive, default=4, help="of each daemon (default 4)")
    parser.add_argument("--seed", type=int, default=1, help="of the blobs (default 1)")
    parser.add_argument(
        "--folder", type=Path, default=Path(tempfile.gettempdir()), help="where the stores are made"
    )
    parser.add_argument("--json", type=new_file, metavar="FILE", help="write the figures to a file too")
    parser.set_defaults(
        zones=1,
        no_machine_limit=True,
        link_bytes_per_s=0,
        origin_bytes_per_s=0,
        compare=[],
        plot=None,
        verify=EVERY_NODE,
    )


def run(options: argparse.Namespace) -> int:
    """Run, print; returns the exit status."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that what was made is removed
    try:
        require_namespaces()
        return fanout.show(options, measure)
    except NoNamespaces as error:
        Console(stderr=True).print(f"dfbench netns: {error}", markup=False)
        return NOT_ROOT


def measure(options: argparse.Namespace, console: Console) -> fanout.Measured:
    """Make the network, and run in it. Raises NoNamespaces, ChildFailed and ProcessFailed."""
    options.processes = options.nodes
    link = options.link_mbit_per_s * MEGABIT
    links = {"origin": options.origin_mbit_per_s * MEGABIT, "scheduler": link}
    links |= {f"host{number}": link for number in range(options.nodes)}
    with network(links, options.congestion_control) as places:
        one, other = places["scheduler"], places["host0"]
        rate = goodput_bytes_per_s(*connected(one, other))
        rtt_s = loaded_rtt_s(connected(one, other), connected(other, one), connected(one, other))
        return fanout.measure(options, console, partial(Netns, places, rate * BITS / link, rtt_s))


class Netns(fanout.Fanout):
    """One run. `share`: of a link's rate that payload gets; `rtt_s`: round trip between hosts whose links are full."""

    scenario = "netns"

    def __init__(
        self,
        places: dict[str, Place],
        share: float,
        rtt_s: float,
        options: argparse.Namespace,
        folder: Path,
        console: Console,
        warm_bytes: int,
    ) -> None:
        super().__init__(options, folder, console, warm_bytes)
        self._places = places
        self._link_bytes_per_s = options.link_mbit_per_s * MEGABIT / BITS * share
        self._shaped_origin_bytes_per_s = options.origin_mbit_per_s * MEGABIT / BITS * share
        self.conditions = {
            "link_bits_per_s": options.link_mbit_per_s * MEGABIT,
            "link_goodput_bytes_per_s": round(self._link_bytes_per_s),
            "origin_goodput_bytes_per_s": round(self._shaped_origin_bytes_per_s),
            "loaded_rtt_s": round(rtt_s, 5),
            "congestion_control": options.congestion_control,
        }

    async def serve(self, cluster: LocalCluster) -> tuple[str, str]:
        """Start the origin and the scheduler in their namespaces; the origin does not pace itself."""
        origin, scheduler = self._where("origin"), self._where("scheduler")
        return await cluster.origin(self._folder / "image", 0, origin), await cluster.scheduler(scheduler)

    async def start_process(self, part: int, task: FanoutTask) -> Child:
        """Start the daemon of one host in its namespace."""
        (number,) = task.nodes
        where = self._where(f"host{number}")
        known = round(self._link_bytes_per_s) if self._options.rates_known else 0
        task = replace(
            task,
            address=where.address,
            link_bytes_per_s=known,
            congestion_control=self._options.congestion_control,
        )
        return await self.start_worker(f"host-{number}", task, where.prefix)

    def links(self) -> Links:
        """Return what the links carry."""
        return Links(self._shaped_origin_bytes_per_s, self._link_bytes_per_s, self._link_bytes_per_s)

    def _where(self, name: str) -> Where:
        place = self._places[name]
        return Where(place.address, place.prefix)
