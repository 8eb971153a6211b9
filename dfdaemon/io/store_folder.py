"""The folder of the blob store: its version, its lock, how the last daemon left it, and where each blob lies.

format    the version of the folder; a daemon touches nothing in a folder that is newer than itself
lock      held by the daemon that uses the folder
clean     written at a clean stop: which boot of the machine it was; missing or of another boot means that bytes
          that were recorded may never have reached the disk. Lines after the first name the blobs of which that is
          true all the same: a crash before left them, and nobody used them since. A version that knows no such
          lines trusts nothing then
blobs/<algorithm>/<first two digits>/<hex>/{data,state}
"""

import fcntl
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from swarm.digest import HEX_DIGITS, Digest
from swarm.errors import BadDigest, StoreBroken, StoreTooNew

FORMAT_VERSION = 1
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class StoreFolder:
    """The open, locked folder. Raises StoreTooNew or StoreBroken when it is not for us, and leaves it alone."""

    def __init__(self, directory: str) -> None:
        self.path = Path(directory)
        self._blobs = self.path / "blobs"
        try:
            self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._check_format()
            self._lock = self._take_lock()
            self.was_clean, self._doubtful = self._take_clean_marker()
            self._write_format()
            self._blobs.mkdir(exist_ok=True)
        except OSError as error:
            raise StoreBroken(
                f"store folder {directory} cannot be used: {error}. Check its owner and mount"
            ) from error

    def place(self, digest: Digest) -> Path:
        """Return the folder of a blob."""
        return self._blobs / digest.algorithm / digest.hex[:2] / digest.hex

    def scan(self) -> Iterator[tuple[Digest, Path]]:
        """Yield the folders that are named as blobs are; anything else in the store is left alone."""
        for algorithm in HEX_DIGITS:
            for path in sorted((self._blobs / algorithm).glob("??/*")):
                digest = _digest_of(algorithm, path)
                if digest is not None:
                    yield digest, path

    def free_bytes(self) -> int:
        """Return what the file system has free for us."""
        status = os.statvfs(self.path)
        return status.f_bavail * status.f_frsize

    def trusts(self, digest: Digest) -> bool:
        """Tell whether what is recorded of a blob was so in the page cache when the last daemon stopped."""
        return self.was_clean and str(digest) not in self._doubtful

    def close(self, clean: bool, doubtful: Iterable[Digest] = ()) -> None:
        """Unlock the folder; `clean`: all that is recorded is so in the page cache of this boot, but of `doubtful`."""
        boot = _boot()
        try:
            if clean and boot:
                mark = "\n".join([boot, *map(str, doubtful)])
                self._replace("clean", mark, durable=False)  # after a loss of power it is of another boot
        finally:
            os.close(self._lock)

    def _check_format(self) -> None:
        path = self.path / "format"
        if not path.exists():
            if self._blobs.exists():
                raise StoreBroken(
                    f"{self._blobs} exists, but {path} does not: empty the folder, or name another"
                )
            return
        text = path.read_text(errors="replace").strip()
        if not text.isdecimal():
            raise StoreBroken(
                f"{path} says {text[:40]!r}, expected a number: empty the folder, or name another"
            )
        if int(text) > FORMAT_VERSION:
            raise StoreTooNew(
                f"store folder {self.path} has format {text}, this version reads up to {FORMAT_VERSION}: "
                "run the newer version, or name another folder"
            )

    def _take_lock(self) -> int:
        fd = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            raise StoreBroken(
                f"store folder {self.path} is in use by another daemon: stop it, or give this one a folder of its own"
            ) from None
        return fd

    def _take_clean_marker(self) -> tuple[bool, frozenset[str]]:
        path = self.path / "clean"
        if not path.exists():
            return False, frozenset()
        boot, _, doubtful = path.read_text(errors="replace").partition("\n")
        path.unlink()
        return boot == _boot(), frozenset(doubtful.split())

    def _write_format(self) -> None:
        if not (self.path / "format").exists():
            self._replace("format", f"{FORMAT_VERSION}\n", durable=True)

    def _replace(self, name: str, text: str, *, durable: bool) -> None:
        """Write a file. `durable`: a loss of power after this leaves it as it is, not empty."""
        replacement = self.path / f"{name}.new"
        replacement.write_text(text)
        if durable:
            _sync(replacement)
        replacement.replace(self.path / name)
        if durable:
            _sync(self.path)


def _sync(path: Path) -> None:
    """Write a file, or the names in a folder, to the disk."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _boot() -> str:
    """Return the id of this boot of the machine; empty where there is none, and then no stop counts as clean."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""


def _digest_of(algorithm: str, path: Path) -> Digest | None:
    try:
        digest = Digest.parse(f"{algorithm}:{path.name}")
    except BadDigest:
        return None
    return digest if path.parent.name == digest.hex[:2] else None
