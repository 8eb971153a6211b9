"""One fetch of a range of pieces from the origin: HTTP body in, whole pieces at their place out.

Bytes are gathered into steps of STEP_BYTES; each step is hashed and written in a worker thread, so the event
loop never waits for the disk. Nothing is written after OriginEnded was emitted.
"""

import asyncio
import contextlib
import errno
import os
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor
from dataclasses import dataclass

from dfdaemon.commands import FetchRange
from dfdaemon.events import Event, OriginAdvanced, OriginEnded, OriginPieceArrived
from dfdaemon.io.origin_answers import OriginBody
from dfdaemon.io.origin_client import OriginClient, OriginSource
from dfdaemon.io.piece_file import PieceFile
from swarm.errors import (
    DamselflyError,
    NotAllowed,
    OriginContent,
    OriginCut,
    OriginError,
    OriginStatus,
    OriginThrottled,
    OriginTimeout,
    OriginUnreachable,
    StoreError,
)
from swarm.messages import OriginFault, PieceRecord
from swarm.piece_digest import PieceHash, piece_digest

STEP_BYTES = 512 * 1024
"""Bytes per visit to a worker thread: large enough that the visit (about 0.1 ms) does not show."""
ADVANCE_INTERVAL_S = 0.5
"""Signs of life between pieces: often enough for the shortest lease time-out."""

Digests = Callable[[], PieceHash]


@dataclass(eq=False)
class WrongSize(DamselflyError):
    """The origin's blob has another size than the task."""

    expected: int
    actual: int

    def __str__(self) -> str:
        return f"the origin's blob has {self.actual} bytes, the swarm was told {self.expected}"


class RangeIgnored(DamselflyError):
    """The origin answered a Range with the whole body."""


