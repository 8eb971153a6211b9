"""Two programs that move the same bytes in turns: what each took, and the ratio of their medians."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

GB = 1e9
DIGITS = 3


@dataclass(frozen=True, slots=True)
class Turn:
    """One program's turn: wall seconds, CPU seconds of what is measured, and bytes moved."""

    seconds: float
    cpu_s: float
    bytes: int

    @property
    def gb_per_s(self) -> float:
        """How fast it was."""
        return self.bytes / self.seconds / GB

    @property
    def cpu_s_per_gb(self) -> float:
        """What it cost."""
        return self.cpu_s / self.bytes * GB


@dataclass(frozen=True, slots=True)
class Path:
    """The turns of ours and of the other one on one path, the same number of each."""

    name: str
    ours: Sequence[Turn]
    other: Sequence[Turn]
    against: str
    """What the other one is."""

    @property
    def speed_ratio(self) -> float:
        """Our median speed to the other's."""
        return _median_speed(self.ours) / _median_speed(self.other)

    @property
    def cpu_ratio(self) -> float:
        """Our median CPU per GB to the other's."""
        return _median_cost(self.ours) / _median_cost(self.other)

    def figures(self) -> dict[str, Any]:
        """Return the two ratios under the names that docs/performance.md has."""
        return {
            f"{self.name}_ratio": round(self.speed_ratio, DIGITS),
            f"{self.name}_cpu_ratio": round(self.cpu_ratio, DIGITS),
        }

    def detail(self) -> dict[str, Any]:
        """Return what lies behind the ratios."""
        return {
            "against": self.against,
            "gb_per_s": _rounded([turn.gb_per_s for turn in self.ours]),
            "cpu_s_per_gb": _rounded([turn.cpu_s_per_gb for turn in self.ours]),
            "other_gb_per_s": _rounded([turn.gb_per_s for turn in self.other]),
            "other_cpu_s_per_gb": _rounded([turn.cpu_s_per_gb for turn in self.other]),
        }

    def line(self) -> str:
        """Return a line of text."""
        return (
            f"{self.name:<18} {_median_speed(self.ours):7.2f} GB/s {_median_cost(self.ours):7.3f} CPU s/GB"
            f"   {self.against:<28} {_median_speed(self.other):7.2f} GB/s {_median_cost(self.other):7.3f} CPU s/GB"
            f"   ratio {self.speed_ratio:.2f}, CPU {self.cpu_ratio:.2f}"
        )


def _median_speed(turns: Sequence[Turn]) -> float:
    return statistics.median(turn.gb_per_s for turn in turns)


def _median_cost(turns: Sequence[Turn]) -> float:
    return statistics.median(turn.cpu_s_per_gb for turn in turns)


def _rounded(values: Sequence[float]) -> list[float]:
    return [round(value, 4) for value in values]
