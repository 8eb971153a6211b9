"""What a scheduler's machine asks I/O to do, in order. Results come back as events (scheduler/events.py)."""

from dataclasses import dataclass

from swarm.facts import Note
from swarm.ids import Epoch, HostId, TaskId
from swarm.messages import PieceRecord, ToDaemon


@dataclass(frozen=True, slots=True)
class Send:
    """Send a message on a daemon's stream; dropped when the stream is gone."""

    host: HostId
    message: ToDaemon


@dataclass(frozen=True, slots=True)
class SendInline:
    """Send the tiny blob that the service holds for this task, as Inline."""

    hosts: tuple[HostId, ...]
    task: TaskId


@dataclass(frozen=True, slots=True)
class LoadTask:
    """Ask the shared store what it knows of a task. Answered by TaskLoaded."""

    task: TaskId


@dataclass(frozen=True, slots=True)
class SaveEpoch:
    """Make a grant durable in the shared store. Answered by EpochSaved."""

    task: TaskId
    epoch: Epoch


@dataclass(frozen=True, slots=True)
class SaveRecords:
    """Keep piece digests in the shared store. Not answered: losing them loses nothing but early detection."""

    task: TaskId
    records: tuple[PieceRecord, ...]


@dataclass(frozen=True, slots=True)
class SaveRoot:
    """Keep a blob's proven root in the shared store, or NO_ROOT if it is proven no more. Not answered: a root that is
    lost is proven again."""

    task: TaskId
    root: bytes


@dataclass(frozen=True, slots=True)
class DropInline:
    """Forget a tiny blob that the service may hold."""

    task: TaskId


@dataclass(frozen=True, slots=True)
class SaveDenials:
    """Keep what is denied, each with its reason, and what was allowed again, beyond this process's end."""

    denied: tuple[tuple[TaskId, str], ...]
    allowed: tuple[TaskId, ...]


Command = Send | SendInline | DropInline | LoadTask | SaveEpoch | SaveRecords | SaveRoot | SaveDenials | Note
