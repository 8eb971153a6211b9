"""What a daemon and the scheduler tell each other over the Attach stream, as plain values.

The production service carries them as protobuf (swarm/io/attach_codec.py), the simulator as they are.
Tables of bits follow swarm/availability.py. Times are durations in seconds: clocks are never compared.
"""

from dataclasses import dataclass, field
from enum import IntEnum

from swarm.ids import Epoch, HostId, TaskId
from swarm.layers import Layer
from swarm.repositories import (
    AskRepository,
    Denials,
    Purge,
    RepositoryAnswer,
    RepositoryReport,
    ResolveTag,
    TagPushed,
    TagReport,
    TagUnresolved,
)
from swarm.roots import BlobProved, Proven


class Role(IntEnum):
    """What a host is for."""

    NORMAL = 0
    SEED = 1


class Priority(IntEnum):
    """Why a blob is wanted; lower goes first."""

    CONTAINER_START = 0
    PREHEAT = 1
    SEEDING = 2


class OriginFault(IntEnum):
    """Why a fetch from the origin ended early, as far as the scheduler's decision needs it."""

    UNREACHABLE = 0
    TIMEOUT = 1
    CUT = 2
    SERVER_ERROR = 3
    THROTTLED = 4
    DENIED = 5
    NOT_FOUND = 6
    SIZE_MISMATCH = 7
    WRONG_CONTENT = 8
    NO_RANGE = 9
    ABANDONED = 10


@dataclass(frozen=True, slots=True)
class Address:
    """Where a peer server listens. `host` is a numeric IPv4 or IPv6 address or a DNS name."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class HostInfo:
    """A machine with a daemon, as it describes itself. Rates in bytes per second; 0 means unknown."""

    host: HostId
    addresses: tuple[Address, ...]
    zone: str = ""
    rack: str = ""
    role: Role = Role.NORMAL
    upload_bytes_per_s: int = 0
    download_bytes_per_s: int = 0
    version: str = ""


@dataclass(frozen=True, slots=True)
class PieceRecord:
    """The digest of one piece, made by whoever fetched it from the origin under the lease `epoch`.

    16 bytes are xxh3-128, 32 bytes are BLAKE3-256; a cluster uses one of them.
    """

    index: int
    digest: bytes
    epoch: Epoch


# --- daemon -> scheduler --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class HeldLease:
    """A fetch from the origin that runs on a daemon while it attaches again. Pieces [next_piece, end) are to
    come."""

    start: int
    end: int
    next_piece: int
    epoch: Epoch


@dataclass(frozen=True, slots=True)
class ActiveTask:
    """A download that runs on a daemon while it attaches again: what Join said, and how far it is."""

    task: TaskId
    size: int
    registry: str
    bits: int
    may_fetch: bool = False
    stores: bool = True
    leases: tuple[HeldLease, ...] = ()
    shares_check: bool = False
    layer: Layer | None = None


@dataclass(frozen=True, slots=True)
class HeldBlob:
    """A complete blob on a daemon's disk."""

    task: TaskId
    size: int


@dataclass(frozen=True, slots=True)
class Hello:
    """First message of a stream: who attaches and what it holds. Rebuilds the scheduler's soft state."""

    info: HostInfo
    active: tuple[ActiveTask, ...] = ()
    held: tuple[HeldBlob, ...] = ()


@dataclass(frozen=True, slots=True)
class Join:
    """A host wants a blob. Answered at once by TaskInfo, and Parents, Lease or Inline as they become possible.

    `may_fetch`: a local client's credential, or the node's, is accepted by the origin for this blob. `stores`: false
    when the host has no room: it takes pieces, and serves none. `bits`: what it holds already. `shares_check`: it
    computes the blob's own digest for others, or leaves that to them (swarm/roots.py). `layer`: of which image.
    """

    task: TaskId
    size: int
    registry: str
    may_fetch: bool
    stores: bool = True
    priority: Priority = Priority.CONTAINER_START
    bits: int = 0
    shares_check: bool = False
    layer: Layer | None = None


@dataclass(frozen=True, slots=True)
class TaskProgress:
    """What a host holds of one task now; `records` only of pieces that it took from the origin itself."""

    task: TaskId
    bits: int
    records: tuple[PieceRecord, ...] = ()


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of all of a host's tasks, in one message, at the pace that Settings asks for."""

    tasks: tuple[TaskProgress, ...]


@dataclass(frozen=True, slots=True)
class Starving:
    """A host with free capacity has nothing to ask its parents for. `wanted`: the missing pieces of its
    window."""

    task: TaskId
    wanted: int


@dataclass(frozen=True, slots=True)
class LeaseProgress:
    """A lease is alive: pieces before `next_piece` are done, `received_bytes` arrived in all. Renews its
    time."""

    task: TaskId
    epoch: Epoch
    next_piece: int
    received_bytes: int


