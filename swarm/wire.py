"""The codec of the peer protocol, byte by byte as docs/peer-wire.md says. Pure: bytes in, frames out.

Every frame is a header of 8 bytes and a body. All numbers are big-endian; only bitmaps follow
swarm/availability.py. The body's length is checked against its type's limit before anything is kept.
Whatever a peer sends, decoding it gives frames or raises WireError.
"""

import struct
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from swarm import availability
from swarm.digest import HEX_DIGITS
from swarm.errors import WireError
from swarm.frames import (
    BITMAP_BYTES_MAX,
    DIGEST_BYTES,
    HOST_BYTES_MAX,
    NONCE_BYTES,
    PROOF_BYTES,
    RECORDS_MAX,
    TEXT_BYTES_MAX,
    ZONE_BYTES_MAX,
    AbsentFrame,
    AvailabilityFrame,
    BusyFrame,
    Frame,
    GoneFrame,
    HaveFrame,
    HelloFrame,
    OpenFrame,
    PieceFrame,
    PingFrame,
    PongFrame,
    ProofFrame,
    Purpose,
    ReadyFrame,
    RefusedFrame,
    RequestFrame,
    SubscribeFrame,
    UnsubscribeFrame,
    WelcomeFrame,
)
from swarm.ids import Epoch, HostId, TaskId
from swarm.messages import PieceRecord
from swarm.pieces import BLOB_BYTES_MAX, PIECE_BYTES_MAX, PieceMap

MAGIC = 0xD5
"""First byte of every frame: a stream that lost its place is noticed at once."""
HEADER = struct.Struct(">BBHI")
"""Magic, type, flags (none are defined: zero), bytes of the body."""
HEADER_BYTES = HEADER.size

ALGORITHMS = {1: "sha256", 2: "sha512"}
"""The digest algorithms of tasks, by their number on the wire."""
_NUMBERS = {name: number for number, name in ALGORITHMS.items()}
_TASK_BYTES_MAX = 1 + max(HEX_DIGITS.values()) // 2
_GREETING_EXTRA_BYTES_MAX = 256
"""Room for what later versions append to HELLO and REFUSED, which come before a version is agreed."""
_PIECE_INDEX_END = PieceMap.of(BLOB_BYTES_MAX).count
_PIECE = struct.Struct(">IIIQB32s")
_RECORDS = {width: struct.Struct(f">IQ{width}s") for width in DIGEST_BYTES}
"""A piece's record in a HAVE, by the bytes of its digest."""

ReadableBody = bytes | bytearray | memoryview


class _Body:
    """Reads the fields of one frame's body in order."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: ReadableBody) -> None:
        self._data = bytes(data)
        self._at = 0

    def take(self, count: int) -> bytes:
        """Return the next `count` bytes."""
        end = self._at + count
        if end > len(self._data):
            raise WireError(f"a frame's body ends at byte {len(self._data)} inside a field that needs {end}")
        taken = self._data[self._at : end]
        self._at = end
        return taken

    def number(self, width: int) -> int:
        """Return the next `width` bytes as a number."""
        return int.from_bytes(self.take(width), "big")

    def text(self, width: int, bytes_max: int) -> str:
        """Return a text with its length in bytes before it, in `width` bytes."""
        length = self.number(width)
        if length > bytes_max:
            raise WireError(f"a text of {length} bytes, where at most {bytes_max} are allowed")
        try:
            return self.take(length).decode()
        except UnicodeDecodeError as error:
            raise WireError("a text that is not UTF-8") from error

    def host(self) -> HostId:
        """Return a host's name."""
        host = self.text(1, HOST_BYTES_MAX)
        if not host or not host.isprintable():
            raise WireError("a host without a printable name")
        return HostId(host)

    def task(self) -> TaskId:
        """Return a task: the number of its algorithm and its raw digest."""
        algorithm = ALGORITHMS.get(self.number(1))
        if algorithm is None:
            raise WireError("a task whose digest algorithm is not known")
        return TaskId(f"{algorithm}:{self.take(HEX_DIGITS[algorithm] // 2).hex()}")

    def rest(self) -> bytes:
        """Return all that is left."""
        return self.take(len(self._data) - self._at)

    def is_over(self) -> bool:
        """Tell whether nothing is left."""
        return self._at == len(self._data)

    def end(self) -> None:
        """Check that nothing is left."""
        if not self.is_over():
            raise WireError(f"{len(self._data) - self._at} bytes too many in a frame's body")


