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
STEP_BYTES = 1 << 20
"""Written at once to fill the page cache."""


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


@contextmanager
def warm_pages(file: Path, count: int) -> Iterator[None]:
    """Fill the page cache with `count` bytes of a file that is on disk, for as long as the context lasts.

    What is measured inside then takes pages over that are in use already, from its first byte on: else the first
    of two measurements would pay for the memory of both. Deleting files gives their memory back to the host within
    seconds, so each measurement needs a filling of its own, just before it.
    """
    step = os.urandom(STEP_BYTES)
    fd = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        for place in range(0, count, STEP_BYTES):
            os.pwrite(fd, step[: count - place], place)
        os.fsync(fd)
        yield
    finally:
        os.close(fd)
        file.unlink()


def drop_pages(file: Path) -> None:
    """Write a file's pages to the disk and take them out of the page cache, so that the next read is cold; blocks."""
    fd = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(fd)


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
