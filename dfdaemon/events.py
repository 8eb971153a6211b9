"""What can happen to a daemon. I/O turns every result into one of these and hands it to
DaemonMachine.handle."""

from dataclasses import dataclass
from enum import Enum

from swarm.ids import Epoch, HostId, ReaderId, RequestId, TaskId
from swarm.layers import Layer
from swarm.messages import OriginFault, PieceRecord, Priority, ToDaemon


class PeerFault(Enum):
    """Why a transfer from a parent, or the connection to it, ended."""

    UNREACHABLE = "unreachable"
    CLOSED = "closed"
    TIMEOUT = "timeout"
    PROTOCOL = "protocol"
    CANCELLED = "cancelled"
    GONE = "gone"
    DISK = "disk"


# --- the scheduler link ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SchedulerAttached:
    """The Attach stream is open; the machine answers with Hello."""


@dataclass(frozen=True, slots=True)
class SchedulerLost:
    """The Attach stream died, could not be opened, or no scheduler is configured."""

    reason: str


@dataclass(frozen=True, slots=True)
class SchedulerSaid:
    """A message of the scheduler's arrived."""

    message: ToDaemon


# --- local clients --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class BlobWanted:
    """A local client, already authorised, wants a blob of `size` bytes. Starts or joins the download.

    `may_fetch`: the driver holds a source at the origin for it. `registry` names the origin for its budget.
    `part`: the client reads a small part of it; the rest is not worth fetching for its sake.
    `layer`: where it stands in its image, if a client read the manifest before.
    """

    task: TaskId
    size: int
    registry: str
    may_fetch: bool
    priority: Priority = Priority.CONTAINER_START
    part: bool = False
    layer: Layer | None = None


@dataclass(frozen=True, slots=True)
class ReaderOpened:
    """A client reads bytes [offset, end) of the blob, in order."""

    task: TaskId
    reader: ReaderId
    offset: int
    end: int


@dataclass(frozen=True, slots=True)
class ReaderAdvanced:
    """A reader was sent everything before `offset`. Reported once per piece, not per write."""

    task: TaskId
    reader: ReaderId
    offset: int


@dataclass(frozen=True, slots=True)
class ReaderClosed:
    """A reader is done, or its client went away."""

    task: TaskId
    reader: ReaderId


# --- the store ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StoreOpened:
    """Answer to OpenStore: room is there; `records` are the verified pieces that are already on disk."""

    task: TaskId
    records: tuple[PieceRecord, ...] = ()
    complete: bool = False


@dataclass(frozen=True, slots=True)
class StoreRefused:
    """Answer to OpenStore: no room. The blob can only stream through a ring of pieces."""

    task: TaskId


@dataclass(frozen=True, slots=True)
class PieceCommitted:
    """Answer to CommitPiece: the piece is recorded and may be announced."""

    task: TaskId
    index: int


@dataclass(frozen=True, slots=True)
class PieceLost:
    """A piece could not be recorded, or was found damaged on disk. It is missing again."""

    task: TaskId
    index: int


@dataclass(frozen=True, slots=True)
class BlobChecked:
    """Answer to CheckBlob: whether the whole blob has its own digest. None: its file cannot be read."""

    task: TaskId
    matches: bool | None


@dataclass(frozen=True, slots=True)
class BlobEvicted:
    """A complete blob left the disk, or is there and cannot be read: it is offered no longer."""

    task: TaskId


# --- parents: hosts that we take pieces from ------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ParentAvailable:
    """A parent answered SUBSCRIBE with what it holds."""

    parent: HostId
    task: TaskId
    bits: int


@dataclass(frozen=True, slots=True)
class ParentHas:
    """A parent gained pieces."""

    parent: HostId
    task: TaskId
    records: tuple[PieceRecord, ...]


@dataclass(frozen=True, slots=True)
class ParentBusy:
    """A parent refused this request: no slot is free. It will say ParentReady."""

    parent: HostId
    task: TaskId
    index: int


@dataclass(frozen=True, slots=True)
class ParentReady:
    """A parent that was busy has room again."""

    parent: HostId


@dataclass(frozen=True, slots=True)
class ParentGone:
    """A parent does not have this task (any more)."""

    parent: HostId
    task: TaskId