def _text(text: str, width: int, bytes_max: int) -> bytes:
    data = text.encode()
    assert len(data) <= bytes_max, f"a text of {len(data)} bytes has no place on the wire"
    return len(data).to_bytes(width, "big") + data


def _task(task: TaskId) -> bytes:
    algorithm, _, digits = task.partition(":")
    return bytes((_NUMBERS[algorithm],)) + bytes.fromhex(digits)


def _index(index: int) -> int:
    if index >= _PIECE_INDEX_END:
        raise WireError(f"piece {index}: no blob has more than {_PIECE_INDEX_END}")
    return index


def _write_hello(frame: HelloFrame) -> bytes:
    versions = struct.pack(">HHB", frame.version_min, frame.version_max, frame.purpose)
    zone = _text(frame.zone, 1, ZONE_BYTES_MAX) if frame.zone else b""
    return versions + _text(frame.host, 1, HOST_BYTES_MAX) + frame.nonce + zone


def _read_hello(body: _Body) -> HelloFrame:
    version_min, version_max, purpose = body.number(2), body.number(2), body.number(1)
    if not 1 <= version_min <= version_max:
        raise WireError(f"a HELLO with versions {version_min} to {version_max}")
    if purpose not in (Purpose.CONTROL, Purpose.DATA):
        raise WireError(f"a HELLO for an unknown purpose ({purpose})")
    host, nonce = body.host(), body.take(NONCE_BYTES)
    rest = _Body(body.rest())
    zone = "" if rest.is_over() else rest.text(1, ZONE_BYTES_MAX)
    if not zone.isprintable():
        raise WireError("a zone without a printable name")
    return HelloFrame(version_min, version_max, Purpose(purpose), host, nonce, zone)


def _write_welcome(frame: WelcomeFrame) -> bytes:
    return struct.pack(">H", frame.version) + _text(frame.host, 1, HOST_BYTES_MAX) + frame.nonce + frame.proof


def _read_welcome(body: _Body) -> WelcomeFrame:
    return WelcomeFrame(body.number(2), body.host(), body.take(NONCE_BYTES), body.take(PROOF_BYTES))


def _write_refused(frame: RefusedFrame) -> bytes:
    return bytes((frame.reason,)) + _text(frame.text, 2, TEXT_BYTES_MAX)


def _read_refused(body: _Body) -> RefusedFrame:
    frame = RefusedFrame(body.number(1), body.text(2, TEXT_BYTES_MAX))
    body.rest()
    return frame


def _write_open(frame: OpenFrame) -> bytes:
    return _text(frame.host, 1, HOST_BYTES_MAX) + frame.counter.to_bytes(8, "big") + frame.proof


def _read_open(body: _Body) -> OpenFrame:
    return OpenFrame(body.host(), body.number(8), body.take(PROOF_BYTES))


def _write_availability(frame: AvailabilityFrame) -> bytes:
    bitmap = availability.encode(frame.bits, PieceMap.of(frame.size).count)
    return _task(frame.task) + frame.size.to_bytes(8, "big") + bitmap


def _read_availability(body: _Body) -> AvailabilityFrame:
    task, size = body.task(), body.number(8)
    if size > BLOB_BYTES_MAX:
        raise WireError(f"a blob of {size} bytes; at most {BLOB_BYTES_MAX} are allowed")
    return AvailabilityFrame(task, size, availability.decode(body.rest(), PieceMap.of(size).count))


