import os
from pathlib import Path

import pytest

from dfdaemon.io.piece_file import READ_BYTES, PieceFile
from swarm.errors import StoreError
from swarm.pieces import PIECE_BYTES_MIN, PieceMap

SIZE = 2 * PIECE_BYTES_MIN + 7


def on_disk(folder: Path, content: bytes) -> PieceFile:
    (folder / "data").write_bytes(content)
    return PieceFile.on_disk(folder / "data", PieceMap.of(len(content)))


def fed(file: PieceFile, index: int) -> bytes:
    got = bytearray()
    file.feed(index, got.extend)
    return bytes(got)


def test_on_disk_each_piece_has_its_place_in_the_blob(tmp_path: Path) -> None:
    file = on_disk(tmp_path, bytes(SIZE))
    assert [file.place(index) for index in range(3)] == [0, PIECE_BYTES_MIN, 2 * PIECE_BYTES_MIN]
    assert file.slots is None
    file.release()


def test_in_a_ring_pieces_take_turns() -> None:
    file = PieceFile.ring(SIZE, 2)
    assert [file.place(index) for index in range(3)] == [0, PIECE_BYTES_MIN, 0]
    assert os.fstat(file.fd).st_size == 2 * PIECE_BYTES_MIN
    file.release()


def test_a_ring_is_no_larger_than_its_blob() -> None:
    file = PieceFile.ring(10, 16)
    assert os.fstat(file.fd).st_size == 10
    file.release()


def test_the_last_one_to_let_go_closes_it(tmp_path: Path) -> None:
    file = on_disk(tmp_path, b"piece")
    fd = file.fd
    assert file.retain() is file
    file.release()
    assert os.pread(fd, 5, 0) == b"piece"
    assert file.references == 1
    file.release()
    assert (file.references, file.fd) == (0, -1)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


def test_a_closed_file_cannot_be_held_again(tmp_path: Path) -> None:
    file = on_disk(tmp_path, b"piece")
    file.release()
    assert not file.try_retain()
    with pytest.raises(AssertionError):
        file.retain()
    with pytest.raises(AssertionError):
        file.release()


def test_a_piece_is_read_from_front_to_back(tmp_path: Path) -> None:
    content = os.urandom(SIZE)
    file = on_disk(tmp_path, content)
    assert PIECE_BYTES_MIN > READ_BYTES, "a piece takes more than one read"
    assert b"".join(fed(file, index) for index in range(3)) == content
    file.release()


def test_a_piece_that_is_not_all_there_is_an_error(tmp_path: Path) -> None:
    file = on_disk(tmp_path, bytes(SIZE))
    os.truncate(tmp_path / "data", PIECE_BYTES_MIN + 5)
    with pytest.raises(StoreError, match=f"piece 1 ends after 5 of {PIECE_BYTES_MIN} bytes"):
        fed(file, 1)
    file.release()


def test_a_piece_moves_from_scratch_to_its_place(tmp_path: Path) -> None:
    target, scratch = on_disk(tmp_path, bytes(SIZE)), PieceFile.ring(SIZE, 1)
    os.pwrite(scratch.fd, b"1234567", scratch.place(2))
    scratch.copy_piece(2, target)
    assert (tmp_path / "data").read_bytes() == bytes(2 * PIECE_BYTES_MIN) + b"1234567"
    scratch.release()
    target.release()


def test_a_piece_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(b"old")
    target = PieceFile(os.open(tmp_path / "data", os.O_RDONLY), PieceMap.of(3))
    scratch = PieceFile.ring(3, 1)
    with pytest.raises(StoreError, match="piece 0 cannot be written"):
        scratch.copy_piece(0, target)
    scratch.release()
    target.release()
