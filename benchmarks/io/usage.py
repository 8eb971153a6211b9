"""What another process has used of the machine, as the kernel tells."""

import os
from collections.abc import Iterable
from pathlib import Path


def cpu_s(pid: int) -> float:
    """Return the CPU seconds that a process has used (proc(5): fields 14 and 15 of stat)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss_bytes(pid: int) -> int:
    """Return the memory of a process that is in use now (proc(5): field 2 of statm)."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def exact_cpu_s(pid: int) -> float:
    """Return the CPU seconds that a process's threads have used, to the microsecond (/proc/PID/task/*/schedstat).

    Threads that ended do not count: it is for processes that keep theirs.
    """
    used = [path.read_text().split()[0] for path in Path(f"/proc/{pid}/task").glob("*/schedstat")]
    return sum(map(int, used)) / 1e9


def pin(pid: int, cores: Iterable[int]) -> None:
    """Let all threads of a process run on these cores only."""
    for thread in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(thread.name), cores)


def forget_peak(pid: int) -> None:
    """Let peak_bytes() count from here on (proc(5), clear_refs). Needs the process's owner."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def peak_bytes(pid: int) -> int:
    """Return the most memory that a process had in use at once (VmHWM); its pages of the page cache do not count."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) << 10
