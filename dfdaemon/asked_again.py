"""Which blobs on disk clients ask for again: what they got may have been wrong, so these are hashed first."""

from collections import OrderedDict
from dataclasses import dataclass
from math import inf

from swarm.ids import TaskId

AGAIN_S = 600.0
"""Who asks twice within this may have got wrong bytes: kubelet waits up to 300 s before it tries an image again."""
HASHED_S = 600.0
"""A blob is not hashed again for so long, whoever asks: fifty clients of one layer cost one reading."""
BLOBS_MAX = 1024
"""Blobs remembered: the layers of a hundred images."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """When a blob was last asked for, and hashed."""

    asked_at: float = -inf
    hashed_at: float = -inf


class AskedAgain:
    """The blobs that were asked for last. Times are of one monotonic clock, in seconds."""

    def __init__(self) -> None:
        self._blobs: OrderedDict[TaskId, _Asked] = OrderedDict()

    def is_due(self, task: TaskId, now: float) -> bool:
        """Note that a client asks for a blob on disk; tell whether it must be hashed first: then it counts as such."""
        before = self._blobs.pop(task, _Asked())
        due = now - before.asked_at < AGAIN_S and now - before.hashed_at >= HASHED_S
        self._blobs[task] = _Asked(now, now if due else before.hashed_at)
        if len(self._blobs) > BLOBS_MAX:
            self._blobs.popitem(last=False)
        return due
