"""Writes each message of the Attach stream as its protobuf fact. Its input is trusted: it is our own."""

from collections.abc import Callable
from typing import Any

from swarm import messages as m
from swarm.io import attach_repositories as repositories
from swarm.io.attach_fields import HELD_MAX, write_addresses, write_bits, write_records
from swarm.io.attach_proof import Challenge, Proof, Welcome
from swarm.rpc import attach_pb2 as pb


def _proof(value: Proof) -> pb.DaemonFact:
    return pb.DaemonFact(
        proof=pb.Proof(version=value.version, host=value.host, nonce=value.nonce, mac=value.mac)
    )


def _hello(value: m.Hello) -> pb.DaemonFact:
    info = value.info
    return pb.DaemonFact(
        hello=pb.Hello(
            info=pb.HostInfo(
                host=info.host,
                addresses=write_addresses(info.addresses),
                zone=info.zone,
                rack=info.rack,
                role=_ROLES[info.role],
                upload_bytes_per_s=info.upload_bytes_per_s,
                download_bytes_per_s=info.download_bytes_per_s,
                version=info.version,
            ),
            active=map(_active, value.active),
            # More would be refused; a blob that is not told is only not asked for.
            held=[pb.HeldBlob(task=blob.task, size=blob.size) for blob in value.held[:HELD_MAX]],
        )
    )


def _active(value: m.ActiveTask) -> pb.ActiveTask:
    return pb.ActiveTask(
        task=value.task,
        size=value.size,
        registry=value.registry,
        bits=write_bits(value.bits),
        may_fetch=value.may_fetch,
        stores=value.stores,
        leases=map(_held_lease, value.leases),
    )


def _held_lease(value: m.HeldLease) -> pb.HeldLease:
    return pb.HeldLease(start=value.start, end=value.end, next_piece=value.next_piece, epoch=value.epoch)


def _join(value: m.Join) -> pb.DaemonFact:
    return pb.DaemonFact(
        join=pb.Join(
            task=value.task,
            size=value.size,
            registry=value.registry,
            may_fetch=value.may_fetch,
            stores=value.stores,
            priority=_PRIORITIES[value.priority],
            bits=write_bits(value.bits),
        )
    )


def _progress(value: m.Progress) -> pb.DaemonFact:
    return pb.DaemonFact(progress=pb.Progress(tasks=map(_task_progress, value.tasks)))


def _task_progress(value: m.TaskProgress) -> pb.TaskProgress:
    fact = pb.TaskProgress(task=value.task, bits=write_bits(value.bits))
    if value.records:
        fact.records.CopyFrom(write_records(value.records))
    return fact


def _starving(value: m.Starving) -> pb.DaemonFact:
    return pb.DaemonFact(starving=pb.Starving(task=value.task, wanted=write_bits(value.wanted)))


def _lease_progress(value: m.LeaseProgress) -> pb.DaemonFact:
    return pb.DaemonFact(
        lease_progress=pb.LeaseProgress(
            task=value.task,
            epoch=value.epoch,
            next_piece=value.next_piece,
            received_bytes=value.received_bytes,
        )
    )


def _lease_failed(value: m.LeaseFailed) -> pb.DaemonFact:
    return pb.DaemonFact(
        lease_failed=pb.LeaseFailed(
            task=value.task,
            epoch=value.epoch,
            next_piece=value.next_piece,
            fault=_FAULTS[value.fault],
            retry_after_s=value.retry_after_s,
            size=value.size,
        )
    )


def _piece_rejected(value: m.PieceRejected) -> pb.DaemonFact:
    return pb.DaemonFact(
        piece_rejected=pb.PieceRejected(
            task=value.task,
            index=value.index,
            parent=value.parent,
            expected=value.expected,
            actual=value.actual,
        )
    )


def _load(value: m.Load) -> pb.DaemonFact:
    return pb.DaemonFact(
        load=pb.Load(
            upload_bytes_per_s=value.upload_bytes_per_s,
            download_bytes_per_s=value.download_bytes_per_s,
            uploads=value.uploads,
        )
    )


def _completed(value: m.Completed) -> pb.DaemonFact:
    return pb.DaemonFact(completed=pb.Completed(task=value.task))


