"""What can happen to a scheduler. I/O turns everything into one of these and hands it to
SchedulerMachine.handle."""

from dataclasses import dataclass

from swarm.ids import Epoch, HostId, TaskId
from swarm.messages import (
    Completed,
    Hello,
    Join,
    LeaseFailed,
    LeaseProgress,
    Leave,
    Load,
    PieceRecord,
    PieceRejected,
    Progress,
    Starving,
)
from swarm.repositories import (
    AskRepository,
    Purge,
    RepositoryReport,
    TagPushed,
    TagReport,
    TagUnresolved,
)
from swarm.roots import NO_ROOT, BlobProved

DaemonMessage = (
    Join
    | Progress
    | Starving
    | LeaseProgress
    | LeaseFailed
    | PieceRejected
    | Load
    | Completed
    | Leave
    | TagReport
    | TagUnresolved
    | TagPushed
    | RepositoryReport
    | AskRepository
    | BlobProved
)
"""What reaches the machine as it was sent. Hello and InlineContent have events of their own."""


@dataclass(frozen=True, slots=True)
class HostAttached:
    """A daemon opened its stream. An older stream of the same host is void: the service has closed it."""

    hello: Hello


@dataclass(frozen=True, slots=True)
class HostLost:
    """A daemon's stream ended, without Leave."""

    host: HostId


@dataclass(frozen=True, slots=True)
class HostSaid:
    """A message of an attached daemon."""

    host: HostId
    message: DaemonMessage


@dataclass(frozen=True, slots=True)
class InlineArrived:
    """A tiny blob arrived from its lease owner, its digest is right, and the service holds it for
    SendInline."""

    host: HostId
    task: TaskId


@dataclass(frozen=True, slots=True)
class InlineForgotten:
    """The service dropped a tiny blob from its bounded cache."""

    task: TaskId


@dataclass(frozen=True, slots=True)
class TaskLoaded:
    """Answer to LoadTask: what the shared store knows. `epoch` is the highest ever granted, 0 for a new
    task."""

    task: TaskId
    epoch: Epoch
    records: tuple[PieceRecord, ...] = ()
    root: bytes = NO_ROOT


@dataclass(frozen=True, slots=True)
class EpochSaved:
    """Answer to SaveEpoch: the grant is durable, the lease may be sent."""

    task: TaskId
    epoch: Epoch


@dataclass(frozen=True, slots=True)
class DigestDenied:
    """An administrator says that nobody may have this content; `reason` in his words."""

    task: TaskId
    reason: str


@dataclass(frozen=True, slots=True)
class DigestAllowed:
    """An administrator says that this content may be had again."""

    task: TaskId


@dataclass(frozen=True, slots=True)
class PurgeWanted:
    """An administrator wants all hosts to forget something."""

    purge: Purge


@dataclass(frozen=True, slots=True)
class TimeReached:
    """The time that the machine asked to be woken at (SchedulerMachine.wakeup_at) has come."""


Event = (
    HostAttached
    | HostLost
    | HostSaid
    | InlineArrived
    | InlineForgotten
    | TaskLoaded
    | EpochSaved
    | DigestDenied
    | DigestAllowed
    | PurgeWanted
    | TimeReached
)
