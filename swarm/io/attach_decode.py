"""Reads each fact of the Attach stream as its message; raises Malformed for what no correct sender writes."""

from collections.abc import Callable
from typing import Any

from swarm import messages as m
from swarm.ids import Epoch
from swarm.io import attach_repositories as repositories
from swarm.io.attach_fields import (
    ACTIVE_MAX,
    HELD_MAX,
    LEASES_MAX,
    PARENTS_MAX,
    PIECES_MAX,
    Malformed,
    count_of,
    read_addresses,
    read_bits,
    read_content,
    read_digest,
    read_fault,
    read_host,
    read_index,
    read_layer,
    read_list,
    read_priority,
    read_rate,
    read_records,
    read_role,
    read_seconds,
    read_size,
    read_size_or_unknown,
    read_task,
    read_task_or_none,
    read_text,
)
from swarm.io.attach_proof import NONCE_BYTES, Challenge, Proof, Welcome
from swarm.roots import NO_ROOT, ROOT_BYTES, BlobProved, Proven
from swarm.rpc import attach_pb2 as pb

MAC_BYTES = (0, 32)
"""An empty proof where no token is configured, or an HMAC-SHA256."""


def _nonce(nonce: bytes) -> bytes:
    if len(nonce) != NONCE_BYTES:
        raise Malformed(f"a nonce of {len(nonce)} bytes")
    return nonce


def _mac(mac: bytes) -> bytes:
    if len(mac) not in MAC_BYTES:
        raise Malformed(f"a proof of {len(mac)} bytes")
    return mac


def _proof(fact: pb.Proof) -> Proof:
    return Proof(fact.version, read_host(fact.host), _nonce(fact.nonce), _mac(fact.mac))


def _hello(fact: pb.Hello) -> m.Hello:
    info = fact.info
    return m.Hello(
        m.HostInfo(
            read_host(info.host),
            read_addresses(info.addresses),
            read_text(info.zone),
            read_text(info.rack),
            read_role(info.role),
            read_rate(info.upload_bytes_per_s),
            read_rate(info.download_bytes_per_s),
            read_text(info.version),
        ),
        tuple(map(_active, read_list(fact.active, ACTIVE_MAX, "active tasks"))),
        tuple(map(_held, read_list(fact.held, HELD_MAX, "held blobs"))),
    )


def _active(fact: pb.ActiveTask) -> m.ActiveTask:
    count = count_of(read_size(fact.size))
    return m.ActiveTask(
        read_task(fact.task),
        fact.size,
        read_text(fact.registry),
        read_bits(fact.bits, count),
        fact.may_fetch,
        fact.stores,
        tuple(_held_lease(lease, count) for lease in read_list(fact.leases, LEASES_MAX, "leases")),
        fact.shares_check,
        read_layer(fact),
    )


def _held_lease(fact: pb.HeldLease, count: int) -> m.HeldLease:
    if not fact.start <= fact.next_piece <= fact.end <= count:
        raise Malformed(f"a lease of [{fact.start}, {fact.end}) at {fact.next_piece} of {count} pieces")
    return m.HeldLease(fact.start, fact.end, fact.next_piece, Epoch(fact.epoch))


def _held(fact: pb.HeldBlob) -> m.HeldBlob:
    return m.HeldBlob(read_task(fact.task), read_size(fact.size))


def _join(fact: pb.Join) -> m.Join:
    count = count_of(read_size(fact.size))
    return m.Join(
        read_task(fact.task),
        fact.size,
        read_text(fact.registry),
        fact.may_fetch,
        fact.stores,
        read_priority(fact.priority),
        read_bits(fact.bits, count),
        fact.shares_check,
        read_layer(fact),
    )


def _progress(fact: pb.Progress) -> m.Progress:
    return m.Progress(tuple(map(_task_progress, read_list(fact.tasks, ACTIVE_MAX, "tasks"))))


def _task_progress(fact: pb.TaskProgress) -> m.TaskProgress:
    records = read_records(fact.records) if fact.HasField("records") else ()
    return m.TaskProgress(read_task(fact.task), read_bits(fact.bits), records)


def _starving(fact: pb.Starving) -> m.Starving:
    return m.Starving(read_task(fact.task), read_bits(fact.wanted))


def _lease_progress(fact: pb.LeaseProgress) -> m.LeaseProgress:
    return m.LeaseProgress(
        read_task(fact.task), Epoch(fact.epoch), read_index(fact.next_piece), fact.received_bytes
    )


def _lease_failed(fact: pb.LeaseFailed) -> m.LeaseFailed:
    return m.LeaseFailed(
        read_task(fact.task),
        Epoch(fact.epoch),
        read_index(fact.next_piece),
        read_fault(fact.fault),
        read_seconds(fact.retry_after_s),
        read_size_or_unknown(fact.size),
    )


