"""The codec, frame by frame, and what it refuses."""

import re
import struct
from dataclasses import replace
from pathlib import Path

import pytest

from swarm.errors import WireError
from swarm.frames import (
    BITMAP_BYTES_MAX,
    FROM_CHILD,
    FROM_PARENT,
    HELLO_OR_OPEN,
    HOST_BYTES_MAX,
    NONCE_BYTES,
    RECORDS_MAX,
    REPLIES,
    REQUESTS,
    WELCOME_OR_REFUSED,
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
    Refusal,
    RefusedFrame,
    RequestFrame,
    SubscribeFrame,
    UnsubscribeFrame,
    WelcomeFrame,
)
from swarm.handshake import prove_open
from swarm.ids import Epoch, HostId, TaskId
from swarm.messages import PieceRecord
from swarm.pieces import BLOB_BYTES_MAX, PIECE_BYTES_MAX, PieceMap
from swarm.wire import HEADER_BYTES, MAGIC, Decoder, encode

DOCUMENT = Path(__file__).parents[3] / "docs" / "peer-wire.md"
TASK = TaskId("sha256:" + "ab" * 32)
LONG_TASK = TaskId("sha512:" + "cd" * 64)
RECORD = PieceRecord(3, b"d" * 16, Epoch(7))
HELLO = HelloFrame(1, 1, Purpose.CONTROL, HostId("node-7"), b"n" * NONCE_BYTES)

FRAMES: list[Frame] = [
    HELLO,
    HelloFrame(
        1, 65535, Purpose.DATA, HostId("x" * HOST_BYTES_MAX), b"n" * NONCE_BYTES, "z" * ZONE_BYTES_MAX
    ),
    WelcomeFrame(1, HostId("knoten-ü"), b"m" * 32, b"p" * 32),
    ProofFrame(b"p" * 32),
    RefusedFrame(Refusal.TOKEN, "no"),
    RefusedFrame(255, ""),
    OpenFrame(HostId("knoten-ü"), 2**64 - 1, b"p" * 32),
    OpenFrame(HostId("x" * HOST_BYTES_MAX), 1, b"p" * 32),
    SubscribeFrame(TASK),
    UnsubscribeFrame(LONG_TASK),
    AvailabilityFrame(TASK, 0, 0),
    AvailabilityFrame(TASK, 10 << 20, 0b1000000001),
    AvailabilityFrame(TASK, BLOB_BYTES_MAX, (1 << PieceMap.of(BLOB_BYTES_MAX).count) - 1),
    HaveFrame(TASK, (RECORD,)),
    HaveFrame(LONG_TASK, tuple(PieceRecord(i, b"e" * 32, Epoch(2**64 - 1)) for i in range(RECORDS_MAX))),
    GoneFrame(TASK),
    ReadyFrame(),
    PingFrame(),
    PongFrame(),
    RequestFrame(2**32 - 1, LONG_TASK, 9),
    PieceFrame(1, PIECE_BYTES_MAX, RECORD),
    PieceFrame(1, 1, PieceRecord(0, b"e" * 32, Epoch(0))),
    BusyFrame(0),
    AbsentFrame(2**32 - 1),
]


def decode(data: bytes, frame: type[Frame]) -> list[Frame]:
    return Decoder({frame}).feed(data)


def framed(number: int, body: bytes, *, flags: int = 0, magic: int = MAGIC) -> bytes:
    return struct.pack(">BBHI", magic, number, flags, len(body)) + body


@pytest.mark.parametrize("frame", FRAMES, ids=lambda frame: type(frame).__name__)
def test_what_is_written_is_read(frame: Frame) -> None:
    assert decode(encode(frame), type(frame)) == [frame]


def test_every_frame_type_is_tried_above() -> None:
    assert {type(frame) for frame in FRAMES} == set(Frame.__args__)


