"""What a run is judged by: quantiles, the limit, ratios to it, and the names under which figures are written."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

QUANTILES = (("p50", 0.50), ("p90", 0.90), ("p99", 0.99), ("max", 1.0))
RATIO_DIGITS, SECONDS_DIGITS = 4, 3
"""More would be noise."""


def quantile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that `share` of all values do not exceed; 0 when there are none."""
    if not values:
        return 0.0
    rank = -int(-share * len(values) // 1)
    return sorted(values)[min(len(values), max(1, rank)) - 1]


@dataclass(frozen=True, slots=True)
class Links:
    """The rates that bound a run, in bytes per second: of the origin, and of each host up and down. 0: no bound."""

    origin: float
    up: float
    down: float


def fluid_limit_s(size: int, hosts: int, links: Links) -> float:
    """Return the seconds below which nobody can bring `size` bytes to all hosts; 0 when nothing bounds it.

    The fluid bound of Mundinger, Weber and Weiss (2008): max(size / origin, size / down,
    hosts x size / (origin + hosts x up)), each byte leaving the origin at least once.
    """
    bounds = [0.0]
    if links.origin:
        bounds.append(size / links.origin)
    if links.down:
        bounds.append(size / links.down)
    if links.origin and links.up:
        bounds.append(hosts * size / (links.origin + hosts * links.up))
    return max(bounds)


@dataclass(frozen=True, slots=True)
class NodeResult:
    """How one host fared. `seconds` from its own Join until all was complete and checked; `failure`: why not."""

    seconds: float
    origin_bytes: int = 0
    peer_bytes: int = 0
    cross_zone_bytes: int = 0
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Costs:
    """What a run took of the machine. `cpu_s`: of daemons, scheduler and origin; `wall_s`: until the last was done."""

    wall_s: float
    cpu_s: float
    rss_bytes: int


@dataclass(frozen=True, slots=True)
class MachineLimit:
    """What plain sockets took for the same bytes."""

    wall_s: float
    cpu_s: float


@dataclass(frozen=True, slots=True)
class Run:
    """All that was measured in one run. `blob_bytes`: what every node had to get, all blobs together."""

    scenario: str
    seed: int
    blob_bytes: int
    nodes: Sequence[NodeResult]
    costs: Costs
    limit_s: float
    machine: MachineLimit | None
    origin_bytes: int
    origin_requests: int
    rescues: int
    messages: Mapping[str, int]

    @property
    def failures(self) -> list[str]:
        """Why nodes failed, each reason as often as it came."""
        return [node.failure for node in self.nodes if node.failure]


def figures(run: Run) -> dict[str, Any]:
    """Return the figures of a run by name; None where there is nothing to compare with. docs/benchmarks.md."""
    seconds = [node.seconds for node in run.nodes if not node.failure]
    moved = run.blob_bytes * len(seconds)
    shown: dict[str, Any] = {"scenario": run.scenario, "seed": run.seed, "nodes": len(run.nodes)}
    shown["limit_s"] = round(run.limit_s, SECONDS_DIGITS)
    for name, share in QUANTILES:
        shown[f"{name}_s"] = round(quantile(seconds, share), SECONDS_DIGITS)
    for name, share in QUANTILES:
        shown[f"{name}_ratio"] = ratio(quantile(seconds, share), run.limit_s)
    shown["origin_bytes_ratio"] = ratio(run.origin_bytes, run.blob_bytes)
    shown["origin_requests"] = run.origin_requests
    shown["cross_zone_bytes_ratio"] = ratio(sum(node.cross_zone_bytes for node in run.nodes), run.blob_bytes)
    shown["rescued_ratio"] = ratio(run.rescues, len(run.nodes))
    shown["control_messages"] = dict(sorted(run.messages.items()))
    shown["failures"] = len(run.failures)
    shown["wall_s"] = round(run.costs.wall_s, SECONDS_DIGITS)
    shown["cpu_s_per_gb"] = ratio(run.costs.cpu_s, moved / 1e9)
    shown["rss_bytes_per_daemon"] = run.costs.rss_bytes // max(1, len(run.nodes))
    shown["aggregate_bytes_per_s"] = round(moved / run.costs.wall_s) if run.costs.wall_s else 0
    return shown | _against_machine(run, moved)


COMPARED = (
    *(f"{name}_{unit}" for unit in ("s", "ratio") for name, _ in QUANTILES),
    *("origin_bytes_ratio", "origin_requests", "failures", "wall_s", "cpu_s_per_gb", "aggregate_bytes_per_s"),
)
"""The figures that mean something without a swarm."""


def compared(run: Run) -> dict[str, Any]:
    """Return the figures of a run without a swarm. The ratios are to the swarm's limit."""
    shown = figures(run)
    return {name: shown[name] for name in COMPARED}


def _against_machine(run: Run, moved: int) -> dict[str, Any]:
    machine = run.machine
    if machine is None:
        return dict.fromkeys(("machine_limit_ratio", "machine_limit_s", "machine_cpu_s_per_gb"))
    return {
        "machine_limit_ratio": ratio(machine.wall_s, run.costs.wall_s),
        "machine_limit_s": round(machine.wall_s, SECONDS_DIGITS),
        "machine_cpu_s_per_gb": ratio(machine.cpu_s, moved / 1e9),
    }


def ratio(value: float, to: float) -> float | None:
    """Return how many times `to` a value is, rounded; None when there is nothing to compare with."""
    return round(value / to, RATIO_DIGITS) if to else None


def lines(shown: Mapping[str, Any]) -> Iterable[str]:
    """Return figures as lines of text; what is compared is shown beside them."""
    others: Mapping[str, Mapping[str, Any]] = shown.get("compare", {})
    if others:
        yield f"{'':<24} {'swarm':<16} {'  '.join(f'{kind:<16}' for kind in others)}".rstrip()
    for name, value in shown.items():
        if name == "compare":
            continue
        beside = [f"{_text(other[name]):<16}" for other in others.values() if name in other]
        yield f"{name:<24} {_text(value):<16} {'  '.join(beside)}".rstrip()


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {count}" for key, count in value.items())
    return "-" if value is None else str(value)


def as_dict(node: NodeResult) -> dict[str, Any]:
    """Return a node's result as JSON; `NodeResult(**document)` reads it back."""
    return asdict(node)
