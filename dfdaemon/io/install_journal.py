"""Keeps what was done to a node: the record and the copies of files, in /etc/damselfly/configured/RUNTIME.

Only root may read there: copies may hold the passwords of registries.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from dataclasses import replace

from dfdaemon.install.plan import Edit
from dfdaemon.install.record import Entry, Record, base, digest, from_json, to_json
from dfdaemon.io.install_files import NodeFiles
from swarm.errors import ConfigError

FOLDER = "/etc/damselfly/configured"
SECRET_FILE_MODE = 0o600
SECRET_FOLDER_MODE = 0o700


class Journal:
    """The record of one runtime, and the files as they would be without us."""

    def __init__(self, files: NodeFiles, runtime: str) -> None:
        self.files = files
        self.folder = f"{FOLDER}/{runtime}"
        self._path = record_of(runtime)
        text = files.read(self._path)
        self.recorded = text is not None
        self.record = Record(runtime) if text is None else from_json(text, self._path)

    def backup(self, entry: Entry) -> str | None:
        """Return the copy of a file, None if there was no file; raises ConfigError."""
        if not entry.backup:
            return None
        text = self.files.read(f"{self.folder}/{entry.backup}")
        if text is None or digest(text) != entry.before_sha256:
            raise ConfigError(
                f"{self.folder}/{entry.backup}, the copy of {entry.path}, is missing or was changed"
            )
        return text

    def base(self, path: str) -> str | None:
        """Return a file's text as it would be without us; None if there would be no file."""
        entry = self.record.entry(path)
        current = self.files.read(path)
        return base(entry, current, self.backup(entry) if entry else None, self.record.mirror)

    def remember(self, edits: list[Edit], mirror: str, registries: tuple[str, ...]) -> None:
        """Write down what is going to be done, before it is done: so that it can be undone at any moment."""
        folders = list(self.record.folders)
        for edit in edits:
            folders += [folder for folder in self.files.missing_folders(edit.path) if folder not in folders]
        own = [folder for folder in self.files.missing_folders(self._path) if folder not in folders]
        self.files.make_folders(FOLDER)  # others may pass these: dfdaemon's configuration lies there
        entries = [self._keep(edit) for edit in edits]
        changed = replace(
            self.record, mirror=mirror, registries=registries, folders=(*own, *folders)
        ).with_entries(entries)
        self.files.write(self._path, to_json(changed), SECRET_FILE_MODE, SECRET_FOLDER_MODE)
        for name in _copies(self.record) - _copies(changed):
            self.files.delete(f"{self.folder}/{name}")
        self.record = changed

    def _keep(self, edit: Edit) -> Entry:
        """Copy a file as it was without us."""
        name = ""
        if edit.base is not None:
            name = f"{digest(edit.path + edit.base)[:16]}.before"
            self.files.write(f"{self.folder}/{name}", edit.base, SECRET_FILE_MODE, SECRET_FOLDER_MODE)
        return Entry(edit.path, edit.kind, name, digest(edit.base or ""), digest(edit.after), edit.restarts)

    def forget(self) -> None:
        """Delete the record and the copies."""
        for name in _copies(self.record):
            self.files.delete(f"{self.folder}/{name}")
        self.files.delete(self._path)
        self.files.delete_folder(self.folder)
        self.files.delete_folder(FOLDER)


def record_of(runtime: str) -> str:
    """Return the path of what was done for a runtime; there is no such file where nothing was."""
    return f"{FOLDER}/{runtime}/record.json"


def _copies(record: Record) -> set[str]:
    return {entry.backup for entry in record.entries if entry.backup}


@contextlib.contextmanager
def alone(files: NodeFiles) -> Iterator[None]:
    """Keep two of us from changing the same node at once; raises ConfigError."""
    try:
        descriptor = os.open(files.place("/"), os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise ConfigError(
            f"{files.place('/')} cannot be locked: {error.strerror}; run this as root"
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise ConfigError("another dfdaemon configure or unconfigure is at work: wait for it") from None
    finally:
        os.close(descriptor)
