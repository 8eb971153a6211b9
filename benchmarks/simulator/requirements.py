"""What must hold in scenarios where something breaks, for any seed."""

from collections.abc import Mapping
from typing import Any

ORIGIN_MAX = {"churn": 1.05, "deaths": 1.05, "liar": 1.05, "scheduler-restart": 1.02, "partition": 2.05}
"""Blobs' worth that the origin may send, what died with its only holders not counted; of others, one."""
CROSS_ZONE_MAX = {"zones": 1.02 * 2}
"""Blobs' worth that may go from zone to zone: into each zone but one what it needs once, and a little."""
ROUNDING = 0.00005
FAULTY = ("churn", "scheduler-restart", "origin-429", "origin-no-range", "liar", "partition")
"""Scenarios that are run over many seeds."""


def breaches(name: str, figures: Mapping[str, Any]) -> list[str]:
    """Return what does not hold of a run's figures."""
    broken = []
    if figures["failures"]:
        broken.append(f"{figures['failures']} hosts failed")
    allowed = ORIGIN_MAX.get(name, 1.0)
    if figures["origin_again_ratio"] > allowed + ROUNDING:
        broken.append(f"the origin sent {figures['origin_again_ratio']:.4f}, at most {allowed:.2f}")
    crossing = CROSS_ZONE_MAX.get(name)
    if crossing is not None and figures["cross_zone_bytes_ratio"] > crossing + ROUNDING:
        broken.append(
            f"{figures['cross_zone_bytes_ratio']:.4f} went from zone to zone, at most {crossing:.2f}"
        )
    return broken