def _write_have(frame: HaveFrame) -> bytes:
    width = len(frame.records[0].digest)
    assert len(frame.records) <= RECORDS_MAX, "have_frames() splits what is too long"
    assert all(len(record.digest) == width for record in frame.records), (
        "have_frames() sorts by digest length"
    )
    pack = _RECORDS[width].pack
    records = b"".join([pack(record.index, record.epoch, record.digest) for record in frame.records])
    return _task(frame.task) + struct.pack(">BH", width, len(frame.records)) + records


def _read_have(body: _Body) -> HaveFrame:
    task, width, count = body.task(), body.number(1), body.number(2)
    if width not in DIGEST_BYTES or not 1 <= count <= RECORDS_MAX:
        raise WireError(f"a HAVE with {count} piece digests of {width} bytes")
    record = _RECORDS[width]
    fields = record.iter_unpack(body.take(count * record.size))
    return HaveFrame(
        task, tuple([PieceRecord(_index(index), digest, Epoch(epoch)) for index, epoch, digest in fields])
    )


def _write_request(frame: RequestFrame) -> bytes:
    return struct.pack(">II", frame.request, frame.index) + _task(frame.task)


def _read_request(body: _Body) -> RequestFrame:
    request, index = body.number(4), _index(body.number(4))
    return RequestFrame(request, body.task(), index)


def _write_piece(frame: PieceFrame) -> bytes:
    record = frame.record
    width = len(record.digest)
    assert width in DIGEST_BYTES, f"a piece digest of {width} bytes has no place on the wire"
    return _PIECE.pack(frame.request, record.index, frame.length, record.epoch, width, record.digest)


def _read_piece(body: _Body) -> PieceFrame:
    request, index, length, epoch, width, padded = _PIECE.unpack(body.take(_PIECE.size))
    if width not in DIGEST_BYTES or any(padded[width:]):
        raise WireError(f"a PIECE with a digest of {width} bytes")
    if not 1 <= length <= PIECE_BYTES_MAX:
        raise WireError(f"a PIECE of {length} bytes; 1 to {PIECE_BYTES_MAX} are allowed")
    return PieceFrame(request, length, PieceRecord(_index(index), padded[:width], Epoch(epoch)))


def _write_task(frame: SubscribeFrame | UnsubscribeFrame | GoneFrame) -> bytes:
    return _task(frame.task)


def _write_number(frame: BusyFrame | AbsentFrame) -> bytes:
    return frame.request.to_bytes(4, "big")


def _write_nothing(frame: Frame) -> bytes:
    return b""


@dataclass(frozen=True, slots=True)
class _Type:
    """One row of the protocol's table: number, frame, longest body, and how the body is written and read."""

    number: int
    frame: type[Frame]
    body_bytes_max: int
    write: Callable[[Any], bytes]
    read: Callable[[_Body], Frame]


_HAVE_BYTES_MAX = _TASK_BYTES_MAX + 3 + RECORDS_MAX * (12 + max(DIGEST_BYTES))
_HELLO_BYTES_MAX = 5 + 1 + HOST_BYTES_MAX + NONCE_BYTES + _GREETING_EXTRA_BYTES_MAX
_WELCOME_BYTES_MAX = 2 + 1 + HOST_BYTES_MAX + NONCE_BYTES + PROOF_BYTES
_OPEN_BYTES_MAX = 1 + HOST_BYTES_MAX + 8 + PROOF_BYTES
_REFUSED_BYTES_MAX = 3 + TEXT_BYTES_MAX + _GREETING_EXTRA_BYTES_MAX

