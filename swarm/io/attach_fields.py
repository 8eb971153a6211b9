"""The parts of the messages of the Attach stream, and the bounds of what is allowed in them."""

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import TypeVar, cast

from swarm.digest import Digest
from swarm.errors import BadDigest
from swarm.ids import Epoch, HostId, TaskId
from swarm.layers import Layer
from swarm.messages import Address, OriginFault, PieceRecord, Priority, Role
from swarm.pieces import BLOB_BYTES_MAX, INLINE_BYTES_MAX, PIECE_BYTES_MAX, PieceMap
from swarm.rpc import attach_pb2 as pb

PIECES_MAX = BLOB_BYTES_MAX // PIECE_BYTES_MAX
"""Pieces of the largest blob; a bitmap of them takes 32 KiB."""
ACTIVE_MAX = 16_384
"""Downloads of one host at once: a thousand clients with ten layers each, and room."""
HELD_MAX = 100_000
"""Blobs that one host tells in Hello, 8 MB; a terabyte of layers has about as many."""
LEASES_MAX = 1_024
"""Leases of one download in Hello; as many as the parts that a blob is ever leased in."""
PARENTS_MAX = 1_024
"""Parents in one message: eight times what a host may be configured to have."""
ADDRESSES_MAX = 16
"""Addresses of one host."""
MEMBERS_MAX = 4_096
"""Digests of one repository in one report; an image has tens, an index hundreds."""
DENIED_MAX = 4_096
"""Digests in one message about denials: every leak and every bad image of years."""
TEXT_MAX = 255
"""Characters of names: what the OCI specification and DNS allow."""
SECONDS_MAX = 1e6
"""Longest duration in a message, eleven days: what is longer is a mistake."""
RATE_MAX = 1 << 50
"""Bytes per second of a host; a petabyte is far above any link."""

_DIGEST_BYTES = frozenset((16, 32))
_ROLES = {int(role): role for role in Role}
_PRIORITIES = {int(priority): priority for priority in Priority}
_FAULTS = {int(fault): fault for fault in OriginFault}
_HOST = re.compile(r"[!-~]{1,255}")

T = TypeVar("T")


class Malformed(ValueError):
    """A value that no correct sender writes. The codec maps it to an error that says who is to blame."""


