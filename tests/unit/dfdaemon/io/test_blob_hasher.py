import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

import pytest

from dfdaemon.io import blob_hasher
from dfdaemon.io.blob_hasher import BlobHasher, hashing_thread
from dfdaemon.io.piece_file import PieceFile
from swarm.digest import Digest
from swarm.errors import StoreError
from swarm.pieces import PIECE_BYTES_MIN, PieceMap

CONTENT = os.urandom(3 * PIECE_BYTES_MIN + 5)
TIMEOUT_S = 30.0


class Turns(Executor):
    """A thread that does its work when it is told to."""

    def __init__(self) -> None:
        self.waiting: deque[Callable[[], Any]] = deque()
        self.is_shut = False

    def submit(self, work: Callable[..., Any], /, *arguments: Any, **named: Any) -> Future[Any]:
        if self.is_shut:
            raise RuntimeError("cannot schedule new futures after shutdown")
        self.waiting.append(lambda: work(*arguments, **named))
        return Future()

    def one_turn(self) -> None:
        self.waiting.popleft()()

    def all_turns(self) -> None:
        while self.waiting:
            self.one_turn()


class Blob:
    """A blob on disk, with the digest that it has or should have."""

    def __init__(self, path: Path, content: bytes = CONTENT, algorithm: str = "sha256") -> None:
        path.write_bytes(content)
        self.digest = Digest.of(content, algorithm)
        self.file = PieceFile.on_disk(path, PieceMap.of(len(content)))

    def held(self) -> PieceFile:
        return self.file.retain()


@pytest.fixture
def turns() -> Turns:
    return Turns()


@pytest.fixture
def blob(tmp_path: Path) -> Blob:
    return Blob(tmp_path / "data")


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_a_blob_that_arrived_bit_by_bit_has_its_digest(tmp_path: Path, turns: Turns, algorithm: str) -> None:
    blob, hasher = Blob(tmp_path / "data", algorithm=algorithm), BlobHasher(turns)
    for end in (1, 3):
        hasher.advance(blob.digest.task, blob.digest, end, blob.held())
        turns.all_turns()
    assert hasher.reached(blob.digest.task) == 3
    answer = hasher.finish(blob.digest.task, blob.digest, blob.held())
    assert not answer.done()
    turns.all_turns()
    assert answer.result(0) is True
    assert blob.file.references == 1, "it holds no file that it does not read"


def test_a_blob_has_one_turn_at_a_time(blob: Blob, turns: Turns) -> None:
    hasher = BlobHasher(turns)
    hasher.advance(blob.digest.task, blob.digest, 1, blob.held())
    hasher.advance(blob.digest.task, blob.digest, 2, blob.held())
    assert (len(turns.waiting), blob.file.references) == (1, 2)
    turns.all_turns()
    hasher.advance(blob.digest.task, blob.digest, 2, blob.held())
    assert (len(turns.waiting), blob.file.references) == (0, 1)


def test_what_was_hashed_before_is_not_read_again(tmp_path: Path, turns: Turns) -> None:
    blob, hasher = Blob(tmp_path / "data"), BlobHasher(turns)
    hasher.advance(blob.digest.task, blob.digest, 3, blob.held())
    turns.all_turns()
    (tmp_path / "data").write_bytes(bytes(3 * PIECE_BYTES_MIN) + CONTENT[-5:])
    answer = hasher.finish(blob.digest.task, blob.digest, blob.held())
    turns.all_turns()
    assert answer.result(0) is True


def test_other_bytes_have_another_digest(tmp_path: Path, turns: Turns) -> None:
    blob, hasher = Blob(tmp_path / "data"), BlobHasher(turns)
    with open(tmp_path / "data", "r+b") as data:
        data.write(b"wrong")
    answer = hasher.finish(blob.digest.task, blob.digest, blob.held())
    turns.all_turns()
    assert answer.result(0) is False


def test_a_long_blob_lets_others_have_a_turn(
    tmp_path: Path, turns: Turns, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blob_hasher, "TURN_BYTES", PIECE_BYTES_MIN)
    long, short = Blob(tmp_path / "long"), Blob(tmp_path / "short", b"short")
    hasher = BlobHasher(turns)
    answers = [hasher.finish(blob.digest.task, blob.digest, blob.held()) for blob in (long, short)]
    turns.one_turn()
    turns.one_turn()
    assert [answer.done() for answer in answers] == [False, True]
    turns.all_turns()
    assert answers[0].result(0) is True


def test_an_empty_blob_needs_no_turn(tmp_path: Path, turns: Turns) -> None:
    blob = Blob(tmp_path / "data", b"")
    assert BlobHasher(turns).finish(blob.digest.task, blob.digest, blob.held()).result(0) is True
    assert blob.file.references == 1


def test_who_waits_hears_that_the_blob_changed(blob: Blob, turns: Turns) -> None:
    hasher = BlobHasher(turns)
    answer = hasher.finish(blob.digest.task, blob.digest, blob.held())
    hasher.forget(blob.digest.task)
    with pytest.raises(StoreError, match="changed while its digest was computed"):
        answer.result(0)
    turns.all_turns()
    assert blob.file.references == 1
    assert hasher.reached(blob.digest.task) == 0


def test_bytes_that_cannot_be_read_are_an_error(tmp_path: Path, turns: Turns) -> None:
    blob, hasher = Blob(tmp_path / "data"), BlobHasher(turns)
    os.truncate(tmp_path / "data", PIECE_BYTES_MIN)
    answer = hasher.finish(blob.digest.task, blob.digest, blob.held())
    turns.all_turns()
    with pytest.raises(StoreError, match="piece 1 ends after 0"):
        answer.result(0)
    with pytest.raises(StoreError, match="changed"):
        hasher.finish(blob.digest.task, blob.digest, blob.held()).result(0)
    assert blob.file.references == 1


def test_nobody_waits_any_more(blob: Blob, turns: Turns) -> None:
    hasher = BlobHasher(turns)
    answer = hasher.finish(blob.digest.task, blob.digest, blob.held())
    answer.cancel()
    turns.all_turns()
    assert hasher.finish(blob.digest.task, blob.digest, blob.held()).result(0) is True


def test_after_the_thread_was_shut_down_who_waits_gets_an_error(blob: Blob, turns: Turns) -> None:
    hasher = BlobHasher(turns)
    turns.is_shut = True
    answer = hasher.finish(blob.digest.task, blob.digest, blob.held())
    with pytest.raises(StoreError):
        answer.result(0)
    assert blob.file.references == 1


def test_close_stops_all(blob: Blob, turns: Turns) -> None:
    hasher = BlobHasher(turns)
    hasher.advance(blob.digest.task, blob.digest, 2, blob.held())
    hasher.close()
    turns.all_turns()
    assert (blob.file.references, hasher.reached(blob.digest.task)) == (1, 0)


def test_the_real_thread_yields_to_others(blob: Blob) -> None:
    thread = hashing_thread()
    usual = os.getpriority(os.PRIO_PROCESS, 0)
    niceness = thread.submit(lambda: os.getpriority(os.PRIO_PROCESS, 0)).result(TIMEOUT_S)
    assert niceness == min(19, blob_hasher.NICENESS)
    assert os.getpriority(os.PRIO_PROCESS, 0) == usual
    assert BlobHasher(thread).finish(blob.digest.task, blob.digest, blob.held()).result(TIMEOUT_S) is True
    thread.shutdown()
