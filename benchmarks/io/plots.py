"""Draws a run: when hosts were done, and what went over the wire over time. Needs matplotlib."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.simulator.verdict import Sample

MISSING = "--plot needs matplotlib: pip install 'damselfly[plot]'"
GB = 1e9


def draw(file: Path, figures: dict[str, Any], seconds: Sequence[float], samples: Sequence[Sample]) -> None:
    """Write a picture: the share of hosts that were done by a time, with the limit, and bytes over time.

    Raises SystemExit, with what to install, when matplotlib is missing.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise SystemExit(MISSING) from None
    figure = Figure(figsize=(11, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    done, moved = figure.subplots(1, 2)
    times, shares = steps_of(seconds)
    done.step(times, shares, where="post", label="hosts that have everything")
    done.axvline(figures["limit_s"], color="grey", linestyle="--", label=f"limit {figures['limit_s']} s")
    done.set(xlabel="seconds from each host's own arrival", ylabel="share of hosts", ylim=(0, 1.02))
    done.legend(loc="lower right")
    for name, column in columns_of(samples).items():
        moved.plot([sample.at for sample in samples], column, label=name)
    moved.set(xlabel="seconds", ylabel="GB over the wire so far", yscale="symlog")
    moved.legend(loc="upper left")
    figure.suptitle(f"{figures['scenario']}, {figures['nodes']} hosts, seed {figures['seed']}")
    figure.savefig(file)


def steps_of(seconds: Sequence[float]) -> tuple[list[float], list[float]]:
    """Return the points of the distribution of times: a time, and the share of hosts that needed no longer."""
    ordered = sorted(seconds)
    return [0.0, *ordered], [number / max(1, len(ordered)) for number in range(len(ordered) + 1)]


def columns_of(samples: Sequence[Sample]) -> dict[str, list[float]]:
    """Return what went over the wire by each time, in GB, by where it came from."""
    return {
        "from the origin": [sample.origin_bytes / GB for sample in samples],
        "from host to host": [sample.peer_bytes / GB for sample in samples],
        "of it from zone to zone": [sample.cross_zone_bytes / GB for sample in samples],
    }


def draw_ratios(file: Path, ratios: Mapping[str, float], label: str) -> None:
    """Write a picture of ratios by name, as bars beside 1; raises SystemExit, as draw() does."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise SystemExit(MISSING) from None
    figure = Figure(figsize=(8, 1 + 0.4 * len(ratios)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.barh(list(ratios), list(ratios.values()))
    axes.axvline(1.0, color="grey", linestyle="--")
    axes.invert_yaxis()
    axes.set(xlabel=label)
    figure.savefig(file)
