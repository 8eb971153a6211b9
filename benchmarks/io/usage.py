"""What another process has used of the machine, as the kernel tells."""

import os
from pathlib import Path


def cpu_s(pid: int) -> float:
    """Return the CPU seconds that a process has used (proc(5): fields 14 and 15 of stat)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss_bytes(pid: int) -> int:
    """Return the memory of a process that is in use now (proc(5): field 2 of statm)."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
