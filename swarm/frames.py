"""The frames of the peer protocol as values, and their limits. swarm/wire.py turns them into bytes and back.

A control connection opens with HELLO, WELCOME, PROOF (or REFUSED) and then carries SUBSCRIBE to PONG; a data
connection opens with OPEN, in version 1 as a control connection does, and then carries REQUEST one way, PIECE, BUSY
or ABSENT the other.
"""

from dataclasses import dataclass, field
from enum import IntEnum

from swarm.ids import HostId, TaskId
from swarm.messages import PieceRecord
from swarm.pieces import BLOB_BYTES_MAX, PieceMap

VERSION_MIN = 1
"""The oldest version that is understood: always the one before VERSION_MAX too, for rolling upgrades."""
VERSION_MAX = 2
"""The newest version that is spoken."""
VERSION_OPEN = 2
"""The first version whose data connections begin with OPEN, and need no handshake of their own."""

NONCE_BYTES = 32
"""As wide as the proof: nobody meets the same nonce twice."""
PROOF_BYTES = 32
"""HMAC-SHA256."""
HOST_BYTES_MAX = 253
"""As long as a DNS name may be (RFC 1035)."""
ZONE_BYTES_MAX = 253
"""As long as a host's name; with its length it fits into what those who do not know it skip."""
TEXT_BYTES_MAX = 512
"""A refusal's reason is one sentence."""
RECORDS_MAX = 1024
"""Piece records in one HAVE: at most 44 KiB, so that no frame blocks the control connection for long."""
BITMAP_BYTES_MAX = (PieceMap.of(BLOB_BYTES_MAX).count + 7) // 8
"""The bitmap of the largest blob."""
DIGEST_BYTES = (16, 32)
"""xxh3-128, BLAKE3-256."""


class Purpose(IntEnum):
    """What a connection is for."""

    CONTROL = 1
    DATA = 2


class Refusal(IntEnum):
    """Why a host will not go on with a connection. Later versions may know more reasons."""

    TOKEN = 1
    VERSION = 2
    CHILDREN = 3
    STRANGER = 4
    ITSELF = 5
    CONNECTIONS = 6
    OPENING = 7


@dataclass(frozen=True, slots=True)
class HelloFrame:
    """First frame of whoever connects (the child): who it is, what it speaks, and a challenge.

    `zone`: where it is; empty where there are no zones, and from those who do not tell yet.
    """

    version_min: int
    version_max: int
    purpose: Purpose
    host: HostId
    nonce: bytes
    zone: str = ""


@dataclass(frozen=True, slots=True)
class WelcomeFrame:
    """Answer of whoever listens (the parent): the version to speak, its own challenge, and its proof."""

    version: int
    host: HostId
    nonce: bytes
    proof: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class ProofFrame:
    """The child's proof; ends the handshake."""

    proof: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class RefusedFrame:
    """The parent will not, and closes. `reason` is a Refusal, or one that only a later version knows."""

    reason: int
    text: str


@dataclass(frozen=True, slots=True)
class OpenFrame:
    """First frame of a child's data connection. No answer: REQUEST follows at once.

    `counter` is another one each time; the proof of it needs the secret of the child's control connection.
    """

    host: HostId
    counter: int
    proof: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class SubscribeFrame:
    """Child: what do you hold of this task? Tell me what you gain. Answered by AVAILABILITY or GONE."""

    task: TaskId


@dataclass(frozen=True, slots=True)
class UnsubscribeFrame:
    """Child: nothing more of this task."""

    task: TaskId


@dataclass(frozen=True, slots=True)
class AvailabilityFrame:
    """Parent: the blob's size in bytes, and the bitmap of the pieces held."""

    task: TaskId
    size: int
    bits: int


@dataclass(frozen=True, slots=True)
class HaveFrame:
    """Parent: 1 to RECORDS_MAX pieces gained, with digests of one length. Made by have_frames()."""

    task: TaskId
    records: tuple[PieceRecord, ...]


@dataclass(frozen=True, slots=True)
class GoneFrame:
    """Parent: nothing is held of this task (any more)."""

    task: TaskId


@dataclass(frozen=True, slots=True)
class ReadyFrame:
    """Parent, to a child that was answered BUSY: there is room."""


@dataclass(frozen=True, slots=True)
class PingFrame:
    """Either: are you there? Answered by PONG."""


@dataclass(frozen=True, slots=True)
class PongFrame:
    """Either: I am."""


@dataclass(frozen=True, slots=True)
class RequestFrame:
    """Child: send this piece. `request` is a number that the child chooses; the answer repeats it."""

    request: int
    task: TaskId
    index: int


@dataclass(frozen=True, slots=True)
class PieceFrame:
    """Parent: the piece's record; `length` bytes of the piece follow, outside of any frame."""

    request: int
    length: int
    record: PieceRecord


@dataclass(frozen=True, slots=True)
class BusyFrame:
    """Parent: no slot is free; READY comes on the control connection when one is."""

    request: int


@dataclass(frozen=True, slots=True)
class AbsentFrame:
    """Parent: the piece is not held."""

    request: int


Frame = (
    HelloFrame
    | WelcomeFrame
    | ProofFrame
    | RefusedFrame
    | OpenFrame
    | SubscribeFrame
    | UnsubscribeFrame
    | AvailabilityFrame
    | HaveFrame
    | GoneFrame
    | ReadyFrame
    | PingFrame
    | PongFrame
    | RequestFrame
    | PieceFrame
    | BusyFrame
    | AbsentFrame
)

HELLO_OR_OPEN = frozenset({HelloFrame, OpenFrame})
"""What a parent may get first."""
PROOF_ONLY = frozenset({ProofFrame})
"""What a parent may get second."""
WELCOME_OR_REFUSED = frozenset({WelcomeFrame, RefusedFrame})
"""What a child may get first."""
FROM_CHILD = frozenset({SubscribeFrame, UnsubscribeFrame, PingFrame, PongFrame})
"""What a parent may get on a control connection."""
FROM_PARENT = frozenset(
    {AvailabilityFrame, HaveFrame, GoneFrame, ReadyFrame, PingFrame, PongFrame, RefusedFrame}
)
"""What a child may get on a control connection."""
REQUESTS = frozenset({RequestFrame})
"""What a parent may get on a data connection."""
REPLIES = frozenset({PieceFrame, BusyFrame, AbsentFrame, RefusedFrame})
"""What a child may get on a data connection."""


def have_frames(task: TaskId, records: tuple[PieceRecord, ...]) -> list[HaveFrame]:
    """Return HAVE frames for all records: each of one digest length, none longer than RECORDS_MAX."""
    frames = []
    for width in DIGEST_BYTES:
        alike = tuple(record for record in records if len(record.digest) == width)
        frames += [HaveFrame(task, alike[at : at + RECORDS_MAX]) for at in range(0, len(alike), RECORDS_MAX)]
    return frames
