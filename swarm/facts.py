"""Facts that leave a machine for the log and the counters; io/telemetry.py turns them into both."""

from dataclasses import dataclass

from swarm.ids import HostId, TaskId


@dataclass(frozen=True, slots=True)
class Note:
    """Something worth knowing happened. `name` is an event name of docs/metrics.md; `fields` never hold a
    secret."""

    name: str
    task: TaskId | None = None
    host: HostId | None = None
    fields: tuple[tuple[str, str | int | float], ...] = ()