class OriginFetch:
    """Runs one FetchRange command. Emits OriginAdvanced, OriginPieceArrived and, last, one OriginEnded."""

    def __init__(
        self,
        command: FetchRange,
        file: PieceFile,
        digest_kind: str,
        emit: Callable[[Event], None],
        workers: Executor,
    ) -> None:
        self.command = command
        self._file = file.retain()
        self._digest: Digests = piece_digest(digest_kind)
        self._emit = emit
        self._workers = workers
        self._limit = command.limit
        self._raised = asyncio.Event()
        self._received = 0
        self._advanced_at = 0.0
        self._writer = _PieceWriter(file, self._digest, command.start)

    def raise_limit(self, limit: int) -> None:
        """Let the fetch go on up to piece `limit` (a ring has room again)."""
        self._limit = limit
        self._raised.set()

    async def run(self, origin: OriginClient, source: OriginSource) -> None:
        """Fetch, write and report; every end but cancellation of the whole daemon is an OriginEnded."""
        ended = OriginEnded(self.command.task, self.command.epoch)
        try:
            await self._transfer(origin, source)
        except asyncio.CancelledError:
            pass  # StopFetch: answered by OriginEnded without a fault
        except (DamselflyError, OSError) as error:
            ended = self._failure(error)
        finally:
            self._file.release()
        self._emit(ended)

    def finished(self, job: "asyncio.Task[None]") -> None:
        """Answer for a run() that was cancelled before its first step: nothing of it was carried out."""
        if job.cancelled():
            self._file.release()
            self._emit(OriginEnded(self.command.task, self.command.epoch))

    async def _transfer(self, origin: OriginClient, source: OriginSource) -> None:
        pieces, command = self._file.pieces, self.command
        whole = command.no_range or (command.start == 0 and command.end == pieces.count)
        start = 0 if whole else pieces.start(command.start)
        end = None if whole else pieces.end(command.end - 1)
        async with contextlib.AsyncExitStack() as closing:
            async with self._in_time():
                body = await closing.enter_async_context(origin.fetch(source, start, end))
            if body.total not in (-1, pieces.size):
                raise WrongSize(pieces.size, body.total)
            if not whole and not body.ranged:
                raise RangeIgnored("the origin ignores Range")
            self._advance(force=True)
            skip = pieces.start(command.start) if whole else 0
            await self._receive(body, skip)

    async def _receive(self, body: OriginBody, skip: int) -> None:
        """Take the body's chunks; discard the first `skip` bytes; stop at the range's end."""
        wanted = self._file.pieces.span_bytes(self.command.start, self.command.end)
        step: list[bytes] = []
        gathered = 0
        try:
            async for chunk in self._in_time_each(body.chunks()):
                if skip:
                    chunk, skip = chunk[skip:], max(0, skip - len(chunk))
                chunk = chunk[: wanted - self._received]
                self._received += len(chunk)
                gathered += len(chunk)
                step.append(chunk)
                self._advance()
                if gathered >= STEP_BYTES or self._received >= wanted:
                    written, step, gathered = step, [], 0
                    await self._write(written)
                if self._received >= wanted:
                    return
        except OriginError:
            await self._write(step)  # what came before the failure was paid for
            raise
        await self._write(step)
        missing = wanted - self._received
        if missing:
            raise OriginCut(f"the origin closed the connection {missing} bytes before the end")

    @contextlib.asynccontextmanager
    async def _in_time(self) -> AsyncIterator[None]:
        """Give up on silence: the scheduler leases the range to another host soon after."""
        try:
            async with asyncio.timeout(self.command.timeout_s):
                yield
        except TimeoutError as error:
            raise OriginTimeout(f"the origin was silent for {self.command.timeout_s:g} s") from error

    async def _in_time_each(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        while True:
            async with self._in_time():
                chunk = await anext(chunks, None)
            if chunk is None:
                return
            yield chunk

    async def _write(self, step: list[bytes]) -> None:
        """Write what was gathered, piece by piece, and report the pieces that it finishes."""
        data = memoryview(b"".join(step))
        while data:
            await self._wait_for_room()
            part = data[: self._writer.missing_bytes]
            data = data[len(part) :]
            job = asyncio.get_running_loop().run_in_executor(self._workers, self._writer.take, part)
            try:
                digest = await asyncio.shield(job)
            except asyncio.CancelledError:
                await asyncio.wait([job])  # nothing may write once the fetch has ended
                raise
            if digest is not None:
                record = PieceRecord(self._writer.index - 1, digest, self.command.epoch)
                self._emit(OriginPieceArrived(self.command.task, self.command.epoch, record))

    async def _wait_for_room(self) -> None:
        while self._limit >= 0 and self._writer.index >= self._limit:
            self._raised.clear()
            await self._raised.wait()

    def _advance(self, force: bool = False) -> None:
        now = asyncio.get_running_loop().time()
        if force or now - self._advanced_at >= ADVANCE_INTERVAL_S:
            self._advanced_at = now
            self._emit(OriginAdvanced(self.command.task, self.command.epoch, self._received))

    def _failure(self, error: DamselflyError | OSError) -> OriginEnded:
        return OriginEnded(
            self.command.task,
            self.command.epoch,
            fault_of(error),
            error.retry_after_s if isinstance(error, OriginThrottled) else 0.0,
            error.actual if isinstance(error, WrongSize) else -1,
            str(error),
        )


class _PieceWriter:
    """Writes a run of pieces in order, each hashed on its way to the disk."""

    def __init__(self, file: PieceFile, digest: Digests, start: int) -> None:
        self._file = file
        self._digest = digest
        self.index = start
        self._done = 0
        self._hash = digest()

    @property
    def missing_bytes(self) -> int:
        """Bytes until the current piece is whole."""
        return self._file.pieces.length(self.index) - self._done

    def take(self, data: memoryview) -> bytes | None:
        """Write the next bytes of the current piece; return its digest when that makes it whole."""
        self._hash.update(data)
        place = self._file.place(self.index) + self._done
        written = 0
        while written < len(data):
            written += os.pwrite(self._file.fd, data[written:], place + written)
        self._done += len(data)
        if self._done < self._file.pieces.length(self.index):
            return None
        digest = self._hash.digest()
        self.index += 1
        self._done = 0
        self._hash = self._digest()
        return digest


_FAULTS: tuple[tuple[type[Exception], OriginFault], ...] = (
    (OriginUnreachable, OriginFault.UNREACHABLE),
    (OriginTimeout, OriginFault.TIMEOUT),
    (OriginCut, OriginFault.CUT),
    (OriginThrottled, OriginFault.THROTTLED),
    (OriginContent, OriginFault.WRONG_CONTENT),
    (WrongSize, OriginFault.SIZE_MISMATCH),
    (RangeIgnored, OriginFault.NO_RANGE),
    (NotAllowed, OriginFault.DENIED),
    (StoreError, OriginFault.ABANDONED),
    (OSError, OriginFault.ABANDONED),
)
_STATUS_FAULTS = {401: OriginFault.DENIED, 403: OriginFault.DENIED, 404: OriginFault.NOT_FOUND}


def fault_of(error: Exception) -> OriginFault:
    """Return what the scheduler needs to know of an error of a fetch."""
    if isinstance(error, OriginStatus):
        return _STATUS_FAULTS.get(error.status, OriginFault.SERVER_ERROR)
    return next((fault for kind, fault in _FAULTS if isinstance(error, kind)), OriginFault.SERVER_ERROR)


def out_of_room(error: OSError) -> bool:
    """Tell whether an error means that the disk is full."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)
