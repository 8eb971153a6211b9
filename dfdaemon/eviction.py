"""Which blobs leave the disk when room is needed: least recently used first, one in use never."""

from collections.abc import Iterable
from dataclasses import dataclass

from swarm.ids import TaskId


@dataclass(frozen=True, slots=True)
class Entry:
    """A blob on disk. `active`: it is read, written or served."""

    task: TaskId
    bytes: int
    active: bool = False


def choose(entries: Iterable[Entry], needed_bytes: int) -> tuple[tuple[TaskId, ...], int]:
    """Return the blobs to evict to free `needed_bytes`, in order, and how many bytes all of them lack.

    `entries`: the least recently used first; no more are looked at than it takes.
    """
    chosen: list[TaskId] = []
    for entry in entries if needed_bytes > 0 else ():
        if entry.bytes and not entry.active:
            chosen.append(entry.task)
            needed_bytes -= entry.bytes
            if needed_bytes <= 0:
                break
    return tuple(chosen), max(0, needed_bytes)
