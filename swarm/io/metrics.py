"""Every metric of every process, declared once. docs/metrics.md is made from this table.

Names follow Prometheus: base units, `_total` for counters. In full they are `damselfly_<component>_<name>`.
"""

from dataclasses import dataclass
from typing import Literal

QUICK_BUCKETS = (
    *(
        0.0001,
        0.00025,
        0.0005,
        0.001,
        0.002,
        0.003,
        0.004,
        0.005,
        0.0075,
        0.01,
        0.015,
        0.02,
        0.03,
        0.04,
        0.05,
    ),
    *(0.075, 0.1, 0.25, 0.5, 1.0, 3.0, 10.0),
)
"""Seconds; fine where answers of the scheduler shall lie."""
LAG_BUCKETS = (0.001, 0.002, 0.004, 0.006, 0.008, 0.01, 0.012, 0.015, 0.02, 0.03, 0.05, 0.1, 0.25, 1.0, 5.0)
"""Seconds; fine around 8 ms and 20 ms, what the loop's lag shall be below in 99 and 99.9 of 100 cases."""


@dataclass(frozen=True, slots=True)
class Metric:
    """What is counted or measured, with the labels that tell its series apart."""

    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


COMMON = {
    "events_total": Metric(
        "counter", "Events that were noted, as in the log; the table below names them.", ("event",)
    ),
    "log_lines_suppressed_total": Metric(
        "counter", "Log lines left out because too many were alike.", ("event",)
    ),
}
"""What every process has."""

DAEMON = {
    "downloaded_bytes_total": Metric(
        "counter",
        "Verified bytes of blobs by where they came from: origin, peers, disk or scheduler.",
        ("source",),
    ),
    "uploaded_bytes_total": Metric("counter", "Bytes of pieces that were sent to other hosts."),
    "rings_total": Metric("counter", "Downloads that found no room on disk and streamed through memory."),
    "blobs_verified_total": Metric(
        "counter",
        "Downloads that were found right by how: digest, computed here; proof, the word of several other hosts.",
        ("how",),
    ),
    "scheduler_attached": Metric("gauge", "1 while the daemon is attached to a scheduler, else 0."),
    "denied_digests": Metric("gauge", "Digests that an administrator lets nobody have, as this node knows."),
    "join_answer_seconds": Metric(
        "histogram", "Time from asking the scheduler for a blob to its answer.", buckets=QUICK_BUCKETS
    ),
    "loop_lag_seconds": Metric(
        "histogram",
        "How late the event loop, while it is busy, wakes a task that sleeps 20 ms: what every answer waits.",
        buckets=LAG_BUCKETS,
    ),
}
"""What a daemon has."""

SCHEDULER = {
    "streams": Metric("gauge", "Daemons that are attached."),
    "denied_digests": Metric("gauge", "Digests that an administrator lets nobody have."),
    "tasks": Metric("gauge", "Blobs that the scheduler knows of."),
    "inline_cache_bytes": Metric("gauge", "Bytes of tiny blobs that are held for daemons."),
    "decision_seconds": Metric(
        "histogram",
        "Time from a message's arrival in the machine to its answer's place in a stream's queue.",
        buckets=QUICK_BUCKETS,
    ),
    "messages_total": Metric("counter", "Messages of daemons by their kind.", ("kind",)),
    "streams_refused_total": Metric(
        "counter", "Streams that were ended by the scheduler, by status.", ("status",)
    ),
}
"""What a scheduler has."""

METRICS: dict[str, dict[str, Metric]] = {"daemon": COMMON | DAEMON, "scheduler": COMMON | SCHEDULER}
"""The metrics of each component by their short names."""
