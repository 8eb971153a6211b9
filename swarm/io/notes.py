"""Every event that may be noted, with its level and meaning. docs/metrics.md is made from this table.

A level says who has to act: error, a person; warning, maybe; info, nobody. A cache miss is none of these.
"""

from typing import NamedTuple


class NoteKind(NamedTuple):
    """How an event is logged, and what it means."""

    level: str
    help: str


UNLISTED = NoteKind("info", "An event without a place in the table.")
"""What an event gets that is missing in the table; a test keeps that from happening."""

NOTES: dict[str, NoteKind] = {
    # --- every process ---
    "log": NoteKind("info", "A line of a library that we use."),
    "lines_suppressed": NoteKind("info", "Lines like the last ones were left out; `count` says how many."),
    # --- scheduler ---
    "scheduler_ready": NoteKind("info", "The scheduler takes daemons at `listen`."),
    "scheduler_stopped": NoteKind("info", "The scheduler ended its streams and is done."),
    "host_attached": NoteKind("info", "A daemon attached; `held` and `active` count what it told."),
    "host_detached": NoteKind("info", "A daemon's stream ended; `reason` says how."),
    "stream_refused": NoteKind(
        "warning", "A stream was ended because of what the daemon sent; `reason` says why."
    ),
    "machine_failed": NoteKind("error", "A fault of ours while handling an event; please report it."),
    "state_store_failed": NoteKind("warning", "The shared store did not answer; it goes on without."),
    "inline_missing": NoteKind("warning", "A tiny blob was to be sent that is not held any more."),
    # --- daemon ---
    "scheduler_attached": NoteKind("info", "The daemon is attached to a scheduler."),
    "scheduler_lost": NoteKind("warning", "The daemon works without a scheduler; `reason` says why."),
}
"""The events of all processes by name."""