def test_a_stream_is_cut_anywhere() -> None:
    sent: list[Frame] = [SubscribeFrame(TASK), PingFrame(), UnsubscribeFrame(TASK)]
    stream = b"".join(encode(frame) for frame in sent)
    for cut in range(len(stream)):
        decoder = Decoder(FROM_CHILD)
        assert decoder.feed(stream[:cut]) + decoder.feed(stream[cut:]) == sent
        assert decoder.pending_bytes == 0


def test_the_bytes_behind_a_piece_frame_stay_in_the_socket() -> None:
    stream, at, received = encode(PieceFrame(1, 5, RECORD)) + b"piece", 0, list[Frame]()
    decoder = Decoder(REPLIES)
    while not received:
        wanted = decoder.wanted_bytes
        received = decoder.feed(stream[at : at + wanted])
        at += wanted
    assert received == [PieceFrame(1, 5, RECORD)]
    assert stream[at:] == b"piece"


@pytest.mark.parametrize(
    ("data", "expected", "reason"),
    [
        (b"GET / HTTP/1.1\r\n", HELLO_OR_OPEN, "not the peer protocol"),
        (framed(99, b""), FROM_CHILD, "unknown type 99"),
        (encode(PingFrame()), REQUESTS, "PingFrame is not expected here"),
        (encode(SubscribeFrame(TASK)), HELLO_OR_OPEN, "SubscribeFrame is not expected here"),
        (framed(22, b"", flags=1), FROM_CHILD, "unknown flags"),
        (framed(22, b"x"), FROM_CHILD, "at most 0"),
        (framed(16, b""), FROM_CHILD, "ends at byte 0"),
        (framed(16, b"\x01" + b"a" * 31), FROM_CHILD, "ends at byte 32"),
        (framed(16, b"\x01" + b"a" * 33), FROM_CHILD, "1 bytes too many"),
        (framed(16, b"\x09" + b"a" * 32), FROM_CHILD, "algorithm is not known"),
        (framed(1, b"\0\0\0\1\1\1x" + b"n" * 32), HELLO_OR_OPEN, "versions 0 to 1"),
        (framed(1, b"\0\3\0\2\1\1x" + b"n" * 32), HELLO_OR_OPEN, "versions 3 to 2"),
        (framed(1, b"\0\1\0\1\7\1x" + b"n" * 32), HELLO_OR_OPEN, "unknown purpose"),
        (framed(1, b"\0\1\0\1\1\0" + b"n" * 32), HELLO_OR_OPEN, "printable name"),
        (framed(1, b"\0\1\0\1\1\1\n" + b"n" * 32), HELLO_OR_OPEN, "printable name"),
        (framed(1, b"\0\1\0\1\1\1\xff" + b"n" * 32), HELLO_OR_OPEN, "UTF-8"),
        (framed(1, b"\0\1\0\1\1\xfe" + b"x" * 254 + b"n" * 32), HELLO_OR_OPEN, "at most 253"),
        (framed(4, b"\1\xff\xff"), WELCOME_OR_REFUSED, "at most 512"),
        (framed(5, b"\1x" + bytes(39)), HELLO_OR_OPEN, "ends at byte 41"),
        (framed(5, b"\1x" + bytes(41)), HELLO_OR_OPEN, "1 bytes too many"),
        (framed(5, b"\0" + bytes(40)), HELLO_OR_OPEN, "printable name"),
        (framed(18, b"\1" + b"a" * 32 + (BLOB_BYTES_MAX + 1).to_bytes(8, "big")), FROM_PARENT, "at most"),
        (framed(18, b"\1" + b"a" * 32 + (1).to_bytes(8, "big") + b"\1\0"), FROM_PARENT, "needs 1 bytes"),
        (framed(18, b"\1" + b"a" * 32 + (1).to_bytes(8, "big") + b"\2"), FROM_PARENT, "names piece 1"),
        (framed(19, b"\1" + b"a" * 32 + b"\x10\0\0"), FROM_PARENT, "0 piece digests"),
        (framed(19, b"\1" + b"a" * 32 + b"\x0f\0\1" + bytes(27)), FROM_PARENT, "of 15 bytes"),
        (framed(19, b"\1" + b"a" * 32 + b"\x10\4\1"), FROM_PARENT, "1025 piece digests"),
        (framed(19, b"\1" + b"a" * 32 + b"\x10\0\1" + b"\xff" * 4 + bytes(24)), FROM_PARENT, "no blob has"),
        (framed(33, struct.pack(">IIIQB32s", 1, 0, 0, 0, 16, b"")), REPLIES, "PIECE of 0 bytes"),
        (framed(33, struct.pack(">IIIQB32s", 1, 0, 2**32 - 1, 0, 16, b"")), REPLIES, "PIECE of 4294967295"),
        (framed(33, struct.pack(">IIIQB32s", 1, 0, 5, 0, 17, b"")), REPLIES, "digest of 17 bytes"),
        (framed(33, struct.pack(">IIIQB32s", 1, 0, 5, 0, 16, b"x" * 17)), REPLIES, "digest of 16 bytes"),
    ],
)
def test_wrong_frames_are_refused(data: bytes, expected: frozenset[type[Frame]], reason: str) -> None:
    with pytest.raises(WireError, match=reason):
        Decoder(expected).feed(data)