def write_bits(bits: int) -> bytes:
    """Return a bitmap as little-endian bytes without trailing zeros."""
    return bits.to_bytes((bits.bit_length() + 7) // 8, "little")


def read_bits(data: bytes, count: int = PIECES_MAX) -> int:
    """Read a bitmap of at most `count` pieces."""
    if len(data) > (count + 7) // 8:
        raise Malformed(f"a bitmap of {len(data)} bytes for {count} pieces")
    bits = int.from_bytes(data, "little")
    if bits >> count:
        raise Malformed(f"a bitmap of {count} pieces names another piece")
    return bits


@lru_cache(maxsize=16_384)  # the same few tasks come again and again
def read_task(text: str) -> TaskId:
    """Read the name of a task, which is a digest."""
    try:
        return Digest.parse(text).task
    except BadDigest as error:
        raise Malformed(str(error)) from error


def read_task_or_none(text: str) -> TaskId:
    """Read the name of a task, or the empty text."""
    return read_task(text) if text else TaskId("")


def read_host(text: str) -> HostId:
    """Read the name of a host: printable ASCII without spaces, since it goes into logs."""
    if not _HOST.fullmatch(text):
        raise Malformed(f"host name {text[:80]!r}")
    return HostId(text)


def read_text(text: str) -> str:
    """Read a name that may be empty."""
    if len(text) > TEXT_MAX or not text.isprintable():
        raise Malformed(f"text {text[:80]!r}")
    return text


def read_layer(fact: pb.Join | pb.ActiveTask) -> Layer | None:
    """Read where a blob stands in its image, if that is known."""
    return Layer(read_text(fact.layer.image), fact.layer.place) if fact.HasField("layer") else None


def read_size(size: int) -> int:
    """Read the bytes of a blob."""
    if not 0 <= size <= BLOB_BYTES_MAX:
        raise Malformed(f"a blob of {size} bytes")
    return size


def read_size_or_unknown(size: int) -> int:
    """Read the bytes of a blob; -1 means unknown."""
    return size if size == -1 else read_size(size)


def read_index(index: int, count: int = PIECES_MAX) -> int:
    """Read the number of a piece, or of the one after the last."""
    if index > count:
        raise Malformed(f"piece {index} of {count}")
    return index


def read_rate(rate: int) -> int:
    """Read bytes per second."""
    if rate > RATE_MAX:
        raise Malformed(f"{rate} bytes per second")
    return rate


def read_seconds(seconds: float) -> float:
    """Read a duration; not a number is not one."""
    if not 0 <= seconds <= SECONDS_MAX:
        raise Malformed(f"a duration of {seconds} s")
    return seconds


def read_digest(digest: bytes) -> bytes:
    """Read the digest of a piece."""
    if len(digest) not in _DIGEST_BYTES:
        raise Malformed(f"a piece digest of {len(digest)} bytes")
    return digest


def read_content(content: bytes) -> bytes:
    """Read a tiny blob."""
    if len(content) > INLINE_BYTES_MAX:
        raise Malformed(f"an inline blob of {len(content)} bytes")
    return content


def read_list(items: Sequence[T], most: int, what: str) -> Sequence[T]:
    """Read a list of bounded length."""
    if len(items) > most:
        raise Malformed(f"{len(items)} {what}, at most {most} are allowed")
    return items


def count_of(size: int) -> int:
    """Return the pieces of a blob of a size that was read."""
    return PieceMap.of(size).count


def write_records(records: Sequence[PieceRecord]) -> pb.Records:
    """Write records as columns: three lists cost less than a message for each."""
    return pb.Records(
        indexes=[record.index for record in records],
        digests=[record.digest for record in records],
        epochs=[record.epoch for record in records],
    )


def read_records(columns: pb.Records, count: int = PIECES_MAX) -> tuple[PieceRecord, ...]:
    """Read columns of records of a blob of `count` pieces."""
    indexes, digests, epochs = list(columns.indexes), list(columns.digests), list(columns.epochs)
    if not len(indexes) == len(digests) == len(epochs) <= count:
        raise Malformed(f"{len(indexes)} records for {count} pieces")
    if max(indexes, default=-1) >= count:
        raise Malformed(f"a record beyond {count} pieces")
    if not _DIGEST_BYTES.issuperset(map(len, digests)):
        raise Malformed("a piece digest is neither 16 nor 32 bytes")
    return tuple(map(PieceRecord, indexes, digests, cast(list[Epoch], epochs)))


def write_addresses(addresses: Iterable[Address]) -> list[pb.Address]:
    """Write addresses."""
    return [pb.Address(host=address.host, port=address.port) for address in addresses]


def read_addresses(addresses: Sequence[pb.Address]) -> tuple[Address, ...]:
    """Read addresses."""
    return tuple(_read_address(address) for address in read_list(addresses, ADDRESSES_MAX, "addresses"))


def _read_address(address: pb.Address) -> Address:
    if not 0 < address.port < 65536:
        raise Malformed(f"port {address.port}")
    return Address(read_host(address.host), address.port)


def read_role(value: int) -> Role:
    """Read a role; one of a newer version is an ordinary host."""
    return _ROLES.get(value, Role.NORMAL)


def read_priority(value: int) -> Priority:
    """Read a priority; one of a newer version goes first, since somebody may wait."""
    return _PRIORITIES.get(value, Priority.CONTAINER_START)


def read_fault(value: int) -> OriginFault:
    """Read a fault; one of a newer version is the origin's."""
    return _FAULTS.get(value, OriginFault.SERVER_ERROR)
