"""A file that somebody else may replace at any moment, such as a mounted secret: read again when it changed."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from dfdaemon.credentials import BadCredentials
from swarm.errors import OurselvesError

FILE_BYTES_MAX = 1 << 20
"""More is no file of credentials: Kubernetes limits secrets to this size."""

T = TypeVar("T")


class WatchedFile(Generic[T]):
    """What a file means now. One system call while it stays as it is; kubelet swaps a link when a secret changes."""

    def __init__(self, path: str, read: Callable[[str], T]) -> None:
        self._path = Path(path)
        self._read = read
        self._seen: tuple[int, int, int] | None = None
        self._value: T | None = None

    def value(self) -> T:
        """Return what the file means; raises OurselvesError, which names the file and quotes nothing of it."""
        try:
            found = os.stat(self._path)
            seen = found.st_mtime_ns, found.st_ino, found.st_size
            if seen != self._seen or self._value is None:
                if found.st_size > FILE_BYTES_MAX:
                    raise BadCredentials(f"it has more than {FILE_BYTES_MAX} bytes")
                self._value = self._read(self._path.read_text())
                self._seen = seen
        except OSError as error:
            raise OurselvesError(f"{self._path} cannot be read: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise OurselvesError(f"{self._path} is not text: {error.reason}") from None
        except BadCredentials as error:
            raise OurselvesError(f"{self._path} is not as expected: {error}") from None
        return self._value
