"""The configuration files of a node, below a root folder: read, written whole or not at all, given back."""

import contextlib
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from swarm.errors import ConfigError

FILE_BYTES_MAX = 4 << 20
"""A larger file is not a configuration."""
FOLDERS_MAX = 10_000
"""Entries of one folder that are looked at; a node has configuration for a handful of registries."""
FILE_MODE = 0o644
FOLDER_MODE = 0o755
_CIRCLE = "its symbolic links lead in a circle"


class NodeFiles:
    """Files by their absolute path on the node; `root` is where the node's / is."""

    def __init__(self, root: Path) -> None:
        try:
            self._root = root.resolve(strict=True)
        except OSError as error:
            raise ConfigError(f"--root {root} cannot be used: {error.strerror}") from error
        except RuntimeError as error:  # what Python says of links that lead in a circle
            raise ConfigError(f"--root {root} cannot be used: {_CIRCLE}") from error

    def place(self, path: str) -> Path:
        """Return where a file really is, links followed; raises ConfigError when that is outside the root."""
        try:
            place = (self._root / path.lstrip("/")).resolve()
        except RuntimeError as error:
            raise ConfigError(f"{path} cannot be followed: {_CIRCLE}. Nothing was changed") from error
        if not place.is_relative_to(self._root):
            raise ConfigError(f"{path} leads to {place}, outside of {self._root}: nothing was changed")
        return place

    def read(self, path: str) -> str | None:
        """Return a file's text, or None if there is none; raises ConfigError."""
        try:
            with self.place(path).open("rb") as file:
                content = file.read(FILE_BYTES_MAX + 1)
            if len(content) > FILE_BYTES_MAX:
                raise ConfigError(
                    f"{path} is larger than {FILE_BYTES_MAX} bytes: is it a configuration file?"
                )
            return content.decode()
        except FileNotFoundError:
            return None
        except UnicodeDecodeError as error:
            raise ConfigError(f"{path} is not UTF-8 text: nothing was changed") from error
        except OSError as error:
            raise _failed("read", path, error) from error

    def names(self, folder: str) -> frozenset[str]:
        """Return the names of a folder's files; none if there is no folder."""
        return frozenset(name for name, is_folder in self._entries(folder) if not is_folder)

    def folders(self, folder: str) -> dict[str, frozenset[str]]:
        """Return the folders in a folder, each with the names of its files."""
        inner = [name for name, is_folder in self._entries(folder) if is_folder]
        return {name: self.names(f"{folder}/{name}") for name in inner}

    def _entries(self, folder: str) -> list[tuple[str, bool]]:
        try:
            with os.scandir(self.place(folder)) as found:
                entries = [
                    (entry.name, entry.is_dir()) for _, entry in zip(range(FOLDERS_MAX), found, strict=False)
                ]
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise _failed("listed", folder, error) from error
        return sorted(entries)

    def matching(self, pattern: str) -> list[str]:
        """Return the paths of the files that a pattern with * in its last parts means, sorted."""
        if "*" not in pattern:
            return [pattern]
        try:
            found = sorted(self._root.glob(pattern.lstrip("/")))
        except (ValueError, OSError) as error:
            raise ConfigError(f"the pattern {pattern} cannot be used: {error}") from error
        return ["/" + str(place.relative_to(self._root)) for place in found[:FOLDERS_MAX]]

    def exists(self, path: str) -> bool:
        """Say whether there is anything at a path; raises ConfigError when that may not be known."""
        try:
            return self.place(path).exists()
        except OSError as error:
            raise _failed("looked for", path, error) from error

    def missing_folders(self, path: str) -> list[str]:
        """Return the folders that have to be made for a file, outer ones first."""
        missing: list[str] = []
        folder = os.path.dirname(path)
        while folder not in ("", "/") and not self.exists(folder):
            missing.insert(0, folder)
            folder = os.path.dirname(folder)
        return missing

    def make_folders(self, path: str, mode: int = FOLDER_MODE) -> None:
        """Make the folders that are missing above a path; raises ConfigError."""
        try:
            for folder in self.missing_folders(path):
                place = self.place(folder)
                place.mkdir(mode=mode)
                place.chmod(mode)  # whatever the umask
        except OSError as error:
            raise _failed("made", os.path.dirname(path), error) from error

    def write(self, path: str, text: str, mode: int = FILE_MODE, folder_mode: int = FOLDER_MODE) -> None:
        """Write a file whole or not at all; it keeps its mode, owner and attributes. Raises ConfigError.

        A reader sees the old text or the new one, also after a loss of power.
        """
        try:
            self.make_folders(path, folder_mode)
            _write_atomically(self.place(path), text.encode(), mode)
        except OSError as error:
            raise _failed("written", path, error) from error

    def delete(self, path: str) -> None:
        """Delete a file if it is there; raises ConfigError."""
        try:
            self.place(path).unlink(missing_ok=True)
        except OSError as error:
            raise _failed("deleted", path, error) from error

    def delete_folder(self, path: str) -> bool:
        """Delete a folder if it is empty; say whether it is gone."""
        with contextlib.suppress(OSError):
            self.place(path).rmdir()
        return not self.exists(path)


def _write_atomically(place: Path, content: bytes, mode: int) -> None:
    with _scratch(place) as (descriptor, scratch):
        with open(descriptor, "wb", closefd=False) as file:
            file.write(content)
        _adopt(descriptor, place, mode)
        os.fsync(descriptor)
        os.replace(scratch, place)
        folder = os.open(place.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


@contextlib.contextmanager
def _scratch(place: Path) -> Iterator[tuple[int, str]]:
    """A file beside the one to be written, which is gone at the end, whatever happens."""
    descriptor, scratch = tempfile.mkstemp(prefix=f".{place.name}.", dir=place.parent)
    try:
        yield descriptor, scratch
    finally:
        os.close(descriptor)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(scratch)


def _adopt(descriptor: int, place: Path, mode: int) -> None:
    """Give the new file the mode, owner and extended attributes (SELinux's label) of the old one."""
    try:
        old = place.stat()
    except FileNotFoundError:
        os.fchmod(descriptor, mode)
        return
    if (old.st_uid, old.st_gid) != (os.geteuid(), os.getegid()):
        os.fchown(descriptor, old.st_uid, old.st_gid)
    os.fchmod(descriptor, stat.S_IMODE(old.st_mode))
    with contextlib.suppress(OSError):  # a file system without attributes, or one of them is not ours to set
        for name in os.listxattr(place):
            os.setxattr(descriptor, name, os.getxattr(place, name))


def _failed(what: str, path: str, error: OSError) -> ConfigError:
    return ConfigError(f"{path} cannot be {what}: {error.strerror or error}")
