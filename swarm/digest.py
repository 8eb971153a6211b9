"""Content digests as the OCI image specification writes them (descriptor.md, "Digests")."""

import hashlib
import re
from dataclasses import dataclass
from typing import Protocol

from swarm.errors import BadDigest
from swarm.ids import TaskId

HEX_DIGITS = {"sha256": 64, "sha512": 128}
"""The algorithms that we can check, with the length of their hexadecimal form."""

_SHAPE = re.compile(r"[a-z0-9]+(?:[+._-][a-z0-9]+)*:[a-zA-Z0-9=_-]+")


class Hash(Protocol):
    """What hashlib's objects offer."""

    def update(self, data: bytes | bytearray | memoryview, /) -> None:
        """Take in more bytes."""

    def hexdigest(self) -> str:
        """Return the digest of all bytes so far in lower-case hexadecimal."""


@dataclass(frozen=True, slots=True)
class Digest:
    """A checked digest: `algorithm` is a key of HEX_DIGITS, `hex` is lower case and of its length."""

    algorithm: str
    hex: str

    @classmethod
    def parse(cls, text: str) -> "Digest":
        """Read `algorithm:hex`; raises BadDigest with what is wrong and what is expected."""
        if len(text) > 256 or not _SHAPE.fullmatch(text):
            raise BadDigest(text[:80], "expected algorithm:hex, such as sha256:<64 hexadecimal digits>")
        algorithm, _, value = text.partition(":")
        if algorithm not in HEX_DIGITS:
            raise BadDigest(text[:80], f"algorithm must be one of {', '.join(HEX_DIGITS)}")
        if len(value) != HEX_DIGITS[algorithm] or not re.fullmatch("[0-9a-f]+", value):
            raise BadDigest(
                text[:80], f"{algorithm} needs {HEX_DIGITS[algorithm]} lower-case hexadecimal digits"
            )
        return cls(algorithm, value)

    @classmethod
    def of(cls, content: bytes, algorithm: str = "sha256") -> "Digest":
        """Return the digest of content."""
        return cls(algorithm, hashlib.new(algorithm, content).hexdigest())

    @property
    def task(self) -> TaskId:
        """The id of the swarm's task on this blob."""
        return TaskId(str(self))

    def task_within(self, scope: str) -> TaskId:
        """The id of the task of those who share copies of this blob with `scope` only; without one, with all.

        It looks like a digest, and no blob can be made that has it: it comes from another hash.
        """
        if not scope:
            return self.task
        text = f"{scope}\0{self}".encode()
        length = HEX_DIGITS[self.algorithm] // 2
        name = hashlib.blake2b(text, digest_size=length, person=b"damselfly scope").hexdigest()
        return TaskId(f"{self.algorithm}:{name}")

    def hasher(self) -> Hash:
        """Return a fresh hash of this digest's algorithm."""
        return hashlib.new(self.algorithm)

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.hex}"