@dataclass(frozen=True, slots=True)
class LeaseFailed:
    """A lease ended early; pieces from `next_piece` on are free again. `size`: the true one, when it
    differed."""

    task: TaskId
    epoch: Epoch
    next_piece: int
    fault: OriginFault
    retry_after_s: float = 0.0
    size: int = -1


@dataclass(frozen=True, slots=True)
class PieceRejected:
    """A parent's piece did not match. `expected` is the digest it claimed or all others know, `actual` what
    its bytes gave.

    `fits`: its bytes had the digest that came with them, so the parent may have passed on what another forged. Such
    a piece may be found only when it is held; of the host itself: it does not know any more who gave it.
    """

    task: TaskId
    index: int
    parent: HostId
    expected: bytes
    actual: bytes
    fits: bool = False


@dataclass(frozen=True, slots=True)
class Load:
    """Measured rates of a host over its last busy seconds, bytes per second, and its open uploads."""

    upload_bytes_per_s: int
    download_bytes_per_s: int
    uploads: int


@dataclass(frozen=True, slots=True)
class Completed:
    """The whole blob's own digest was checked on this host."""

    task: TaskId


@dataclass(frozen=True, slots=True)
class Leave:
    """The host gives up its part in one task (cancelled or evicted); an empty task means it stops
    altogether."""

    task: TaskId


@dataclass(frozen=True, slots=True)
class InlineContent:
    """A tiny blob that the host was leased, whole, for the others. The codec's side checks its digest on
    arrival. `scope`: what Digest.task_within made the task's id with."""

    task: TaskId
    content: bytes = field(repr=False)
    scope: str = ""


# --- scheduler -> daemon --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Settings:
    """How a daemon should behave towards this scheduler. Sent after Hello, and again when it changes.

    `leases_imports`: hosts of other zones are asked only for pieces that Imports names.
    """

    progress_interval_s: float = 0.25
    starving_interval_s: float = 1.0
    leases_imports: bool = False


@dataclass(frozen=True, slots=True)
class TaskInfo:
    """The acknowledgement of a Join: the blob's size, and the piece digests that lease owners told the
    scheduler. Sent again to who gave a piece that differs. `is_spared`: others compute the blob's own digest, and
    Proven will tell."""

    task: TaskId
    size: int
    records: tuple[PieceRecord, ...] = ()
    is_spared: bool = False


@dataclass(frozen=True, slots=True)
class Parent:
    """A host to take pieces from, with what it was known to hold."""

    host: HostId
    addresses: tuple[Address, ...]
    zone: str = ""
    bits: int = 0


@dataclass(frozen=True, slots=True)
class Parents:
    """More parents for a task. Parents are added, never taken away."""

    task: TaskId
    parents: tuple[Parent, ...]


@dataclass(frozen=True, slots=True)
class Lease:
    """The sole right to fetch pieces [start, end) from the origin. Again, with a smaller `end`: others fetch the rest.

    The owner gives up by itself when nothing arrives for `timeout_s`. `private`: the pieces are for this host
    alone (it stores nothing, and nobody else holds them). `inline`: fetch it whole and answer with
    InlineContent.
    `no_range`: the origin ignores Range: the owner reads the whole body and discards what lies before
    `start`.
    """

    task: TaskId
    epoch: Epoch
    start: int
    end: int
    timeout_s: float
    private: bool = False
    inline: bool = False
    no_range: bool = False


@dataclass(frozen=True, slots=True)
class Imports:
    """The import lease of a host: all pieces that it is to take from other zones for its own, instead of any told
    before. Others of its zone take them from it."""

    task: TaskId
    bits: int


@dataclass(frozen=True, slots=True)
class LeaseRevoked:
    """A lease is void: another host has it, or the task is gone. Finished pieces stay."""

    task: TaskId
    epoch: Epoch


@dataclass(frozen=True, slots=True)
class Quarantine:
    """Take nothing from this host for a while; what it sent that is not yet verified is dropped."""

    host: HostId
    seconds: float


@dataclass(frozen=True, slots=True)
class Inline:
    """A tiny blob, whole."""

    task: TaskId
    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class NoSource:
    """Nobody holds the missing pieces and nobody may fetch them. The daemon may still ask the origin
    itself."""

    task: TaskId
    fault: OriginFault


ToScheduler = (
    Hello
    | Join
    | Progress
    | Starving
    | LeaseProgress
    | LeaseFailed
    | PieceRejected
    | Load
    | Completed
    | Leave
    | InlineContent
    | TagReport
    | TagUnresolved
    | TagPushed
    | RepositoryReport
    | AskRepository
    | BlobProved
)
ToDaemon = (
    Settings
    | TaskInfo
    | Parents
    | Lease
    | Imports
    | LeaseRevoked
    | Quarantine
    | Inline
    | NoSource
    | RepositoryAnswer
    | ResolveTag
    | Denials
    | Purge
    | Proven
)
