"""docs/configuration.md and docs/metrics.md say what the code does."""

import ast
import subprocess
import sys
from pathlib import Path

from swarm.io.metrics import METRICS
from swarm.io.notes import NOTES

ROOT = Path(__file__).parents[4]
NOTING = {"Note": "", "note": "", "_note": "", "_tell": "", "report": "store_"}
"""Functions whose first argument names an event, with what is put before it."""
COUNTING = {"count", "observe", "gauge"}


def named(functions: set[str]) -> dict[str, set[str]]:
    """The texts that these functions are called with first, by function."""
    found: dict[str, set[str]] = {function: set() for function in functions}
    for package in ("swarm", "scheduler", "dfdaemon"):
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
                    name = getattr(node.func, "attr", getattr(node.func, "id", ""))
                    if name in functions and isinstance(node.args[0].value, str):
                        found[name].add(node.args[0].value)
    return found


def test_every_event_is_documented_and_happens() -> None:
    events = {NOTING[function] + event for function, events in named(set(NOTING)).items() for event in events}
    assert len(events) > 20, "the search finds the events"
    assert events - NOTES.keys() == set(), "add these to swarm/io/notes.py"
    assert NOTES.keys() - events == set(), "nothing notes these any more"


def test_every_metric_that_is_counted_is_declared() -> None:
    declared = {name for metrics in METRICS.values() for name in metrics}
    counted = set().union(*named(COUNTING).values())
    assert {name for name in counted if name.endswith(("_total", "_seconds"))} - declared == set()
    used = counted | {"join_answer_seconds", "loop_lag_seconds"}  # given on as functions
    assert declared - used == set(), "nothing counts these"


def test_the_documents_are_fresh() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "scripts/generate_reference.py", "--check"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
