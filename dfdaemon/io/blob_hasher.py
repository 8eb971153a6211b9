"""Computes whole-blob digests behind a download, so that little is left to do when its last piece arrives."""

import os
import threading
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import suppress

from dfdaemon.io.piece_file import PieceFile
from swarm.digest import Digest
from swarm.errors import StoreError
from swarm.ids import TaskId

NICENESS = 5
"""The hashing thread yields to the threads that move bytes, but still gets a third of a busy core."""
TURN_BYTES = 32 << 20
"""Bytes hashed of one blob before the next has its turn: 25 ms of sha256."""


def hashing_thread() -> Executor:
    """Return the one thread that all blobs share; sha256 at full speed takes a whole core."""
    return ThreadPoolExecutor(1, "blob-hash", initializer=_yield_to_others)


def _yield_to_others() -> None:
    with suppress(OSError):  # Linux: a thread has its own niceness
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)


class Follower:
    """The digest of one blob in the making: pieces before `next_piece` are in it, those before `end` may be read."""

    def __init__(self, digest: Digest) -> None:
        self.digest = digest
        self.end = 0
        self.next_piece = 0
        self._hash = digest.hasher()
        self._lock = threading.Lock()
        self._running = False
        self._stopped = False
        self._waiting: list[Future[bool]] = []

    def extend(self, end: int, file: PieceFile, thread: Executor) -> None:
        """Pieces before `end` can be read; go on in the thread unless it does already. Takes over a reference."""
        with self._lock:
            self.end = max(self.end, end)
            if self._running or self._stopped or self.next_piece >= self.end:
                file.release()
                return
            self._running = True
        self._submit(file, thread)

    def finished(self, count: int) -> Future[bool]:
        """Return the answer to whether all `count` pieces have the blob's digest; StoreError if that is not told."""
        answer: Future[bool] = Future()
        with self._lock:
            if self._stopped:
                answer.set_exception(self._changed())
            elif self.next_piece >= count:
                answer.set_result(self._matches())
            else:
                self._waiting.append(answer)
        return answer

    def stop(self, error: StoreError | None = None) -> None:
        """Read no further; who waits gets an error."""
        with self._lock:
            self._stopped = True
            waiting, self._waiting = self._waiting, []
        for answer in waiting:
            if answer.set_running_or_notify_cancel():
                answer.set_exception(error or self._changed())

    def _changed(self) -> StoreError:
        return StoreError(f"{self.digest} changed while its digest was computed")

    def _matches(self) -> bool:
        return self._hash.hexdigest() == self.digest.hex

    def _submit(self, file: PieceFile, thread: Executor) -> None:
        try:
            thread.submit(self._take_turn, file, thread)
        except RuntimeError:  # the thread was shut down
            file.release()
            self.stop()

    def _take_turn(self, file: PieceFile, thread: Executor) -> None:
        left = TURN_BYTES
        try:
            while left > 0 and self.next_piece < self.end and not self._stopped:
                file.feed(self.next_piece, self._hash.update)
                left -= file.pieces.length(self.next_piece)
                self.next_piece += 1
        except StoreError as error:
            self.stop(error)
        if self._rest(file.pieces.count):
            file.release()
        else:
            self._submit(file, thread)

    def _rest(self, count: int) -> bool:
        """Tell whether nothing is left to read now, and answer those who wait for the end."""
        with self._lock:
            if self.next_piece < self.end and not self._stopped:
                return False
            self._running = False
            if self.next_piece < count:
                return True
            waiting, self._waiting = self._waiting, []
        for answer in waiting:
            if answer.set_running_or_notify_cancel():
                answer.set_result(self._matches())
        return True


class BlobHasher:
    """The followers of all blobs that are being downloaded. Called by the loop's thread only."""

    def __init__(self, thread: Executor) -> None:
        self._thread = thread
        self._followers: dict[TaskId, Follower] = {}

    def advance(self, task: TaskId, digest: Digest, end: int, file: PieceFile) -> None:
        """Pieces before `end` are recorded: hash them some time. Takes over a reference to the file."""
        self._follower(task, digest).extend(end, file, self._thread)

    def reached(self, task: TaskId) -> int:
        """Return the number of pieces that may already be in the digest."""
        follower = self._followers.get(task)
        return 0 if follower is None else follower.end

    def finish(self, task: TaskId, digest: Digest, file: PieceFile) -> Future[bool]:
        """Hash the rest; answer whether the blob has this digest. Takes over a reference to the file."""
        follower = self._follower(task, digest)
        answer = follower.finished(file.pieces.count)
        follower.extend(file.pieces.count, file, self._thread)
        return answer

    def forget(self, task: TaskId) -> None:
        """The blob changed, or is done: what was computed is of no use any more."""
        follower = self._followers.pop(task, None)
        if follower is not None:
            follower.stop()

    def close(self) -> None:
        """Stop all."""
        for task in list(self._followers):
            self.forget(task)

    def _follower(self, task: TaskId, digest: Digest) -> Follower:
        follower = self._followers.get(task)
        if follower is None:
            follower = self._followers[task] = Follower(digest)
        return follower
