"""What schedulers share so that another can take over: highest epoch, piece digests and root of each task."""

from collections import OrderedDict
from typing import Protocol

from scheduler.events import EpochSaved, TaskLoaded
from swarm.ids import Epoch, TaskId
from swarm.messages import PieceRecord
from swarm.roots import NO_ROOT

TASKS_MAX = 131_072
"""Tasks in memory; twice what a scheduler's machine remembers."""
RECORDS_MAX = 2_000_000
"""Piece digests in memory, some 400 MB: those of 7,800 blobs of 256 pieces."""


class StateStore(Protocol):
    """A store that several schedulers may share. A call may fail; the scheduler then goes on without it."""

    async def load_task(self, task: TaskId) -> TaskLoaded:
        """Return what is known of a task; epoch 0 and no records when it is new."""

    async def save_epoch(self, task: TaskId, epoch: Epoch) -> EpochSaved:
        """Remember that a lease was granted. An epoch lower than the one known changes nothing."""

    async def save_records(self, task: TaskId, records: tuple[PieceRecord, ...]) -> None:
        """Remember piece digests. One of the same piece with a lower epoch changes nothing."""

    async def save_root(self, task: TaskId, root: bytes) -> None:
        """Remember the root that is proven; NO_ROOT: none is any more."""

    async def close(self) -> None:
        """Let go of connections."""


class MemoryStore:
    """A store of one process: it forgets at its end, and the daemons tell everything again."""

    def __init__(self, tasks_max: int = TASKS_MAX, records_max: int = RECORDS_MAX) -> None:
        self._tasks_max = tasks_max
        self._records_max = records_max
        self._tasks: OrderedDict[TaskId, _Known] = OrderedDict()
        self._records = 0

    async def load_task(self, task: TaskId) -> TaskLoaded:
        """Return what is known of a task."""
        known = self._tasks.get(task)
        if known is None:
            return TaskLoaded(task, Epoch(0))
        self._tasks.move_to_end(task)
        records = tuple(known.records[index] for index in sorted(known.records))
        return TaskLoaded(task, known.epoch, records, known.root)

    async def save_epoch(self, task: TaskId, epoch: Epoch) -> EpochSaved:
        """Remember that a lease was granted."""
        known = self._open(task)
        known.epoch = max(known.epoch, epoch)
        return EpochSaved(task, epoch)

    async def save_records(self, task: TaskId, records: tuple[PieceRecord, ...]) -> None:
        """Remember piece digests."""
        known = self._open(task)
        before = len(known.records)
        for record in records:
            present = known.records.get(record.index)
            if present is None or present.epoch <= record.epoch:
                known.records[record.index] = record
        self._records += len(known.records) - before
        self._make_room()

    async def save_root(self, task: TaskId, root: bytes) -> None:
        """Remember what is proven."""
        self._open(task).root = root

    async def close(self) -> None:
        """Nothing is held outside this process."""

    def _open(self, task: TaskId) -> "_Known":
        known = self._tasks.setdefault(task, _Known())
        self._tasks.move_to_end(task)
        self._make_room()
        return known

    def _make_room(self) -> None:
        """Forget the least recently used, but never the one in hand."""
        while len(self._tasks) > 1 and (
            len(self._tasks) > self._tasks_max or self._records > self._records_max
        ):
            _, known = self._tasks.popitem(last=False)
            self._records -= len(known.records)


class _Known:
    """What is known of one task."""

    __slots__ = ("epoch", "records", "root")

    def __init__(self) -> None:
        self.epoch = Epoch(0)
        self.records: dict[int, PieceRecord] = {}
        self.root = NO_ROOT
