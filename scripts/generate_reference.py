"""Writes docs/configuration.md and docs/metrics.md from the code's own tables.

usage: generate_reference.py [--check]

`--check` writes nothing, and fails when a document is not what would be written.
"""

import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from dfdaemon.config import DaemonConfig  # noqa: E402 - the checkout's own packages
from scheduler.config import SchedulerConfig  # noqa: E402
from swarm.io import notes  # noqa: E402
from swarm.io.config_render import markdown  # noqa: E402
from swarm.io.metrics import COMMON, DAEMON, SCHEDULER, Metric  # noqa: E402

CONFIGURATION = """\
# Configuration

Each process reads one TOML file: `--config FILE`, else the variable `DFDAEMON_CONFIG` or `DFSCHEDULER_CONFIG`, else
`/etc/damselfly/<program>.toml` if it exists. Every key can also be given as an environment variable
(`DFDAEMON_PEER_LISTEN` for `listen` in `[peer]`) and as a flag (`--peer.listen` or `--peer-listen`). Flags win over
variables, variables over the file, the file over the defaults. A key that is not known is an error.

Bytes may have a unit (`"64MiB"`, `"50GB"`), as may durations (`"10s"`, `"500ms"`). In variables and on the command
line lists are separated by commas, and lists of tables are JSON. `--print-config` shows what is in force, and where
each value that is not a default came from.

This page is generated from the code: `python scripts/generate_reference.py`.

"""

METRICS = """\
# Metrics and events

`/metrics` at `metrics_listen` gives what follows in Prometheus' text format, and the usual `process_*` metrics.
Names are `damselfly_daemon_<name>` and `damselfly_scheduler_<name>`.

Events are lines of the log and are counted in `events_total`. A line has the time, the level, the event, `task` and
`host` where they matter, and further fields, as `key=value` or with `log_format = "json"` as one JSON object. When an
event happens more than 50 times in a second the further lines are left out and counted.

This page is generated from the code: `python scripts/generate_reference.py`.

"""


def documents() -> dict[Path, str]:
    """What the documents shall hold."""
    configuration = (markdown(DaemonConfig, "dfdaemon"), markdown(SchedulerConfig, "dfscheduler"))
    metrics = (
        _metrics("Metrics of every process", COMMON),
        _metrics("Metrics of the daemon", DAEMON),
        _metrics("Metrics of the scheduler", SCHEDULER),
        _events("Events of both", notes.COMMON),
        _events("Events of the daemon", notes.DAEMON),
        _events("Events of the scheduler", notes.SCHEDULER),
    )
    return {
        ROOT / "docs/configuration.md": CONFIGURATION + "\n".join(configuration),
        ROOT / "docs/metrics.md": METRICS + "\n".join(metrics),
    }


def _metrics(title: str, table: Mapping[str, Metric]) -> str:
    lines = [f"## {title}", "", "| name | type | labels | meaning |", "|---|---|---|---|"]
    for name, metric in table.items():
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        lines.append(f"| `{name}` | {metric.kind} | {labels} | {metric.help} |")
    return "\n".join(lines) + "\n"


def _events(title: str, table: Mapping[str, notes.NoteKind]) -> str:
    lines = [f"## {title}", "", "| event | level | meaning |", "|---|---|---|"]
    lines += [f"| `{name}` | {kind.level} | {kind.help} |" for name, kind in table.items()]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Writes or checks; the exit status."""
    stale = [
        path
        for path, text in documents().items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]
    if "--check" in sys.argv[1:]:
        for path in stale:
            name = path.relative_to(ROOT)
            print(
                f"generate_reference: {name} is stale; run python scripts/generate_reference.py",
                file=sys.stderr,
            )
        return 1 if stale else 0
    for path in stale:
        path.write_text(documents()[path], encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
