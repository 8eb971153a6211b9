"""What `configure` did to a node, and how `unconfigure` gives it back.

The record lies beside copies of the files as they were. A file that still is as we left it becomes what it was, byte
for byte; one that somebody has edited since loses our part only.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Literal, get_args

from dfdaemon.install.daemon_json import without_mirror
from dfdaemon.install.marks import marked, without_blocks
from dfdaemon.install.plan import Kind
from swarm.errors import ConfigError

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Entry:
    """One file that we changed. `backup` is the name of its copy, "" if there was no file.

    `restarts`: the runtime reads it when it starts or reloads.
    """

    path: str
    kind: Kind
    backup: str
    before_sha256: str
    after_sha256: str
    restarts: bool = False


@dataclass(frozen=True, slots=True)
class Record:
    """All that was done for one runtime. `folders` are those that we made, outer ones first."""

    runtime: str
    mirror: str = ""
    registries: tuple[str, ...] = ()
    entries: tuple[Entry, ...] = ()
    folders: tuple[str, ...] = ()

    def entry(self, path: str) -> Entry | None:
        """Return what was done to a file."""
        return next((entry for entry in self.entries if entry.path == path), None)

    def with_entries(self, entries: Sequence[Entry]) -> "Record":
        """Return the record with these entries, which take the place of older ones of their files."""
        paths = {entry.path for entry in entries}
        kept = (entry for entry in self.entries if entry.path not in paths)
        return replace(self, entries=(*kept, *entries))


def to_json(record: Record) -> str:
    """Write a record."""
    return json.dumps({"format": FORMAT, **asdict(record)}, indent=2) + "\n"


def from_json(text: str, path: str) -> Record:
    """Read a record; raises ConfigError."""
    try:
        found = json.loads(text)
        if found.pop("format") != FORMAT:
            raise ConfigError(f"{path} was written by another version of dfdaemon: unconfigure with that one")
        entries = tuple(Entry(**entry) for entry in found.pop("entries"))
        if any(entry.kind not in get_args(Kind) for entry in entries):
            raise ValueError("unknown kind")
        registries, folders = (tuple(map(str, found.pop(key))) for key in ("registries", "folders"))
        return Record(found["runtime"], found["mirror"], registries, entries, folders)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ConfigError(
            f"{path} is damaged ({error}): its copies beside it have the files as they were"
        ) from error


def digest(text: str) -> str:
    """Return what tells whether a text was edited."""
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Undo:
    """What is to be done to one file: put back the copy, remove the file, write a text, or leave it."""

    how: Literal["restore", "delete", "rewrite", "leave"]
    text: str = ""
    note: str = ""


def undo(entry: Entry, current: str | None, backup: str | None, mirror: str) -> Undo:
    """Decide how a file is given back; `backup` is None if there was no file."""
    if current is None:
        note = f"{entry.path} is gone: nothing to take out of it" if backup is not None else ""
        return Undo("leave", note=note)
    if digest(current) == entry.after_sha256:
        return Undo("delete") if backup is None else Undo("restore", backup)
    if backup is not None and digest(current) == entry.before_sha256:
        return Undo("leave")
    return _undo_edited(entry, current, backup, mirror)


def _undo_edited(entry: Entry, current: str, backup: str | None, mirror: str) -> Undo:
    rest = without_our_part(entry.kind, current, mirror)
    if rest is None:
        return Undo(
            "leave",
            note=f"{entry.path} was edited, and our part is no longer in it as written: left as it is",
        )
    if backup is None and not rest.strip():
        return Undo("delete")
    return Undo("rewrite", rest, f"{entry.path} was edited since: only our part was taken out")


def without_our_part(kind: Kind, text: str, mirror: str) -> str | None:
    """Return an edited file's text without our part, or None if that is no longer to be found."""
    if kind == "daemon.json":
        return without_mirror(text, mirror)
    if kind == "marked" and marked(text):
        return without_blocks(text)
    return None


def base(entry: Entry | None, current: str | None, backup: str | None, mirror: str) -> str | None:
    """Return the text of a file as it would be without us; None for no file."""
    if entry is None or current is None:
        return current
    done = undo(entry, current, backup, mirror)
    if done.how == "leave":
        return current
    return None if done.how == "delete" else done.text