def _piece_rejected(fact: pb.PieceRejected) -> m.PieceRejected:
    return m.PieceRejected(
        read_task(fact.task),
        read_index(fact.index, PIECES_MAX - 1),
        read_host(fact.parent),
        read_digest(fact.expected),
        read_digest(fact.actual),
        fact.fits,
    )


def _load(fact: pb.Load) -> m.Load:
    return m.Load(read_rate(fact.upload_bytes_per_s), read_rate(fact.download_bytes_per_s), fact.uploads)


def _completed(fact: pb.Completed) -> m.Completed:
    return m.Completed(read_task(fact.task))


def _leave(fact: pb.Leave) -> m.Leave:
    return m.Leave(read_task_or_none(fact.task))


def _inline_content(fact: pb.InlineContent) -> m.InlineContent:
    return m.InlineContent(read_task(fact.task), read_content(fact.content), read_text(fact.scope))


def _challenge(fact: pb.Challenge) -> Challenge:
    return Challenge(fact.version, _nonce(fact.nonce))


def _welcome(fact: pb.Welcome) -> Welcome:
    return Welcome(_mac(fact.mac))


def _settings(fact: pb.Settings) -> m.Settings:
    intervals = read_seconds(fact.progress_interval_s), read_seconds(fact.starving_interval_s)
    return m.Settings(*intervals, fact.leases_imports)


def _task_info(fact: pb.TaskInfo) -> m.TaskInfo:
    size = read_size(fact.size)
    records = read_records(fact.records, count_of(size)) if fact.HasField("records") else ()
    return m.TaskInfo(read_task(fact.task), size, records, fact.is_spared)


def _parents(fact: pb.Parents) -> m.Parents:
    return m.Parents(
        read_task(fact.task), tuple(map(_parent, read_list(fact.parents, PARENTS_MAX, "parents")))
    )


def _parent(fact: pb.Parent) -> m.Parent:
    return m.Parent(
        read_host(fact.host), read_addresses(fact.addresses), read_text(fact.zone), read_bits(fact.bits)
    )


def _lease(fact: pb.Lease) -> m.Lease:
    if not fact.start <= fact.end <= PIECES_MAX:
        raise Malformed(f"a lease of [{fact.start}, {fact.end})")
    return m.Lease(
        read_task(fact.task),
        Epoch(fact.epoch),
        fact.start,
        fact.end,
        read_seconds(fact.timeout_s),
        fact.private,
        fact.inline,
        fact.no_range,
    )


def _imports(fact: pb.Imports) -> m.Imports:
    return m.Imports(read_task(fact.task), read_bits(fact.bits))


def _lease_revoked(fact: pb.LeaseRevoked) -> m.LeaseRevoked:
    return m.LeaseRevoked(read_task(fact.task), Epoch(fact.epoch))


def _quarantine(fact: pb.Quarantine) -> m.Quarantine:
    return m.Quarantine(read_host(fact.host), read_seconds(fact.seconds))


def _inline(fact: pb.Inline) -> m.Inline:
    return m.Inline(read_task(fact.task), read_content(fact.content))


def _no_source(fact: pb.NoSource) -> m.NoSource:
    return m.NoSource(read_task(fact.task), read_fault(fact.fault))


def _blob_proved(fact: pb.BlobProved) -> BlobProved:
    return BlobProved(read_task(fact.task), _root(fact.root))


def _proven(fact: pb.Proven) -> Proven:
    return Proven(read_task(fact.task), _root(fact.root) if fact.root else NO_ROOT)


def _root(root: bytes) -> bytes:
    if len(root) != ROOT_BYTES:
        raise Malformed(f"a root of {len(root)} bytes")
    return root


FROM_DAEMON: dict[str, Callable[[Any], m.ToScheduler | Proof]] = {
    "proof": _proof,
    "hello": _hello,
    "join": _join,
    "progress": _progress,
    "starving": _starving,
    "lease_progress": _lease_progress,
    "lease_failed": _lease_failed,
    "piece_rejected": _piece_rejected,
    "load": _load,
    "completed": _completed,
    "leave": _leave,
    "inline_content": _inline_content,
    "blob_proved": _blob_proved,
    **repositories.FROM_DAEMON,
}
"""How a daemon's facts are read, by their name in DaemonFact."""

FROM_SCHEDULER: dict[str, Callable[[Any], m.ToDaemon | Challenge | Welcome]] = {
    "challenge": _challenge,
    "welcome": _welcome,
    "settings": _settings,
    "task_info": _task_info,
    "parents": _parents,
    "lease": _lease,
    "imports": _imports,
    "lease_revoked": _lease_revoked,
    "quarantine": _quarantine,
    "inline": _inline,
    "no_source": _no_source,
    "proven": _proven,
    **repositories.FROM_SCHEDULER,
}
"""How a scheduler's facts are read, by their name in SchedulerFact."""
