"""A bound on the memory that a benchmark and its files take, so that a run does not hang on what memory is free.

A thousand stores write more than a machine's memory holds. Without a bound they first fill all of it, and memory that a
virtual machine touches for the first time costs ten times as much as memory that is used again: the host has to find
it. With a bound, pages of files that are on disk are used again after a moment, by plain sockets and daemons alike.
It takes root and control groups, version 1 or 2; without these the run is slower.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
REMOVE_S_MAX = 5.0
"""The kernel lets go of a group some moments after its last process ended."""
REMOVE_LOOK_S = 0.1
"""Pause between two attempts to remove it."""


@contextmanager
def bounded_memory(
    limit_bytes: int, root: Path = ROOT, own: Path = Path("/proc/self/cgroup")
) -> Iterator[bool]:
    """Hold this process and those that it starts to so much memory, page cache included; yields whether that works."""
    parent, limit_name = _group(root, own.read_text())
    group = parent / f"dfbench-{os.getpid()}"
    if not _enter(group, limit_name, limit_bytes):
        yield False
        return
    try:
        yield True
    finally:
        _leave(group, parent)


def _group(root: Path, lines: str) -> tuple[Path, str]:
    """Return the folder of the group that this process is in, and the name of the file with a group's limit."""
    path = ""
    for line in lines.splitlines():
        _, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            return root / "memory" / path.lstrip("/"), "memory.limit_in_bytes"
    return root / path.lstrip("/"), "memory.max"


def _enter(group: Path, limit_name: str, limit_bytes: int) -> bool:
    try:
        if limit_name == "memory.max":
            (group.parent / "cgroup.subtree_control").write_text("+memory")
        group.mkdir()
    except OSError:
        return False
    try:
        (group / limit_name).write_text(str(limit_bytes))
        (group / "cgroup.procs").write_text(str(os.getpid()))
    except OSError:
        with suppress(OSError):
            group.rmdir()
        return False
    return True


def _leave(group: Path, parent: Path) -> None:
    with suppress(OSError):
        (parent / "cgroup.procs").write_text(str(os.getpid()))
    deadline = time.monotonic() + REMOVE_S_MAX
    while group.exists() and time.monotonic() < deadline:
        try:
            group.rmdir()
        except OSError:
            time.sleep(REMOVE_LOOK_S)
