"""The messages of swarm/messages.py as batches of the Attach stream, and back.

How each message is written and read stands in the tables of attach_encode.py and attach_decode.py.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from swarm.errors import SchedulerError, WireError
from swarm.io.attach_decode import FROM_DAEMON, FROM_SCHEDULER
from swarm.io.attach_encode import DAEMON_FACTS, SCHEDULER_FACTS
from swarm.io.attach_fields import Malformed
from swarm.io.attach_proof import Challenge, Proof, Welcome
from swarm.messages import ToDaemon, ToScheduler
from swarm.rpc import attach_pb2 as pb

BATCH_BYTES_MAX = 4 << 20
"""A batch is closed before it grows beyond this: the receiver's loop shall not stop over one message."""
MESSAGE_BYTES_MAX = 32 << 20
"""What gRPC takes on both sides: a full batch and the largest fact, the records of a 4 TiB blob (10 MB)."""

FromDaemon = ToScheduler | Proof
"""What a daemon's stream carries: messages, and its side of the handshake."""
FromScheduler = ToDaemon | Challenge | Welcome
"""What a scheduler's stream carries."""

Batch = TypeVar("Batch", pb.DaemonBatch, pb.SchedulerBatch)


def to_scheduler(messages: Iterable[FromDaemon]) -> Iterator[pb.DaemonBatch]:
    """Write a daemon's messages in order, in as few batches as their size allows."""
    return _batches(messages, DAEMON_FACTS, pb.DaemonBatch)


def to_daemon(messages: Iterable[FromScheduler]) -> Iterator[pb.SchedulerBatch]:
    """Write a scheduler's messages in order, in as few batches as their size allows."""
    return _batches(messages, SCHEDULER_FACTS, pb.SchedulerBatch)


def from_daemon(batch: pb.DaemonBatch) -> list[FromDaemon]:
    """Read a daemon's batch; raises WireError, after which the stream must end."""
    try:
        return _read(batch.facts, FROM_DAEMON)
    except Malformed as error:
        raise WireError(f"a malformed message on the Attach stream: {error}") from error


def from_scheduler(batch: pb.SchedulerBatch) -> list[FromScheduler]:
    """Read a scheduler's batch; raises SchedulerError, after which the stream must end."""
    try:
        return _read(batch.facts, FROM_SCHEDULER)
    except Malformed as error:
        raise SchedulerError(f"a malformed message of the scheduler: {error}") from error


def _read(facts: Iterable[Any], table: dict[str, Callable[[Any], Any]]) -> list[Any]:
    named = ((fact.WhichOneof("fact"), fact) for fact in facts)
    # A fact that a newer version added has no name here; it is ignored.
    return [table[name](getattr(fact, name)) for name, fact in named if name is not None]


def _batches(
    messages: Iterable[Any], table: dict[type, Callable[[Any, Any], None]], make: Callable[[], Batch]
) -> Iterator[Batch]:
    """Write facts where they will travel: protobuf copies whatever it is given ready-made."""
    batch, weight = make(), 0
    for message in messages:
        fact = batch.facts.add()
        table[type(message)](fact, message)
        size = fact.ByteSize()
        if weight and weight + size > BATCH_BYTES_MAX:
            following, weight = make(), 0
            following.facts.add().CopyFrom(fact)
            del batch.facts[-1]
            yield batch
            batch = following
        weight += size
    if weight:
        yield batch
