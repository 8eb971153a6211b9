"""Digests of single pieces: made by whoever fetched a piece from the origin, checked by everybody who takes it."""

from collections.abc import Callable
from typing import Protocol

from xxhash import xxh3_128

from swarm.errors import WireError

DIGEST_BYTES = {"xxh3": 16, "blake3": 32}
"""The kinds of piece digest, with their lengths: xxh3-128 is quick, BLAKE3-256 also withstands hostile nodes."""


class PieceHash(Protocol):
    """A digest in the making."""

    def update(self, data: bytes | bytearray | memoryview, /) -> object:
        """Take in more bytes; releases the interpreter lock for all but the shortest."""

    def digest(self) -> bytes:
        """Return the digest of all bytes so far."""


def piece_digest(kind: str) -> Callable[[], PieceHash]:
    """Return the maker of fresh hash objects of a kind, a key of DIGEST_BYTES."""
    return _FACTORIES[kind]


def _blake3() -> PieceHash:
    from blake3 import blake3  # half a MiB that a daemon with the usual digests does not need

    return blake3()


_FACTORIES: dict[str, Callable[[], PieceHash]] = {"xxh3": xxh3_128, "blake3": _blake3}


def kind_of(digest: bytes) -> str:
    """Return the kind of a piece digest, which its length tells; raises WireError for any other length."""
    for kind, length in DIGEST_BYTES.items():
        if len(digest) == length:
            return kind
    lengths = " or ".join(str(length) for length in DIGEST_BYTES.values())
    raise WireError(f"a piece digest has {lengths} bytes, got {len(digest)}")