def _leave(value: m.Leave) -> pb.DaemonFact:
    return pb.DaemonFact(leave=pb.Leave(task=value.task))


def _inline_content(value: m.InlineContent) -> pb.DaemonFact:
    return pb.DaemonFact(
        inline_content=pb.InlineContent(task=value.task, content=value.content, scope=value.scope)
    )


def _challenge(value: Challenge) -> pb.SchedulerFact:
    return pb.SchedulerFact(challenge=pb.Challenge(version=value.version, nonce=value.nonce))


def _welcome(value: Welcome) -> pb.SchedulerFact:
    return pb.SchedulerFact(welcome=pb.Welcome(mac=value.mac))


def _settings(value: m.Settings) -> pb.SchedulerFact:
    return pb.SchedulerFact(
        settings=pb.Settings(
            progress_interval_s=value.progress_interval_s,
            starving_interval_s=value.starving_interval_s,
        )
    )


def _task_info(value: m.TaskInfo) -> pb.SchedulerFact:
    fact = pb.TaskInfo(task=value.task, size=value.size)
    if value.records:
        fact.records.CopyFrom(write_records(value.records))
    return pb.SchedulerFact(task_info=fact)


def _parents(value: m.Parents) -> pb.SchedulerFact:
    return pb.SchedulerFact(parents=pb.Parents(task=value.task, parents=map(_parent, value.parents)))


def _parent(value: m.Parent) -> pb.Parent:
    return pb.Parent(
        host=value.host,
        addresses=write_addresses(value.addresses),
        zone=value.zone,
        bits=write_bits(value.bits),
    )


def _lease(value: m.Lease) -> pb.SchedulerFact:
    return pb.SchedulerFact(
        lease=pb.Lease(
            task=value.task,
            epoch=value.epoch,
            start=value.start,
            end=value.end,
            timeout_s=value.timeout_s,
            private=value.private,
            inline=value.inline,
            no_range=value.no_range,
        )
    )


def _lease_revoked(value: m.LeaseRevoked) -> pb.SchedulerFact:
    return pb.SchedulerFact(lease_revoked=pb.LeaseRevoked(task=value.task, epoch=value.epoch))


def _quarantine(value: m.Quarantine) -> pb.SchedulerFact:
    return pb.SchedulerFact(quarantine=pb.Quarantine(host=value.host, seconds=value.seconds))


def _inline(value: m.Inline) -> pb.SchedulerFact:
    return pb.SchedulerFact(inline=pb.Inline(task=value.task, content=value.content))


def _no_source(value: m.NoSource) -> pb.SchedulerFact:
    return pb.SchedulerFact(no_source=pb.NoSource(task=value.task, fault=_FAULTS[value.fault]))


_ROLES = {role: pb.Role.ValueType(role) for role in m.Role}
_PRIORITIES = {priority: pb.Priority.ValueType(priority) for priority in m.Priority}
_FAULTS = {fault: pb.OriginFault.ValueType(fault) for fault in m.OriginFault}

DAEMON_FACTS: dict[type, Callable[[Any], pb.DaemonFact]] = {
    Proof: _proof,
    m.Hello: _hello,
    m.Join: _join,
    m.Progress: _progress,
    m.Starving: _starving,
    m.LeaseProgress: _lease_progress,
    m.LeaseFailed: _lease_failed,
    m.PieceRejected: _piece_rejected,
    m.Load: _load,
    m.Completed: _completed,
    m.Leave: _leave,
    m.InlineContent: _inline_content,
    **repositories.DAEMON_FACTS,
}
"""How a daemon's messages are written."""

SCHEDULER_FACTS: dict[type, Callable[[Any], pb.SchedulerFact]] = {
    Challenge: _challenge,
    Welcome: _welcome,
    m.Settings: _settings,
    m.TaskInfo: _task_info,
    m.Parents: _parents,
    m.Lease: _lease,
    m.LeaseRevoked: _lease_revoked,
    m.Quarantine: _quarantine,
    m.Inline: _inline,
    m.NoSource: _no_source,
    **repositories.SCHEDULER_FACTS,
}
"""How a scheduler's messages are written."""