@dataclass(frozen=True, slots=True)
class ParentLost:
    """The connection to a parent failed; its transfers end with PieceFailed of their own before this."""

    parent: HostId
    fault: PeerFault


@dataclass(frozen=True, slots=True)
class PieceArrived:
    """A piece's bytes are written at their place (or in scratch). `claimed`: the parent's record; `actual`:
    their digest."""

    parent: HostId
    task: TaskId
    claimed: PieceRecord
    actual: bytes
    seconds: float
    scratch: bool = False


@dataclass(frozen=True, slots=True)
class PieceFailed:
    """A request ended without a piece; also the answer to CancelRequest (CANCELLED): nothing writes there
    any more."""

    parent: HostId
    task: TaskId
    index: int
    fault: PeerFault
    scratch: bool = False


# --- the origin -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class OriginAdvanced:
    """Bytes of a fetch arrive: a sign of life between pieces, at most a few a second."""

    task: TaskId
    epoch: Epoch
    received_bytes: int


@dataclass(frozen=True, slots=True)
class OriginPieceArrived:
    """A whole piece of a fetch is written at its place; `record` was made from its bytes."""

    task: TaskId
    epoch: Epoch
    record: PieceRecord


@dataclass(frozen=True, slots=True)
class OriginEnded:
    """A fetch is over. `fault` is None when all of its range arrived, or after StopFetch took effect."""

    task: TaskId
    epoch: Epoch
    fault: OriginFault | None = None
    retry_after_s: float = 0.0
    size: int = -1
    detail: str = ""


@dataclass(frozen=True, slots=True)
class InlineWritten:
    """A tiny blob from the scheduler, digest checked, is in the store, complete; `records`: of its pieces."""

    task: TaskId
    records: tuple[PieceRecord, ...] = ()


# --- children: hosts that take pieces from us -----------------------------------------------------


@dataclass(frozen=True, slots=True)
class ChildSubscribed:
    """A child asks what we hold of a task and wants to hear what we gain. `zone`: its own, if it told."""

    child: HostId
    task: TaskId
    zone: str = ""


@dataclass(frozen=True, slots=True)
class ChildUnsubscribed:
    """A child needs nothing more of a task."""

    child: HostId
    task: TaskId


@dataclass(frozen=True, slots=True)
class ChildLost:
    """A child's control connection ended."""

    child: HostId


@dataclass(frozen=True, slots=True)
class PieceRequested:
    """A child asks for a piece; answered at once with StartUpload or RefuseUpload. (child, request) is
    unique."""

    child: HostId
    request: RequestId
    task: TaskId
    index: int


@dataclass(frozen=True, slots=True)
class UploadEnded:
    """An upload that we started is over; `sent_bytes` are all of the piece's unless it failed."""

    child: HostId
    request: RequestId
    task: TaskId
    sent_bytes: int
    seconds: float
    failed: bool = False


@dataclass(frozen=True, slots=True)
class BlobWithdrawn:
    """An administrator denied or purged a blob: its copy goes, and nobody gets what is on its way."""

    task: TaskId
    reason: str


@dataclass(frozen=True, slots=True)
class TimeReached:
    """The time that the machine asked to be woken at (DaemonMachine.wakeup_at) has come."""


@dataclass(frozen=True, slots=True)
class Stopping:
    """The daemon was asked to stop: no new children, finish what runs, leave."""


Event = (
    SchedulerAttached
    | SchedulerLost
    | SchedulerSaid
    | BlobWanted
    | ReaderOpened
    | ReaderAdvanced
    | ReaderClosed
    | StoreOpened
    | StoreRefused
    | PieceCommitted
    | PieceLost
    | BlobChecked
    | BlobEvicted
    | ParentAvailable
    | ParentHas
    | ParentBusy
    | ParentReady
    | ParentGone
    | ParentLost
    | PieceArrived
    | PieceFailed
    | OriginAdvanced
    | OriginPieceArrived
    | OriginEnded
    | InlineWritten
    | ChildSubscribed
    | ChildUnsubscribed
    | ChildLost
    | PieceRequested
    | UploadEnded
    | BlobWithdrawn
    | TimeReached
    | Stopping
)
