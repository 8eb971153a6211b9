"""A piece from a parent's socket to its place, step by step."""

import errno
import os
import socket

import pytest

from dfdaemon.events import PeerFault
from dfdaemon.io.piece_file import PieceFile
from dfdaemon.io.piece_transfer import PieceTransfer, Received, write_all
from dfdaemon.io.receiver import Step
from dfdaemon.io.token_bucket import TokenBucket
from swarm.piece_digest import piece_digest
from swarm.pieces import MIB
from tests.support.peers import Blob, read_piece
from tests.support.system import INTERRUPTIONS, ScriptedSocket, full_disk, wires

BLOB = Blob(2 * MIB + 5)
LAST = BLOB.pieces.count - 1
ROOM = memoryview(bytearray(512 * 1024))


def transfer_of(
    sock: socket.socket | ScriptedSocket, file: PieceFile, index: int = LAST, limit: TokenBucket | None = None
) -> PieceTransfer:
    return PieceTransfer(sock, file, index, piece_digest("xxh3")(), 5.0, limit)  # type: ignore[arg-type]


def test_short_reads_and_interruptions_make_a_whole_piece() -> None:
    file = BLOB.empty_file()
    with wires() as (parent, child):
        parent.sendall(BLOB.piece(LAST))
        transfer = transfer_of(ScriptedSocket(child, [1, *INTERRUPTIONS, 2]), file)
        found = [transfer.step(ROOM) for _ in range(4)]
        assert found == [Step.READ, Step.WAIT, Step.WAIT, Step.READ]
        last = transfer.step(ROOM)
        assert isinstance(last, Received)
        assert last.digest == BLOB.records[LAST].digest
        assert read_piece(file, LAST) == BLOB.piece(LAST)


@pytest.mark.parametrize(
    "read", [0, ConnectionResetError(errno.ECONNRESET, "reset"), OSError(errno.ETIMEDOUT, "x")]
)
def test_a_parent_that_is_gone(read: int | OSError) -> None:
    with wires() as (parent, child):
        parent.sendall(BLOB.piece(LAST))
        transfer = transfer_of(ScriptedSocket(child, [1, read]), BLOB.empty_file())
        assert transfer.step(ROOM) is Step.READ
        assert transfer.step(ROOM) is PeerFault.CLOSED


def test_a_full_disk_is_our_fault() -> None:
    with wires() as (parent, child):
        parent.sendall(BLOB.piece(LAST))
        assert transfer_of(child, full_disk(BLOB.pieces)).step(ROOM) is PeerFault.DISK


def test_what_was_read_is_taken_off_what_the_limit_granted() -> None:
    with wires() as (parent, child):
        parent.sendall(BLOB.piece(LAST))
        transfer = transfer_of(child, BLOB.empty_file(), limit=TokenBucket(1000))
        transfer.granted = 100
        transfer.step(ROOM)
        assert transfer.granted == 100 - len(BLOB.piece(LAST))


def test_all_is_written_at_its_place() -> None:
    file = BLOB.empty_file()
    write_all(file.fd, memoryview(b"abc"), 5)
    assert os.pread(file.fd, 4, 4) == b"\0abc"
