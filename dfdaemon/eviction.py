"""Which blobs leave the disk when room is needed: least recently used first, a last copy last, one in use never."""

from collections.abc import Iterable
from dataclasses import dataclass

from swarm.ids import TaskId


@dataclass(frozen=True, slots=True)
class Entry:
    """A blob on disk. `active`: it is read, written or served. `last_known_copy`: no other host holds it."""

    task: TaskId
    bytes: int
    last_used: float
    active: bool = False
    last_known_copy: bool = False


def choose(entries: Iterable[Entry], needed_bytes: int) -> tuple[TaskId, ...] | None:
    """Return the blobs to evict, in order, to free `needed_bytes`; None when all that may go is too little."""
    if needed_bytes <= 0:
        return ()  # nearly always: a store of thousands of blobs is not looked through for each new one
    idle = [entry for entry in entries if entry.bytes and not entry.active]
    idle.sort(key=lambda entry: (entry.last_known_copy, entry.last_used, entry.task))
    chosen: list[TaskId] = []
    for entry in idle:
        if needed_bytes <= 0:
            break
        chosen.append(entry.task)
        needed_bytes -= entry.bytes
    return None if needed_bytes > 0 else tuple(chosen)
