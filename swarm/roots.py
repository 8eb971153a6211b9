"""The root of a blob: one digest that stands for all its pieces, and what daemon and scheduler tell each other of it.

A host that found a blob's own digest right tells the root of the piece digests that it holds. Whoever holds pieces
with the same root, each checked under its piece digest, holds the same bytes: it need not hash the blob again. That
is as strong as the piece digest: BLAKE3 withstands forgery, xxh3 does not.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from swarm.ids import TaskId

ROOT_BYTES = 32
"""Length of a root, a BLAKE3-256."""
NO_ROOT = b""
"""Nobody vouches for the blob."""
_CONTEXT = "damselfly blob root 1"


@dataclass(frozen=True, slots=True)
class BlobProved:
    """Daemon to scheduler: this host computed the blob's own digest, it is right, and the pieces have this root."""

    task: TaskId
    root: bytes


@dataclass(frozen=True, slots=True)
class Proven:
    """Scheduler to daemon: several hosts found the blob with this root right. NO_ROOT: none will, hash it yourself."""

    task: TaskId
    root: bytes


def root_of(size: int, digests: Iterable[bytes]) -> bytes:
    """Return the root of a blob of `size` bytes whose pieces have these digests, in order."""
    from blake3 import blake3  # half a MiB that is needed only where hosts vouch for blobs

    root = blake3(size.to_bytes(8, "little"), derive_key_context=_CONTEXT)
    for digest in digests:
        root.update(len(digest).to_bytes(1, "little") + digest)
    return root.digest()
