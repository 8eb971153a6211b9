"""Blobs for tests of the store: content, its pieces, and what a download does with them."""

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

from dfdaemon.io.blob_store import BlobStore
from swarm.digest import Digest
from swarm.ids import Epoch, TaskId
from swarm.messages import PieceRecord
from swarm.piece_digest import piece_digest
from swarm.pieces import PIECE_BYTES_MIN, PieceMap


@dataclass(frozen=True)
class Sample:
    """Content that can be known by its number: `fill` in every byte, `size` bytes."""

    fill: int
    size: int = 3 * PIECE_BYTES_MIN + 9
    kind: str = "xxh3"
    algorithm: str = "sha256"

    @cached_property
    def content(self) -> bytes:
        """All bytes."""
        return bytes([self.fill]) * self.size

    @cached_property
    def digest(self) -> Digest:
        """The blob's own digest."""
        return Digest.of(self.content, self.algorithm)

    @property
    def task(self) -> TaskId:
        """The blob's task."""
        return self.digest.task

    @property
    def pieces(self) -> PieceMap:
        """How it is cut."""
        return PieceMap.of(self.size)

    def bytes_of(self, index: int) -> bytes:
        """One piece."""
        return self.content[self.pieces.start(index) : self.pieces.end(index)]

    def record(self, index: int, epoch: int = 1) -> PieceRecord:
        """One piece's record."""
        hasher = piece_digest(self.kind)()
        hasher.update(self.bytes_of(index))
        return PieceRecord(index, hasher.digest(), Epoch(epoch))

    def records(self) -> tuple[PieceRecord, ...]:
        """The records of all pieces."""
        return tuple(self.record(index) for index in range(self.pieces.count))


def write_piece(store: BlobStore, sample: Sample, index: int) -> None:
    """Put a piece's bytes at their place, as a receiver does."""
    file = store.file(sample.task)
    os.pwrite(file.fd, sample.bytes_of(index), file.place(index))
    file.release()


def take_piece(store: BlobStore, sample: Sample, index: int) -> None:
    """Write a piece and record it."""
    write_piece(store, sample, index)
    store.commit(sample.task, sample.record(index))


async def download(store: BlobStore, sample: Sample) -> None:
    """Take a whole blob, check it, mark it complete."""
    await store.open(sample.task, sample.size)
    for index in range(sample.pieces.count):
        take_piece(store, sample, index)
    assert await store.check(sample.task)
    store.complete(sample.task)


def content_of(store: BlobStore, sample: Sample) -> bytes:
    """Read a blob's bytes from the disk."""
    file = store.file(sample.task)
    try:
        return os.pread(file.fd, sample.size + 1, 0)
    finally:
        file.release()


@contextmanager
def files_up_to(size: int) -> Iterator[None]:
    """Let the kernel refuse room for files beyond `size` bytes, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
