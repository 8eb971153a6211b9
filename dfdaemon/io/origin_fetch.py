"""One fetch of a range of pieces from the origin: HTTP body in, whole pieces at their place out.

A receiver's thread takes the body from its socket to its places. Nothing is written after OriginEnded was emitted.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

from dfdaemon.commands import FetchRange
from dfdaemon.events import Event, OriginAdvanced, OriginEnded, OriginPieceArrived
from dfdaemon.io.body_transfer import BodyTransfer, Outcome, PieceRun
from dfdaemon.io.origin_answers import WrongSize
from dfdaemon.io.origin_client import OriginClient, OriginSource
from dfdaemon.io.origin_connections import Download
from dfdaemon.io.piece_file import PieceFile
from dfdaemon.io.receiver import ReceiverPool
from swarm.errors import (
    DamselflyError,
    NotAllowed,
    OriginContent,
    OriginCut,
    OriginStatus,
    OriginThrottled,
    OriginTimeout,
    OriginUnreachable,
    OwnLimit,
    RedirectRefused,
    StoreError,
)
from swarm.messages import OriginFault, PieceRecord

ADVANCE_INTERVAL_S = 0.5
"""Signs of life between pieces: often enough for the shortest lease time-out."""


class RangeIgnored(DamselflyError):
    """The origin answered a Range with the whole body."""


class OriginFetch:
    """Runs one FetchRange command. Emits OriginAdvanced, OriginPieceArrived and, last, one OriginEnded."""

    def __init__(
        self, command: FetchRange, file: PieceFile, emit: Callable[[Event], None], receivers: ReceiverPool
    ) -> None:
        self.command = command
        self._file = file.retain()
        self._emit = emit
        self._receivers = receivers
        pieces = file.pieces
        self._whole = command.no_range or (command.start == 0 and command.end == pieces.count)
        limit = command.limit if command.limit >= 0 else command.end
        skip = pieces.start(command.start) if self._whole else 0
        self._run = PieceRun(file, receivers.make_hash, command.start, command.end, limit, skip)
        self._transfer: BodyTransfer | None = None

    @property
    def limit(self) -> int:
        """The first piece that finds no room yet, as last raised."""
        return self._run.limit

    def raise_limit(self, limit: int) -> None:
        """Let the fetch go on up to piece `limit` (a ring has room again)."""
        self._run.limit = limit
        if self._transfer is not None:
            self._transfer.resume()

    async def run(self, origin: OriginClient, source: OriginSource) -> None:
        """Fetch, write and report; every end but cancellation of the whole daemon is an OriginEnded."""
        ended = OriginEnded(self.command.task, self.command.epoch)
        try:
            await self._fetch(origin, source)
        except asyncio.CancelledError:
            pass  # StopFetch: answered by OriginEnded without a fault
        except (DamselflyError, OSError) as error:
            ended = self._failure(error)
        except Exception as error:
            ended = self._fault_of_ours(error)
        finally:
            self._file.release()
        self._emit(ended)

    def finished(self, job: "asyncio.Task[None]") -> None:
        """Answer for a run() that was cancelled before its first step: nothing of it was carried out."""
        if job.cancelled():
            self._file.release()
            self._emit(OriginEnded(self.command.task, self.command.epoch))

    async def _fetch(self, origin: OriginClient, source: OriginSource) -> None:
        pieces, command = self._file.pieces, self.command
        start = 0 if self._whole else pieces.start(command.start)
        end = None if self._whole else pieces.end(command.end - 1)
        async with contextlib.AsyncExitStack() as closing:
            async with self._in_time():
                body = await closing.enter_async_context(origin.fetch(source, start, end))
            if body.total not in (-1, pieces.size):
                raise WrongSize(pieces.size, body.total)
            if not self._whole and not body.ranged:
                raise RangeIgnored("the origin ignores Range")
            if body.download.released:
                raise OriginContent(
                    f"the origin says that a range within its {body.total} bytes lies beyond them"
                )
            self._emit(OriginAdvanced(command.task, command.epoch, 0))
            await self._receive(body.download)

    async def _receive(self, download: Download) -> None:
        """Have a receiver's thread take the body; until that has let go of it, nothing else touches it."""
        silence_s = min(self.command.timeout_s, download.terms.silence_s)
        self._transfer = transfer = BodyTransfer(download, self._run, silence_s, self._arrived)
        over: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._receivers.start(transfer, over.set_result)
        cancelled: asyncio.CancelledError | None = None
        told = 0
        while not over.done():
            try:
                await asyncio.wait([over], timeout=ADVANCE_INTERVAL_S)
            except asyncio.CancelledError as error:
                cancelled = error
                transfer.cancel()
            if told < self._run.received_bytes:
                told = self._run.received_bytes
                self._emit(OriginAdvanced(self.command.task, self.command.epoch, told))
        failure = cancelled or over.result()
        if failure is not None:
            raise failure

    @contextlib.asynccontextmanager
    async def _in_time(self) -> AsyncIterator[None]:
        """Give up on silence: the scheduler leases the range to another host soon after."""
        try:
            async with asyncio.timeout(self.command.timeout_s):
                yield
        except TimeoutError as error:
            raise OriginTimeout(f"the origin was silent for {self.command.timeout_s:g} s") from error

    def _arrived(self, index: int, digest: bytes) -> None:
        record = PieceRecord(index, digest, self.command.epoch)
        self._emit(OriginPieceArrived(self.command.task, self.command.epoch, record))

    def _failure(self, error: DamselflyError | OSError) -> OriginEnded:
        return OriginEnded(
            self.command.task,
            self.command.epoch,
            fault_of(error),
            error.retry_after_s if isinstance(error, OriginThrottled | OwnLimit) else 0.0,
            error.actual if isinstance(error, WrongSize) else -1,
            str(error),
        )

    def _fault_of_ours(self, error: Exception) -> OriginEnded:
        """Report what nobody expected: without an end its lease would never end, and nothing else would be fetched."""
        message = "a fetch from the origin failed unexpectedly; please report this"
        asyncio.get_running_loop().call_exception_handler({"message": message, "exception": error})
        detail = f"a fault of the daemon ({type(error).__name__}); its log has it"
        return OriginEnded(self.command.task, self.command.epoch, OriginFault.ABANDONED, detail=detail)


_FAULTS: tuple[tuple[type[Exception], OriginFault], ...] = (
    (OriginUnreachable, OriginFault.UNREACHABLE),
    (OriginTimeout, OriginFault.TIMEOUT),
    (OriginCut, OriginFault.CUT),
    (OriginThrottled, OriginFault.THROTTLED),
    (OwnLimit, OriginFault.THROTTLED),
    (OriginContent, OriginFault.WRONG_CONTENT),
    (WrongSize, OriginFault.SIZE_MISMATCH),
    (RangeIgnored, OriginFault.NO_RANGE),
    (NotAllowed, OriginFault.DENIED),
    (RedirectRefused, OriginFault.DENIED),
    (StoreError, OriginFault.ABANDONED),
    (OSError, OriginFault.ABANDONED),
)
_STATUS_FAULTS = {401: OriginFault.DENIED, 403: OriginFault.DENIED, 404: OriginFault.NOT_FOUND}


def fault_of(error: Exception) -> OriginFault:
    """Return what the scheduler needs to know of an error of a fetch."""
    if isinstance(error, OriginStatus):
        return _STATUS_FAULTS.get(error.status, OriginFault.SERVER_ERROR)
    return next((fault for kind, fault in _FAULTS if isinstance(error, kind)), OriginFault.SERVER_ERROR)
