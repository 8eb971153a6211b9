"""Blobs without a swarm: each is fetched from the origin once, in order, into a file; readers follow it."""

import asyncio
import os
from pathlib import Path

from dfdaemon.io.blob_store import StoredBlob
from dfdaemon.io.blobs import Span
from dfdaemon.io.origin_client import OriginClient, OriginSource
from dfdaemon.io.piece_file import PieceFile
from swarm.errors import DamselflyError, OriginCut
from swarm.ids import TaskId
from swarm.layers import Layer
from swarm.pieces import PieceMap
from swarm.repositories import RepositoryAnswer, RepositoryReport, TagPushed, TagReport, TagUnresolved


class PlainBlob:
    """One blob on its way from the origin. `readable`: bytes that readers may have."""

    def __init__(self, size: int, media_type: str, file: PieceFile) -> None:
        self.size = size
        self.media_type = media_type
        self.file = file
        self.readable = 0
        self.failure: DamselflyError | None = None
        self.changed = asyncio.Condition()
        self.fetching: asyncio.Task[None] | None = None

    async def fetch(self, origin: OriginClient, source: OriginSource) -> None:
        """Take the whole body."""
        at = 0
        try:
            async with origin.fetch(source, 0, None) as body:
                async for chunk in body.chunks():
                    os.pwrite(self.file.fd, chunk, at)
                    at += len(chunk)
                    await self.advance(at)
            if at < self.size:
                raise OriginCut("the origin's body ended early")
        except DamselflyError as error:
            await self.fail(error)

    async def advance(self, readable: int) -> None:
        """Let readers have the bytes before `readable`."""
        async with self.changed:
            self.readable = readable
            self.changed.notify_all()

    async def fail(self, failure: DamselflyError) -> None:
        """End all readers."""
        async with self.changed:
            self.failure = failure
            self.changed.notify_all()


class PlainReader:
    """BlobReader of dfdaemon/io/blobs.py."""

    def __init__(self, blobs: "PlainBlobs", blob: PlainBlob, start: int, end: int) -> None:
        self.blob = blob
        self.start = start
        self.end = end
        self.advanced = start
        self.closed = False
        self._moved = asyncio.Event()
        self._blobs = blobs
        self._file = blob.file.retain()

    async def span(self, offset: int) -> Span:
        """Wait for the byte at `offset`."""
        assert self.start <= offset < self.end, f"{offset} is not in [{self.start}, {self.end})"
        async with self.blob.changed:
            await self.blob.changed.wait_for(lambda: self.blob.readable > offset or self.blob.failure)
        if self.blob.readable <= offset:
            assert self.blob.failure is not None
            raise self.blob.failure
        return Span(self._file, offset, min(self.end, self.blob.readable) - offset)

    def advance(self, offset: int) -> None:
        """Everything before `offset` was sent."""
        assert offset > self.advanced, "a reader only goes on"
        self.advanced = offset
        self._moved.set()

    async def reached(self, offset: int) -> None:
        """Wait until everything before `offset` was sent."""
        while self.advanced < offset:
            self._moved.clear()
            await self._moved.wait()

    def close(self) -> None:
        """End the read."""
        if not self.closed:
            self.closed = True
            self._file.release()
            self._blobs.open_readers -= 1


class PlainBlobs:
    """Blobs of dfdaemon/io/blobs.py. With `fetches` False nothing arrives but what a test lets arrive."""

    def __init__(self, origin: OriginClient, directory: Path, *, ring: bool = False) -> None:
        self.blobs: dict[TaskId, PlainBlob] = {}
        self.sources: list[OriginSource] = []
        self.layers: list[Layer | None] = []
        self.readers: list[PlainReader] = []
        self.open_readers = 0
        self.opened = asyncio.Event()
        self.fetches = True
        self._origin = origin
        self._directory = directory
        self._ring = ring

    async def open(
        self,
        source: OriginSource,
        size: int,
        media_type: str,
        start: int,
        end: int,
        layer: Layer | None = None,
    ) -> PlainReader:
        """Start to read, and to fetch if nobody did."""
        self.sources.append(source)
        self.layers.append(layer)
        task = source.task
        blob = self.blobs.get(task)
        if blob is None or blob.failure is not None:
            blob = self.blobs[task] = PlainBlob(size, media_type, self._file(source, size))
            if self.fetches:
                blob.fetching = asyncio.create_task(blob.fetch(self._origin, source))
        self.open_readers += 1
        self.opened.set()
        self.readers.append(PlainReader(self, blob, start, end))
        return self.readers[-1]

    def stored(self, task: TaskId) -> StoredBlob | None:
        """Return what is whole."""
        blob = self.blobs.get(task)
        if blob is None or blob.readable < blob.size:
            return None
        return StoredBlob(task, blob.size, (), True, blob.media_type)

    def broken(self, task: TaskId, reason: str) -> None:
        """Forget a blob whose file cannot be read."""
        self.blobs.pop(task, None)

    async def put(self, source: OriginSource, content: bytes) -> PlainBlob:
        """Hold a blob that nobody asked for yet."""
        blob = PlainBlob(len(content), "", self._file(source, len(content)))
        os.pwrite(blob.file.fd, content, 0)
        self.blobs[source.task] = blob
        await blob.advance(len(content))
        return blob

    def _file(self, source: OriginSource, size: int) -> PieceFile:
        pieces = PieceMap.of(size)
        if self._ring:
            return PieceFile.ring(size, pieces.count)
        path = self._directory / source.task
        with path.open("wb") as file:
            file.truncate(size)
        return PieceFile.on_disk(path, pieces)

    async def close(self) -> None:
        """End the fetches and close the files."""
        for blob in self.blobs.values():
            if blob.fetching is not None:
                blob.fetching.cancel()
                await asyncio.gather(blob.fetching, return_exceptions=True)
            blob.file.release()


class PlainCluster:
    """Cluster of dfdaemon/io/blobs.py: answers what a test says, remembers what it is told."""

    def __init__(self) -> None:
        self.answers: dict[tuple[str, str, str, str], RepositoryAnswer] = {}
        self.questions: list[tuple[str, str, str, str]] = []
        self.fresh_answers: dict[tuple[str, str, str], RepositoryAnswer] = {}
        self.fresh_questions: list[tuple[str, str, str]] = []
        self.tags: list[TagReport] = []
        self.moved: list[TagUnresolved | TagPushed] = []
        self.repositories: list[RepositoryReport] = []

    async def ask(
        self, registry: str, repository: str, tag: str = "", digest: str = "", *, fresh: bool = False
    ) -> RepositoryAnswer | None:
        """Answer as the test said."""
        if tag and fresh:
            self.fresh_questions.append((registry, repository, tag))
            return self.fresh_answers.get((registry, repository, tag))
        self.questions.append((registry, repository, tag, digest))
        return self.answers.get((registry, repository, tag, digest))

    def report_tag(self, report: TagReport | TagUnresolved | TagPushed) -> None:
        """Remember it."""
        if isinstance(report, TagReport):
            self.tags.append(report)
        else:
            self.moved.append(report)

    def report_repository(self, report: RepositoryReport) -> None:
        """Remember it."""
        self.repositories.append(report)
