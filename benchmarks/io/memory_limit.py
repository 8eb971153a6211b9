"""A control group with a memory limit for one running process (cgroup v1 or v2, root)."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks.io.page_cache import ROOT

REMOVE_S_MAX = 5.0
LOOK_S = 0.1


@dataclass(frozen=True, slots=True)
class MemoryGroup:
    """A group with a limit, in `folder`."""

    folder: Path

    def killed(self) -> int:
        """Return how many of its processes the kernel has killed for lack of memory."""
        for name in ("memory.oom_control", "memory.events"):
            path = self.folder / name
            if path.exists():
                lines = dict(line.split() for line in path.read_text().splitlines())
                return int(lines.get("oom_kill", 0))
        raise OSError(f"{self.folder} tells nothing of kills")


@contextmanager
def limited_memory(pid: int, limit_bytes: int, root: Path = ROOT) -> Iterator[MemoryGroup]:
    """Hold a process to so much memory, the page cache of its files included; raises OSError where that cannot be."""
    v1 = root / "memory"
    parent, name = (v1, "memory.limit_in_bytes") if v1.exists() else (root, "memory.max")
    group = parent / f"dfbench-{os.getpid()}-{pid}"
    group.mkdir()
    try:
        (group / name).write_text(str(limit_bytes))
        (group / "cgroup.procs").write_text(str(pid))
        yield MemoryGroup(group)
    finally:
        with suppress(OSError):
            (parent / "cgroup.procs").write_text(str(pid))
        _remove(group)


def _remove(group: Path) -> None:
    """The kernel lets go of a group some moments after its last process left."""
    deadline = time.monotonic() + REMOVE_S_MAX
    while group.exists() and time.monotonic() < deadline:
        try:
            group.rmdir()
        except OSError:
            time.sleep(LOOK_S)
