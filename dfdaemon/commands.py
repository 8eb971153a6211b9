"""What a daemon's machine asks I/O to do, in order. Results come back as events (dfdaemon/events.py)."""

from dataclasses import dataclass

from swarm.facts import Note
from swarm.ids import Epoch, HostId, RequestId, TaskId
from swarm.messages import Parent, PieceRecord, ToScheduler


@dataclass(frozen=True, slots=True)
class TellScheduler:
    """Send a message on the Attach stream. Dropped when there is none: the next Hello tells all again."""

    message: ToScheduler


# --- the store ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class OpenStore:
    """Make room for a blob, or find what is there. Answered by StoreOpened or StoreRefused.

    `follow`: compute the blob's own digest behind the download, as FollowBlob asks later.
    """

    task: TaskId
    size: int
    follow: bool = True


@dataclass(frozen=True, slots=True)
class OpenRing:
    """No room on disk: keep pieces in a ring in memory, piece i in place i modulo `slots`. Takes effect at
    once."""

    task: TaskId
    size: int
    slots: int


@dataclass(frozen=True, slots=True)
class CommitPiece:
    """The piece's bytes are right: record them. Answered by PieceCommitted or PieceLost.

    `scratch`: its bytes wait in scratch space and move to their place first. `source`: the parent it came
    from;
    None means the origin.
    """

    task: TaskId
    record: PieceRecord
    scratch: bool = False
    source: HostId | None = None


@dataclass(frozen=True, slots=True)
class FollowBlob:
    """Compute the blob's own digest behind the download from now on, so that little is left for CheckBlob."""

    task: TaskId


@dataclass(frozen=True, slots=True)
class CheckBlob:
    """All pieces are recorded: compute the blob's own digest. Answered by BlobChecked."""

    task: TaskId


@dataclass(frozen=True, slots=True)
class DropPieces:
    """Forget recorded pieces: they turned out to be wrong."""

    task: TaskId
    bits: int


@dataclass(frozen=True, slots=True)
class CompleteBlob:
    """The blob is right: mark it complete, let readers have the rest. `proven`: others computed its digest."""

    task: TaskId
    proven: bool = False


@dataclass(frozen=True, slots=True)
class CloseTask:
    """Nobody needs this download any more; what is on disk stays, a ring is freed."""

    task: TaskId


# --- readers --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ReleaseReaders:
    """Pieces `bits` are all that readers of this task may have so far. Sent when it grows, or a piece was lost."""

    task: TaskId
    bits: int


@dataclass(frozen=True, slots=True)
class FailReaders:
    """The download cannot go on: end all readers of this task with this reason."""

    task: TaskId
    reason: str


# --- parents --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Subscribe:
    """Ask a parent what it holds of a task, connecting first where needed. Answered by ParentAvailable,
    ParentGone or ParentLost."""

    parent: Parent
    task: TaskId


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    """Nothing more is needed from a parent for this task; an idle connection closes by itself."""

    parent: HostId
    task: TaskId


@dataclass(frozen=True, slots=True)
class RequestPiece:
    """Ask a parent for a piece. Answered by PieceArrived, ParentBusy or PieceFailed. `scratch`: a second
    copy (hedge)
    whose bytes go to scratch space, since another transfer may write at the piece's place."""

    parent: HostId
    task: TaskId
    index: int
    scratch: bool = False


@dataclass(frozen=True, slots=True)
class CancelRequest:
    """Take a request back. Always answered by PieceFailed(CANCELLED), once nothing writes any more; a
    PieceArrived
    or ParentBusy that was already on its way comes instead, never both."""

    parent: HostId
    task: TaskId
    index: int
    scratch: bool = False


# --- the origin -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FetchRange:
    """Fetch pieces [start, end) from the origin, in order. Answered by OriginAdvanced, OriginPieceArrived,
    OriginEnded.

    Gives up with TIMEOUT when nothing arrives for `timeout_s`. `limit`: pieces before it only, until
    RaiseLimit (a
    ring holds no more); -1 is none. `inline`: a whole tiny blob: check its digest, send InlineContent, then
    commit.
    `no_range`: the origin ignores Range: read the whole body and discard what lies before `start`.
    """

    task: TaskId
    epoch: Epoch
    start: int
    end: int
    timeout_s: float
    limit: int = -1
    inline: bool = False
    no_range: bool = False


@dataclass(frozen=True, slots=True)
class RaiseLimit:
    """A fetch into a ring may go on up to piece `limit`."""

    task: TaskId
    epoch: Epoch
    limit: int


@dataclass(frozen=True, slots=True)
class StopFetch:
    """End a fetch. Answered by OriginEnded, once nothing writes any more."""

    task: TaskId
    epoch: Epoch


@dataclass(frozen=True, slots=True)
class WriteInline:
    """A tiny blob came from the scheduler: check its digest and store it. Answered by InlineWritten, or
    StoreRefused."""

    task: TaskId
    content: bytes


# --- children -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SendAvailability:
    """Answer a child's SUBSCRIBE."""

    child: HostId
    task: TaskId
    size: int
    bits: int


@dataclass(frozen=True, slots=True)
class SendGone:
    """Tell a child that we do not have the task."""

    child: HostId
    task: TaskId


@dataclass(frozen=True, slots=True)
class SendHave:
    """Tell children what we gained."""

    children: tuple[HostId, ...]
    task: TaskId
    records: tuple[PieceRecord, ...]


@dataclass(frozen=True, slots=True)
class StartUpload:
    """Send a piece. Answered by UploadEnded."""

    child: HostId
    request: RequestId
    task: TaskId
    record: PieceRecord


@dataclass(frozen=True, slots=True)
class RefuseUpload:
    """Answer a request with BUSY, or with GONE when we do not have the piece."""

    child: HostId
    request: RequestId
    gone: bool = False


@dataclass(frozen=True, slots=True)
class AbortUpload:
    """Take a slot back from an upload that makes no progress. Answered by UploadEnded(failed)."""

    child: HostId
    request: RequestId


@dataclass(frozen=True, slots=True)
class StopSending:
    """Pieces are dropped, and their places in the file may be written next: nothing of them is on its way to any child
    when the next command is carried out. Uploads that run are answered by UploadEnded(failed)."""

    task: TaskId
    bits: int


@dataclass(frozen=True, slots=True)
class WakeChild:
    """Tell a child that was refused that there is room."""

    child: HostId


Command = (
    TellScheduler
    | OpenStore
    | OpenRing
    | CommitPiece
    | FollowBlob
    | CheckBlob
    | DropPieces
    | CompleteBlob
    | CloseTask
    | ReleaseReaders
    | FailReaders
    | Subscribe
    | Unsubscribe
    | RequestPiece
    | CancelRequest
    | FetchRange
    | RaiseLimit
    | StopFetch
    | WriteInline
    | SendAvailability
    | SendGone
    | SendHave
    | StartUpload
    | RefuseUpload
    | AbortUpload
    | StopSending
    | WakeChild
    | Note
)