def test_a_length_is_refused_before_anything_of_the_body_is_here() -> None:
    with pytest.raises(WireError, match="at most"):
        Decoder(FROM_PARENT).feed(struct.pack(">BBHI", MAGIC, 18, 0, 65 + 8 + BITMAP_BYTES_MAX + 1))


def test_a_hello_of_a_later_version_may_be_longer() -> None:
    body = encode(HELLO)[HEADER_BYTES:]
    assert decode(framed(1, body + b"\x00later"), HelloFrame) == [HELLO]
    assert decode(framed(1, body + b"\x04eu-1later"), HelloFrame) == [replace(HELLO, zone="eu-1")]
    with pytest.raises(WireError, match="at most"):
        decode(framed(1, body + bytes(1024)), HelloFrame)


def test_the_limits_of_the_document_are_those_that_hold() -> None:
    rows = re.findall(r"^\| (\d+) \| [A-Z]+ \| .* \| ([\d,]+) \|$", DOCUMENT.read_text(), re.MULTILINE)
    assert len(rows) == len(Frame.__args__)
    for number, limit in rows:
        most = int(limit.replace(",", ""))
        everything = Decoder(frozenset(Frame.__args__))
        assert everything.feed(struct.pack(">BBHI", MAGIC, int(number), 0, most)) == [] or most == 0
        with pytest.raises(WireError, match=f"at most {most} are allowed"):
            Decoder(frozenset(Frame.__args__)).feed(struct.pack(">BBHI", MAGIC, int(number), 0, most + 1))


def test_the_examples_of_the_document_are_what_is_sent() -> None:
    examples = re.findall(r"```hex (\w+)\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    assert len(examples) >= 4
    for name, lines in examples:
        data = bytes.fromhex("".join(line.split("#")[0] for line in lines.splitlines()))
        assert data == encode(DOCUMENTED[name]), name
        assert decode(data, type(DOCUMENTED[name])) == [DOCUMENTED[name]]


DOCUMENTED: dict[str, Frame] = {
    "hello": HelloFrame(1, 2, Purpose.CONTROL, HostId("node-7"), bytes(range(32))),
    "open": OpenFrame(HostId("node-7"), 1, prove_open(bytes(range(32)), 1)),
    "availability": AvailabilityFrame(TASK, 10 << 20, 0b1000000001),
    "have": HaveFrame(TASK, (PieceRecord(3, bytes(range(16)), Epoch(7)),)),
    "request": RequestFrame(1, TASK, 3),
    "piece": PieceFrame(1, 1048576, PieceRecord(3, bytes(range(16)), Epoch(7))),
    "busy": BusyFrame(1),
}
