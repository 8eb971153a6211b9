"""The file in which a scheduler keeps what is denied, so that its successor knows it too."""

import json
import os
from pathlib import Path

from scheduler.commands import SaveDenials
from swarm.digest import Digest
from swarm.errors import BadDigest, ConfigError
from swarm.ids import TaskId

FILE_BYTES_MAX = 16 << 20
"""4,096 digests with a reason each, and as many that were allowed again, take less than 4 MB."""


class DenialsFile:
    """One JSON document, replaced whole. Without a path nothing is kept. `error`: why the last save failed."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.error = ""

    def load(self) -> tuple[dict[TaskId, str], tuple[TaskId, ...]]:
        """Return what is denied, with reasons, and what was allowed again; raises ConfigError.

        A file that cannot be read stops the start: to go on without would allow what is denied.
        """
        if not self.path or not Path(self.path).exists():
            return {}, ()
        try:
            with Path(self.path).open("rb") as file:
                document = json.loads(file.read(FILE_BYTES_MAX))
            denied = {Digest.parse(task).task: str(reason) for task, reason in document["denied"].items()}
            return denied, tuple(Digest.parse(task).task for task in document["allowed"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError, BadDigest) as error:
            raise ConfigError(
                f"denials_file = {self.path!r} cannot be read ({error}): repair or remove it"
            ) from error

    def save(self, denials: SaveDenials) -> None:
        """Replace the file, durably; blocks. What goes wrong is in `error`."""
        self.error = ""
        if not self.path:
            return
        replacement = Path(f"{self.path}.new")
        text = json.dumps({"denied": dict(denials.denied), "allowed": denials.allowed}, indent=1)
        try:
            with replacement.open("w") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            replacement.replace(self.path)
        except OSError as error:
            self.error = f"{self.path} cannot be written: {error.strerror}"
