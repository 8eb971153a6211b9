"""How every test runs: real parts that may be missing, skips that may not happen, properties that replay."""

import os
import shutil
import signal
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Deterministic unless asked otherwise: `pytest --hypothesis-profile=explore` looks for new examples.
settings.register_profile(
    "default", derandomize=True, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("explore", settings.get_profile("default"), derandomize=False, max_examples=1000)
settings.load_profile("default")

REQUIRE_REAL_PARTS = "DAMSELFLY_REQUIRE_REAL_PARTS"
REAL_PARTS_FILE = Path(__file__).with_name("real-parts.txt")
SEARCH_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
# A shell lets what it starts in the background ignore Ctrl-C, and so would what tests start, and send SIGINT to.
signal.signal(signal.SIGINT, signal.default_int_handler)
SKIPPED = pytest.StashKey[list[str]]()


def _real_parts() -> dict[str, list[str]]:
    """The programs of each real part."""
    lines = [line for line in REAL_PARTS_FILE.read_text().splitlines() if line and not line.startswith("#")]
    return {name: programs.split() for name, _, programs in (line.partition(":") for line in lines)}


def _missing(parts: tuple[str, ...], *, root: bool = False) -> list[str]:
    """What of a test's needs this machine does not have."""
    known = _real_parts()
    if unknown := [part for part in parts if part not in known]:
        pytest.fail(f"{', '.join(unknown)}: not in {REAL_PARTS_FILE.name}; add it, so that it gets installed")
    lacking = [
        f"no {part}" for part in parts if not all(shutil.which(p, path=SEARCH_PATH) for p in known[part])
    ]
    return lacking + (["not root"] if root and os.geteuid() != 0 else [])


def _required() -> bool:
    return os.environ.get(REQUIRE_REAL_PARTS, "") not in ("", "0")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skips a test whose real parts are missing, or fails it where they are required."""
    for marker in item.iter_markers("needs"):
        if lacking := _missing(marker.args, **marker.kwargs):
            verdict = pytest.fail if _required() else pytest.skip
            verdict(f"a real part is missing: {', '.join(lacking)}")


def pytest_configure(config: pytest.Config) -> None:
    """A place to remember what was skipped."""
    config.stash[SKIPPED] = []


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Remembers every skip, with its reason."""
    report = yield
    if report.skipped:
        item.config.stash[SKIPPED].append(f"{report.nodeid}: {report.longreprtext}")
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Remembers modules that were skipped as a whole."""
    report = yield
    if report.skipped:
        collector.config.stash[SKIPPED].append(f"{report.nodeid}: {report.longreprtext}")
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Where real parts are required nothing is skipped: a skip fails the run."""
    if _required() and session.config.stash[SKIPPED] and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Names the skips that fail the run."""
    if _required() and config.stash[SKIPPED]:
        terminalreporter.section(f"skipped, though {REQUIRE_REAL_PARTS} is set", red=True)
        for line in config.stash[SKIPPED]:
            terminalreporter.line(line)
