"""The bounds of what the Attach stream may carry. What is allowed survives: tests/property/test_attach_codec.py."""

import math
from collections.abc import Callable

import pytest

from swarm.ids import Epoch
from swarm.io import attach_fields as fields
from swarm.io.attach_fields import PIECES_MAX, Malformed
from swarm.messages import OriginFault, PieceRecord, Priority, Role
from swarm.pieces import BLOB_BYTES_MAX, INLINE_BYTES_MAX, PieceMap
from swarm.rpc import attach_pb2 as pb


def columns(indexes: list[int], digests: list[bytes], epochs: list[int]) -> pb.Records:
    return pb.Records(indexes=indexes, digests=digests, epochs=epochs)


BREACHES: dict[str, Callable[[], object]] = {
    "a bitmap longer than the blob": lambda: fields.read_bits(b"\0\0", 8),
    "a bit beyond the blob": lambda: fields.read_bits(b"\x10", 4),
    "a bitmap beyond the largest blob": lambda: fields.read_bits(bytes(PIECES_MAX // 8 + 1)),
    "a task that is no digest": lambda: fields.read_task("sha256:xyz"),
    "an empty task": lambda: fields.read_task(""),
    "an unknown algorithm": lambda: fields.read_task("md5:" + "0" * 32),
    "an empty host": lambda: fields.read_host(""),
    "a host with a space": lambda: fields.read_host("a b"),
    "a host with a line end": lambda: fields.read_host("a\n"),
    "a long host": lambda: fields.read_host("x" * 256),
    "a long text": lambda: fields.read_text("x" * 256),
    "a text with an escape": lambda: fields.read_text("\x1b[31m"),
    "a blob that is too large": lambda: fields.read_size(BLOB_BYTES_MAX + 1),
    "a negative size": lambda: fields.read_size(-1),
    "a size below unknown": lambda: fields.read_size_or_unknown(-2),
    "a piece beyond the largest blob": lambda: fields.read_index(PIECES_MAX + 1),
    "a rate beyond any link": lambda: fields.read_rate(1 << 60),
    "not a number": lambda: fields.read_seconds(math.nan),
    "endless time": lambda: fields.read_seconds(math.inf),
    "negative time": lambda: fields.read_seconds(-0.1),
    "a digest of another length": lambda: fields.read_digest(bytes(20)),
    "an inline blob that is too large": lambda: fields.read_content(bytes(INLINE_BYTES_MAX + 1)),
    "a list that is too long": lambda: fields.read_list([1, 2, 3], 2, "items"),
    "columns of different length": lambda: fields.read_records(columns([1, 2], [bytes(16)], [1, 1])),
    "a record beyond the blob": lambda: fields.read_records(columns([4], [bytes(16)], [1]), 4),
    "more records than pieces": lambda: fields.read_records(columns([0, 0], [bytes(16)] * 2, [1, 1]), 1),
    "a record with another digest": lambda: fields.read_records(columns([0], [bytes(17)], [1])),
    "too many addresses": lambda: fields.read_addresses([pb.Address(host="a", port=1)] * 17),
    "port 0": lambda: fields.read_addresses([pb.Address(host="a", port=0)]),
    "a port beyond 65535": lambda: fields.read_addresses([pb.Address(host="a", port=65536)]),
}


@pytest.mark.parametrize("breach", BREACHES)
def test_what_no_correct_sender_writes_is_malformed(breach: str) -> None:
    with pytest.raises(Malformed):
        BREACHES[breach]()


def test_the_largest_blob_fits() -> None:
    assert PieceMap.of(BLOB_BYTES_MAX).count == PIECES_MAX
    everything = (1 << PIECES_MAX) - 1
    assert fields.read_bits(fields.write_bits(everything)) == everything
    assert fields.read_index(PIECES_MAX) == PIECES_MAX


def test_nothing_held_takes_no_bytes() -> None:
    assert fields.write_bits(0) == b""
    assert fields.read_bits(b"", 0) == 0


def test_values_of_a_newer_version_get_the_nearest_known_meaning() -> None:
    assert fields.read_role(7) is Role.NORMAL
    assert fields.read_priority(7) is Priority.CONTAINER_START
    assert fields.read_fault(77) is OriginFault.SERVER_ERROR


def test_digests_of_both_kinds_may_stand_together() -> None:
    records = (PieceRecord(1, bytes(16), Epoch(1)), PieceRecord(0, bytes(32), Epoch(2)))
    assert fields.read_records(fields.write_records(records), 2) == records
