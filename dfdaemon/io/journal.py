"""The state file of a blob on disk: what it is, which pieces are recorded, and whether it is complete.

    line 1    JSON: version, digest, size, piece_bytes, piece_digest, media_type, and content where its name is not
              its own digest
    then      records of one fixed size, little-endian, appended with one write each:
              index u32 | epoch u64 | piece digest (16 or 32 bytes) | crc32 u32 of what stands before it
    at last   a record with index 0xFFFFFFFF, epoch 0 and a digest of zeros: the blob's own digest was checked

A later record of a piece replaces an earlier one. A torn end, or a record whose crc is wrong, is left out, and cut by
a rewrite. A rewrite goes to another file first and takes the name over: one finds the old state or the new one.
"""

import errno
import json
import os
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

from swarm.digest import Digest
from swarm.errors import BadDigest, StoreBroken
from swarm.ids import Epoch
from swarm.messages import PieceRecord
from swarm.piece_digest import DIGEST_BYTES
from swarm.pieces import BLOB_BYTES_MAX, PieceMap

VERSION = 1
HEADER_BYTES_MAX = 4096
"""A header is some 400 bytes; what is longer is not one."""
MEDIA_TYPE_CHARS_MAX = 255
"""RFC 6838, section 4.2: type and subtype have 127 characters at most."""
_COMPLETE = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Header:
    """What a blob is: `kind` is that of its piece digests."""

    digest: Digest
    pieces: PieceMap
    kind: str
    media_type: str = ""
    content: Digest | None = None
    """The content's own digest, where `digest` is another name of it."""

    @property
    def proof(self) -> Digest:
        """The digest that its bytes must have."""
        return self.content or self.digest

    def encode(self) -> bytes:
        """Return the first line of a state file."""
        fields = {
            "version": VERSION,
            "digest": str(self.digest),
            "size": self.pieces.size,
            "piece_bytes": self.pieces.piece_bytes,
            "piece_digest": self.kind,
            "media_type": self.media_type[:MEDIA_TYPE_CHARS_MAX],
        }
        if self.content is not None:
            fields["content"] = str(self.content)
        return json.dumps(fields).encode() + b"\n"

    @classmethod
    def decode(cls, line: bytes) -> "Header":
        """Read the first line of a state file; raises StoreBroken."""
        try:
            fields = json.loads(line)
            version, size, piece_bytes = fields["version"], fields["size"], fields["piece_bytes"]
            digest, kind, media_type = fields["digest"], fields["piece_digest"], fields["media_type"]
            content = Digest.parse(fields["content"]) if "content" in fields else None
            if version != VERSION or type(size) is not int or not 0 <= size <= BLOB_BYTES_MAX:
                raise StoreBroken(f"version {version!r} or size {size!r} is not one that can be read")
            if PieceMap.of(size).piece_bytes != piece_bytes or kind not in DIGEST_BYTES:
                raise StoreBroken(
                    f"pieces of {piece_bytes!r} bytes with {kind!r} digests are not how blobs are cut"
                )
            if not isinstance(media_type, str):
                raise StoreBroken(f"media type {media_type!r} is not a text")
            return cls(Digest.parse(digest), PieceMap.of(size), kind, media_type, content)
        except (ValueError, KeyError, TypeError, BadDigest) as error:
            raise StoreBroken(f"the header cannot be read ({error})") from error


@dataclass(frozen=True, slots=True)
class State:
    """What a state file says. `torn`: something at its end, or a record, had to be left out."""

    header: Header
    records: tuple[PieceRecord, ...]
    complete: bool
    torn: bool


def _layout(kind: str) -> struct.Struct:
    return struct.Struct(f"<IQ{DIGEST_BYTES[kind]}s")


def _encode(kind: str, record: PieceRecord) -> bytes:
    body = _layout(kind).pack(record.index, record.epoch, record.digest)
    return body + zlib.crc32(body).to_bytes(4, "little")


def read_state(path: Path) -> State:
    """Read a state file; raises StoreBroken when it is not one, OSError when it cannot be read."""
    data = path.read_bytes()
    line, newline, body = data.partition(b"\n")
    if not newline or len(line) > HEADER_BYTES_MAX:
        raise StoreBroken("the header has no end")
    header = Header.decode(line)
    layout = _layout(header.kind)
    step = layout.size + 4
    records: dict[int, PieceRecord] = {}
    complete, torn = False, len(body) % step != 0
    for offset in range(0, len(body) - step + 1, step):
        packed, crc = body[offset : offset + layout.size], body[offset + layout.size : offset + step]
        index, epoch, digest = layout.unpack(packed)
        if zlib.crc32(packed).to_bytes(4, "little") != crc:
            torn = True
        elif index == _COMPLETE:
            complete = True
        elif index < header.pieces.count:
            records[index] = PieceRecord(index, digest, Epoch(epoch))
    ordered = tuple(records[index] for index in sorted(records))
    return State(header, ordered, complete and len(ordered) == header.pieces.count, torn)


def write_state(path: Path, header: Header, records: tuple[PieceRecord, ...], complete: bool) -> None:
    """Write a whole state file and put it in the place of the one before; raises OSError."""
    parts = [header.encode(), *(_encode(header.kind, record) for record in records)]
    if complete:
        parts.append(_complete_record(header.kind))
    replacement = path.with_suffix(".new")
    replacement.write_bytes(b"".join(parts))
    replacement.replace(path)


def begin_state(path: Path, header: Header) -> None:
    """Write the state file of a new blob, without records; raises OSError. Half of one is StoreBroken when read."""
    data = header.encode()
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        count = os.write(fd, data)
    finally:
        os.close(fd)
    if count != len(data):
        raise OSError(errno.ENOSPC, f"only {count} of {len(data)} bytes of {path} could be written")


def _complete_record(kind: str) -> bytes:
    return _encode(kind, PieceRecord(_COMPLETE, bytes(DIGEST_BYTES[kind]), Epoch(0)))


class Journal:
    """An open state file to which records are appended. A record is there whole or not at all."""

    def __init__(self, path: Path, kind: str) -> None:
        self._kind = kind
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        self._length = os.fstat(self._fd).st_size

    def append(self, record: PieceRecord) -> None:
        """Record a piece; raises OSError, and then nothing is recorded."""
        self._write(_encode(self._kind, record))

    def append_all(self, records: tuple[PieceRecord, ...]) -> None:
        """Record all pieces, and that the blob's own digest was checked, in one write; raises OSError."""
        parts = [*(_encode(self._kind, record) for record in records), _complete_record(self._kind)]
        self._write(b"".join(parts))

    def append_complete(self) -> None:
        """Record that the blob's own digest was checked; raises OSError."""
        self._write(_complete_record(self._kind))

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)

    def _write(self, data: bytes) -> None:
        count = os.write(self._fd, data)
        if count != len(data):
            os.ftruncate(self._fd, self._length)
            raise OSError(f"only {count} of {len(data)} bytes of a record could be written")
        self._length += count