_TYPES = (
    _Type(1, HelloFrame, _HELLO_BYTES_MAX, _write_hello, _read_hello),
    _Type(2, WelcomeFrame, _WELCOME_BYTES_MAX, _write_welcome, _read_welcome),
    _Type(
        3, ProofFrame, PROOF_BYTES, lambda frame: frame.proof, lambda body: ProofFrame(body.take(PROOF_BYTES))
    ),
    _Type(4, RefusedFrame, _REFUSED_BYTES_MAX, _write_refused, _read_refused),
    _Type(5, OpenFrame, _OPEN_BYTES_MAX, _write_open, _read_open),
    _Type(16, SubscribeFrame, _TASK_BYTES_MAX, _write_task, lambda body: SubscribeFrame(body.task())),
    _Type(17, UnsubscribeFrame, _TASK_BYTES_MAX, _write_task, lambda body: UnsubscribeFrame(body.task())),
    _Type(
        18, AvailabilityFrame, _TASK_BYTES_MAX + 8 + BITMAP_BYTES_MAX, _write_availability, _read_availability
    ),
    _Type(19, HaveFrame, _HAVE_BYTES_MAX, _write_have, _read_have),
    _Type(20, GoneFrame, _TASK_BYTES_MAX, _write_task, lambda body: GoneFrame(body.task())),
    _Type(21, ReadyFrame, 0, _write_nothing, lambda body: ReadyFrame()),
    _Type(22, PingFrame, 0, _write_nothing, lambda body: PingFrame()),
    _Type(23, PongFrame, 0, _write_nothing, lambda body: PongFrame()),
    _Type(32, RequestFrame, 8 + _TASK_BYTES_MAX, _write_request, _read_request),
    _Type(33, PieceFrame, _PIECE.size, _write_piece, _read_piece),
    _Type(34, BusyFrame, 4, _write_number, lambda body: BusyFrame(body.number(4))),
    _Type(35, AbsentFrame, 4, _write_number, lambda body: AbsentFrame(body.number(4))),
)
_BY_FRAME = {row.frame: row for row in _TYPES}
_BY_NUMBER = {row.number: row for row in _TYPES}


def encode(frame: Frame) -> bytes:
    """Return the bytes of a frame, header first. Values that the wire cannot carry are asserted against."""
    row = _BY_FRAME[type(frame)]
    body = row.write(frame)
    return HEADER.pack(MAGIC, row.number, 0, len(body)) + body


def _row(data: bytearray, at: int, expected: Collection[type[Frame]]) -> tuple[_Type, int]:
    magic, number, flags, length = HEADER.unpack_from(data, at)
    if magic != MAGIC:
        raise WireError(f"a frame begins with {magic:#04x}, not {MAGIC:#04x}: this is not the peer protocol")
    row = _BY_NUMBER.get(number)
    if row is None:
        raise WireError(f"a frame of the unknown type {number}")
    if row.frame not in expected:
        raise WireError(f"a {row.frame.__name__} is not expected here")
    if flags:
        raise WireError(f"a {row.frame.__name__} with unknown flags {flags:#06x}")
    if length > row.body_bytes_max:
        raise WireError(f"a {row.frame.__name__} of {length} bytes; at most {row.body_bytes_max} are allowed")
    return row, length


class Decoder:
    """Turns a stream, cut anywhere, into frames of the expected types. Keeps at most one unfinished frame."""

    __slots__ = ("_buffer", "_expected")

    def __init__(self, expected: Collection[type[Frame]]) -> None:
        self._expected = expected
        self._buffer = bytearray()

    def feed(self, data: ReadableBody) -> list[Frame]:
        """Take in more of the stream, return the frames it completes. After a WireError it is lost."""
        buffer, frames, at = self._buffer, [], 0
        buffer += data
        while len(buffer) - at >= HEADER_BYTES:
            row, length = _row(buffer, at, self._expected)
            end = at + HEADER_BYTES + length
            if end > len(buffer):
                break
            body = _Body(buffer[at + HEADER_BYTES : end])
            frames.append(row.read(body))
            body.end()
            at = end
        del buffer[:at]
        return frames

    @property
    def pending_bytes(self) -> int:
        """The bytes kept of a frame that is not complete."""
        return len(self._buffer)

    @property
    def wanted_bytes(self) -> int:
        """The bytes to the end of this header, or of this frame once its header is here: never more than one
        frame has. Whoever reads no more than this leaves what follows a PIECE in the socket."""
        if len(self._buffer) < HEADER_BYTES:
            return HEADER_BYTES - len(self._buffer)
        _, length = _row(self._buffer, 0, self._expected)
        return HEADER_BYTES + length - len(self._buffer)
