import json
import os
from pathlib import Path

import pytest

from dfdaemon.io.journal import Header, Journal, State, begin_state, read_state, write_state
from swarm.digest import Digest
from swarm.errors import StoreBroken
from swarm.ids import Epoch
from swarm.messages import PieceRecord
from swarm.pieces import PIECE_BYTES_MIN, PieceMap

PIECES = PieceMap.of(3 * PIECE_BYTES_MIN)
HEADER = Header(Digest.of(b"layer"), PIECES, "xxh3", "application/vnd.oci.image.layer.v1.tar+gzip")
RECORDS = tuple(PieceRecord(index, bytes([index]) * 16, Epoch(2**40 + index)) for index in range(3))
RECORD_BYTES = 32


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state"


def append(path: Path, *records: PieceRecord, complete: bool = False) -> None:
    journal = Journal(path, "xxh3")
    for record in records:
        journal.append(record)
    if complete:
        journal.append_complete()
    journal.close()


@pytest.mark.parametrize("complete", [False, True])
def test_a_state_reads_as_it_was_written(path: Path, complete: bool) -> None:
    write_state(path, HEADER, RECORDS, complete)
    assert read_state(path) == State(HEADER, RECORDS, complete, torn=False)
    assert [entry.name for entry in path.parent.iterdir()] == ["state"]


def test_longer_digests_have_longer_records(path: Path) -> None:
    header = Header(HEADER.digest, PIECES, "blake3")
    record = PieceRecord(1, bytes(range(32)), Epoch(0))
    write_state(path, header, (record,), complete=False)
    assert read_state(path).records == (record,)


def test_appended_records_are_there(path: Path) -> None:
    write_state(path, HEADER, (), complete=False)
    append(path, RECORDS[2], RECORDS[0])
    assert read_state(path).records == (RECORDS[0], RECORDS[2])
    append(path, RECORDS[1], complete=True)
    assert read_state(path) == State(HEADER, RECORDS, complete=True, torn=False)


def test_a_new_state_takes_all_records_at_once(path: Path) -> None:
    begin_state(path, HEADER)
    assert read_state(path) == State(HEADER, (), complete=False, torn=False)
    journal = Journal(path, "xxh3")
    journal.append_all(RECORDS)
    journal.close()
    assert read_state(path) == State(HEADER, RECORDS, complete=True, torn=False)


def test_a_later_record_of_a_piece_replaces_an_earlier_one(path: Path) -> None:
    later = PieceRecord(1, b"x" * 16, Epoch(9))
    write_state(path, HEADER, RECORDS, complete=False)
    append(path, later)
    assert read_state(path).records == (RECORDS[0], later, RECORDS[2])


@pytest.mark.parametrize("cut", range(1, RECORD_BYTES))
def test_a_torn_end_costs_the_torn_record_alone(path: Path, cut: int) -> None:
    write_state(path, HEADER, RECORDS, complete=False)
    os.truncate(path, path.stat().st_size - cut)
    assert read_state(path) == State(HEADER, RECORDS[:2], complete=False, torn=True)


@pytest.mark.parametrize("place", range(RECORD_BYTES))
def test_a_flipped_bit_costs_its_record_alone(path: Path, place: int) -> None:
    write_state(path, HEADER, RECORDS, complete=True)
    data = bytearray(path.read_bytes())
    data[len(HEADER.encode()) + RECORD_BYTES + place] ^= 0x10
    path.write_bytes(data)
    assert read_state(path) == State(HEADER, (RECORDS[0], RECORDS[2]), complete=False, torn=True)


def test_complete_without_all_pieces_is_not_complete(path: Path) -> None:
    write_state(path, HEADER, RECORDS[:2], complete=True)
    assert not read_state(path).complete


def test_a_record_of_a_piece_beyond_the_blob_is_left_out(path: Path) -> None:
    write_state(path, HEADER, (*RECORDS, PieceRecord(3, bytes(16), Epoch(1))), complete=False)
    assert read_state(path).records == RECORDS


def broken(**changes: object) -> bytes:
    return json.dumps({**json.loads(HEADER.encode()), **changes}).encode() + b"\n"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no line",
        b"\n",
        b"[]\n",
        b"{}\n",
        b"null\n",
        b"\xff\xfe\n",
        b"9" * 5000 + b"\n",
        broken(version=2),
        broken(version=None),
        broken(size=-1),
        broken(size="3"),
        broken(size=True),
        broken(size=1 << 60),
        broken(size=PIECES.size * 1000),
        broken(piece_bytes=1),
        broken(piece_digest="md5"),
        broken(piece_digest=[]),
        broken(digest="sha256:../../x"),
        broken(digest=5),
        broken(media_type=7),
    ],
)
def test_what_is_no_header_is_refused(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    with pytest.raises(StoreBroken):
        read_state(path)


def test_a_media_type_cannot_make_a_header_that_cannot_be_read(path: Path) -> None:
    write_state(path, Header(HEADER.digest, PIECES, "xxh3", "\n\u2603" * 10_000), (), complete=False)
    assert read_state(path).header.media_type == ("\n\u2603" * 10_000)[:255]
