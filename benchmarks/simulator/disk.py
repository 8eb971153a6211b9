"""What a simulated host keeps of blobs: records of pieces, no bytes. It survives the host's death."""

from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.simulator.life import Life
from benchmarks.simulator.scenario import UNLIMITED, Scenario
from benchmarks.simulator.work import Worker
from dfdaemon import commands, events
from swarm import availability
from swarm.ids import UNGRANTED, TaskId
from swarm.messages import PieceRecord
from swarm.pieces import PieceMap

LIE = bytes(16)
"""What the bytes of a liar's pieces hash to."""

Post = Callable[[events.Event], None]
CommandTable = Mapping[type, Callable[[Any], None]]


class StoredBlob:
    """One blob, on disk or in a ring in memory."""

    def __init__(self, task: TaskId, size: int) -> None:
        self.task = task
        self.size = size
        self.pieces = PieceMap.of(size)
        self.by_index: dict[int, PieceRecord] = {}
        self.complete = False

    @property
    def records(self) -> tuple[PieceRecord, ...]:
        """The records of the pieces that are here."""
        return tuple(self.by_index.values())


def true_digest(task: TaskId, index: int) -> bytes:
    """Return the digest of a piece's true bytes: any function of task and piece will do."""
    return (int(task[-16:], 16) * 1_000_003 + index + 1).to_bytes(16, "little")


class Disk:
    """Carries out a machine's commands about its store; a disk without room for a blob refuses it."""

    def __init__(self, life: Life, scenario: Scenario, full: bool) -> None:
        self.blobs: dict[TaskId, StoredBlob] = {}
        self.completed: Callable[[TaskId], None] = lambda task: None
        """Hears of every blob that becomes complete."""
        self._room_bytes = 0 if full else scenario.disk_bytes
        self._bytes_per_s = scenario.disk_bytes_per_s
        self._arm = Worker(life.clock)
        self._rings: dict[TaskId, StoredBlob] = {}
        self._followed: dict[TaskId, None] = {}
        self.hashed: list[TaskId] = []
        """Blobs whose own digest was computed here."""
        self._life = life
        self._latency_s = scenario.store_latency_s
        self._hash_bytes_per_s = scenario.hash_bytes_per_s
        self._post: Post = lambda event: None

    def begin(self, post: Post) -> None:
        """A new life starts: rings in memory are gone."""
        self._post = post
        self._rings.clear()
        self._followed.clear()

    def wipe(self) -> None:
        """Lose everything."""
        self.blobs.clear()

    def table(self) -> CommandTable:
        """Return who carries out which command."""
        return {
            commands.OpenStore: lambda c: self._life.soon(self._latency_s, self._open, c),
            commands.OpenRing: self._open_ring,
            commands.CommitPiece: self._commit,
            commands.FollowBlob: lambda c: self._followed.update({c.task: None}),
            commands.CheckBlob: self._check,
            commands.DropPieces: self._drop,
            commands.CompleteBlob: self._complete,
            commands.WriteInline: lambda c: self._life.soon(self._latency_s, self._write_inline, c),
            commands.CloseTask: self._close,
        }

    def blob(self, task: TaskId) -> StoredBlob:
        """Return a blob that was opened."""
        return self._rings[task] if task in self._rings else self.blobs[task]

    def whole(self) -> list[StoredBlob]:
        """Return the complete blobs."""
        return [blob for blob in self.blobs.values() if blob.complete]

    def is_lasting(self, task: TaskId) -> bool:
        """Tell whether nothing more can be had of a blob: it is complete, or only streams through a ring."""
        return task in self._rings or (task in self.blobs and self.blobs[task].complete)

    def _close(self, command: commands.CloseTask) -> None:
        self._rings.pop(command.task, None)

    def _open(self, command: commands.OpenStore) -> None:
        taken = sum(blob.size for blob in self.blobs.values())
        if command.task not in self.blobs and taken + command.size > self._room_bytes:
            self._post(events.StoreRefused(command.task))
            return
        blob = self.blobs.setdefault(command.task, StoredBlob(command.task, command.size))
        if command.follow:
            self._followed[command.task] = None
        self._post(events.StoreOpened(command.task, blob.records, blob.complete))

    def _open_ring(self, command: commands.OpenRing) -> None:
        self._rings[command.task] = StoredBlob(command.task, command.size)

    def _commit(self, command: commands.CommitPiece) -> None:
        blob = self.blob(command.task)
        if self._bytes_per_s < UNLIMITED:
            seconds = blob.pieces.length(command.record.index) / self._bytes_per_s
            self._life.soon(self._arm.delay(seconds), self._record, blob, command)
        else:
            self._record(blob, command)

    def _record(self, blob: StoredBlob, command: commands.CommitPiece) -> None:
        assert command.record.digest == true_digest(command.task, command.record.index) or command.source, (
            "a wrong piece comes from a peer"
        )
        blob.by_index[command.record.index] = command.record
        self._post(events.PieceCommitted(command.task, command.record.index))

    def _check(self, command: commands.CheckBlob) -> None:
        """Hash the last piece; those before it were hashed as they came, if that was wanted."""
        blob = self.blobs[command.task]
        self.hashed.append(command.task)
        matches = self.is_right(blob)
        left = blob.pieces.piece_bytes if command.task in self._followed else blob.size
        seconds = left / self._hash_bytes_per_s
        self._life.soon(seconds, self._post, events.BlobChecked(command.task, matches))

    def is_right(self, blob: StoredBlob) -> bool:
        """Tell whether all pieces of a blob are here and have the right bytes."""
        digests = (record.digest == true_digest(blob.task, record.index) for record in blob.by_index.values())
        return len(blob.by_index) == blob.pieces.count and all(digests)

    def _drop(self, command: commands.DropPieces) -> None:
        for index in availability.indexes(command.bits):
            self.blob(command.task).by_index.pop(index, None)

    def _complete(self, command: commands.CompleteBlob) -> None:
        blob = self.blobs[command.task]
        assert self.is_right(blob), "a blob is complete only with all its pieces, and with its own digest"
        blob.complete = True
        self.completed(command.task)

    def _write_inline(self, command: commands.WriteInline) -> None:
        blob = self.blobs[command.task]
        every = range(blob.pieces.count)
        blob.by_index = {
            index: PieceRecord(index, true_digest(blob.task, index), UNGRANTED) for index in every
        }
        blob.complete = True
        self._post(events.InlineWritten(command.task, blob.records))
        self.completed(command.task)
