"""What the registry mirror needs from the rest of the daemon: blobs that may still be arriving, and what the
cluster knows."""

from dataclasses import dataclass
from typing import Protocol

from dfdaemon.io.blob_store import StoredBlob
from dfdaemon.io.origin_client import OriginSource
from dfdaemon.io.piece_file import PieceFile
from swarm.ids import TaskId
from swarm.layers import Layer
from swarm.repositories import RepositoryAnswer, RepositoryReport, TagPushed, TagReport, TagUnresolved


@dataclass(frozen=True, slots=True)
class Span:
    """Verified bytes that lie together in a file: `length` bytes at offset `place` of `file`."""

    file: PieceFile
    place: int
    length: int


class BlobReader(Protocol):
    """One client's read of one blob. The file of a span stays open until the reader is closed."""

    async def span(self, offset: int) -> Span:
        """Wait until the byte at `offset` may be sent; return it and what follows it in the file, verified.

        Raises a DamselflyError when the download cannot go on.
        """

    def advance(self, offset: int) -> None:
        """Say that everything before `offset` was sent."""

    def close(self) -> None:
        """End the read; more calls do nothing."""


class Blobs(Protocol):
    """Blobs by digest, from disk, from other hosts, or from the origin."""

    async def open(
        self,
        source: OriginSource,
        size: int,
        media_type: str,
        start: int,
        end: int,
        layer: Layer | None = None,
    ) -> BlobReader:
        """Start to read bytes [start, end) of a blob for a client that authorise() let through.

        `source` says where the origin has it and with which credential this client may fetch it; `layer`, where it
        stands in its image.
        """

    def stored(self, task: TaskId) -> StoredBlob | None:
        """Return what the disk holds of a blob."""

    def broken(self, task: TaskId, reason: str) -> None:
        """A blob's file could not be read: refuse it for a moment, and find out what of it is damaged."""


class Cluster(Protocol):
    """What other hosts found out about repositories and tags, through the scheduler."""

    async def ask(
        self, registry: str, repository: str, tag: str = "", digest: str = "", *, fresh: bool = False
    ) -> RepositoryAnswer | None:
        """Ask the scheduler; None when there is none, or no answer in time. `fresh`: see AskRepository."""

    def report_tag(self, report: TagReport | TagUnresolved | TagPushed) -> None:
        """Tell the scheduler what happened to a tag just now."""

    def report_repository(self, report: RepositoryReport) -> None:
        """Tell the scheduler what is known of a repository."""
