"""Content that an administrator lets nobody have: kept in the store's folder, so that it outlives every restart."""

import json
import os
from collections.abc import Callable
from pathlib import Path

from swarm.digest import Digest
from swarm.errors import BadDigest, ContentDenied, StoreBroken
from swarm.facts import Note
from swarm.ids import TaskId
from swarm.repositories import Denials

FILE_NAME = "denied"
FILE_BYTES_MAX = 4 << 20
"""What the scheduler remembers is less than 400 KB."""


class DeniedContent:
    """The denied digests. Raises StoreBroken when the file is there and cannot be read: what it says must hold."""

    def __init__(self, directory: str, note: Callable[[Note], None]) -> None:
        self._path = Path(directory) / FILE_NAME
        self._note = note
        self._tasks: dict[TaskId, None] = {}
        try:
            if self._path.exists():
                with self._path.open("rb") as file:
                    found = json.loads(file.read(FILE_BYTES_MAX))
                self._tasks = {Digest.parse(task).task: None for task in found}
        except (OSError, ValueError, TypeError, BadDigest) as error:
            raise StoreBroken(f"{self._path} cannot be read ({error}): repair or remove it") from error

    def __contains__(self, task: object) -> bool:
        return task in self._tasks

    def check(self, digest: Digest) -> None:
        """Raise ContentDenied if nobody may have this."""
        if digest.task in self._tasks:
            raise ContentDenied(str(digest))

    def listed(self) -> tuple[TaskId, ...]:
        """Return all denied digests, the oldest first."""
        return tuple(self._tasks)

    def change(self, message: Denials) -> list[TaskId]:
        """Do as the scheduler says, and keep it; return what is denied that was not before."""
        before = dict(self._tasks)
        for task in message.allowed:
            self._tasks.pop(task, None)
        self._tasks.update(dict.fromkeys(message.denied))
        if self._tasks != before:
            self._save()
        return [task for task in self._tasks if task not in before]

    def _save(self) -> None:
        replacement = self._path.with_suffix(".new")
        try:
            with replacement.open("w") as file:
                json.dump(list(self._tasks), file)
                file.flush()
                os.fsync(file.fileno())
            replacement.replace(self._path)
        except OSError as error:
            self._note(Note("denials_not_saved", fields=(("error", f"{self._path}: {error.strerror}"),)))
