"""Writes each message of the Attach stream into its protobuf fact. Its input is trusted: it is our own."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from swarm import messages as m
from swarm.ids import HostId
from swarm.io import attach_repositories as repositories
from swarm.io.attach_fields import HELD_MAX, write_addresses, write_bits, write_records
from swarm.io.attach_proof import Challenge, Proof, Welcome
from swarm.layers import Layer
from swarm.roots import BlobProved, Proven
from swarm.rpc import attach_pb2 as pb

HOSTS_CACHED = 16_384
"""Hosts whose introduction is kept written, some 5 MB: more than one scheduler is built for."""
RECORDS_CACHED = 64
"""Tasks whose piece digests are kept written; a burst of joins is about the layers of few images."""


def _proof(fact: pb.DaemonFact, value: Proof) -> None:
    proof = fact.proof
    proof.version, proof.host, proof.nonce, proof.mac = value.version, value.host, value.nonce, value.mac


def _hello(fact: pb.DaemonFact, value: m.Hello) -> None:
    info = value.info
    fact.hello.info.CopyFrom(
        pb.HostInfo(
            host=info.host,
            addresses=write_addresses(info.addresses),
            zone=info.zone,
            rack=info.rack,
            role=_ROLES[info.role],
            upload_bytes_per_s=info.upload_bytes_per_s,
            download_bytes_per_s=info.download_bytes_per_s,
            version=info.version,
        )
    )
    fact.hello.active.extend(map(_active, value.active))
    # More would be refused; a blob that is not told is only not asked for.
    held = (pb.HeldBlob(task=blob.task, size=blob.size) for blob in value.held[:HELD_MAX])
    fact.hello.held.extend(held)


def _active(value: m.ActiveTask) -> pb.ActiveTask:
    return pb.ActiveTask(
        task=value.task,
        size=value.size,
        registry=value.registry,
        bits=write_bits(value.bits),
        may_fetch=value.may_fetch,
        stores=value.stores,
        leases=map(_held_lease, value.leases),
        shares_check=value.shares_check,
        layer=_layer(value.layer),
    )


def _held_lease(value: m.HeldLease) -> pb.HeldLease:
    return pb.HeldLease(start=value.start, end=value.end, next_piece=value.next_piece, epoch=value.epoch)


def _join(fact: pb.DaemonFact, value: m.Join) -> None:
    fact.join.CopyFrom(
        pb.Join(
            task=value.task,
            size=value.size,
            registry=value.registry,
            may_fetch=value.may_fetch,
            stores=value.stores,
            priority=_PRIORITIES[value.priority],
            bits=write_bits(value.bits),
            shares_check=value.shares_check,
            layer=_layer(value.layer),
        )
    )


def _layer(value: Layer | None) -> pb.Layer | None:
    return None if value is None else pb.Layer(image=value.image, place=value.place)


def _progress(fact: pb.DaemonFact, value: m.Progress) -> None:
    fact.progress.CopyFrom(pb.Progress(tasks=map(_task_progress, value.tasks)))


def _task_progress(value: m.TaskProgress) -> pb.TaskProgress:
    fact = pb.TaskProgress(task=value.task, bits=write_bits(value.bits))
    if value.records:
        fact.records.CopyFrom(write_records(value.records))
    return fact


def _starving(fact: pb.DaemonFact, value: m.Starving) -> None:
    fact.starving.CopyFrom(pb.Starving(task=value.task, wanted=write_bits(value.wanted)))


def _lease_progress(fact: pb.DaemonFact, value: m.LeaseProgress) -> None:
    fact.lease_progress.CopyFrom(
        pb.LeaseProgress(
            task=value.task,
            epoch=value.epoch,
            next_piece=value.next_piece,
            received_bytes=value.received_bytes,
        )
    )


def _lease_failed(fact: pb.DaemonFact, value: m.LeaseFailed) -> None:
    fact.lease_failed.CopyFrom(
        pb.LeaseFailed(
            task=value.task,
            epoch=value.epoch,
            next_piece=value.next_piece,
            fault=_FAULTS[value.fault],
            retry_after_s=value.retry_after_s,
            size=value.size,
        )
    )


def _piece_rejected(fact: pb.DaemonFact, value: m.PieceRejected) -> None:
    fact.piece_rejected.CopyFrom(
        pb.PieceRejected(
            task=value.task,
            index=value.index,
            parent=value.parent,
            expected=value.expected,
            actual=value.actual,
            fits=value.fits,
        )
    )


def _load(fact: pb.DaemonFact, value: m.Load) -> None:
    fact.load.CopyFrom(
        pb.Load(
            upload_bytes_per_s=value.upload_bytes_per_s,
            download_bytes_per_s=value.download_bytes_per_s,
            uploads=value.uploads,
        )
    )


def _completed(fact: pb.DaemonFact, value: m.Completed) -> None:
    fact.completed.CopyFrom(pb.Completed(task=value.task))


def _leave(fact: pb.DaemonFact, value: m.Leave) -> None:
    fact.leave.CopyFrom(pb.Leave(task=value.task))


def _inline_content(fact: pb.DaemonFact, value: m.InlineContent) -> None:
    inline = pb.InlineContent(task=value.task, content=value.content, scope=value.scope)
    fact.inline_content.CopyFrom(inline)


def _challenge(fact: pb.SchedulerFact, value: Challenge) -> None:
    fact.challenge.CopyFrom(pb.Challenge(version=value.version, nonce=value.nonce))


def _welcome(fact: pb.SchedulerFact, value: Welcome) -> None:
    fact.welcome.CopyFrom(pb.Welcome(mac=value.mac))


def _settings(fact: pb.SchedulerFact, value: m.Settings) -> None:
    fact.settings.CopyFrom(
        pb.Settings(
            progress_interval_s=value.progress_interval_s,
            starving_interval_s=value.starving_interval_s,
            leases_imports=value.leases_imports,
        )
    )


def _task_info(fact: pb.SchedulerFact, value: m.TaskInfo) -> None:
    info = fact.task_info
    info.task, info.size, info.is_spared = value.task, value.size, value.is_spared
    if value.records:
        info.records.CopyFrom(_told_records(_SameRecords(value.records)))


class _SameRecords:
    """Records by identity: all who join a task are told one tuple, and to compare 256 records takes long."""

    __slots__ = ("records",)

    def __init__(self, records: tuple[m.PieceRecord, ...]) -> None:
        self.records = records

    def __hash__(self) -> int:
        return id(self.records)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _SameRecords) and self.records is other.records


@lru_cache(maxsize=RECORDS_CACHED)
def _told_records(same: _SameRecords) -> pb.Records:
    return write_records(same.records)


def _parents(fact: pb.SchedulerFact, value: m.Parents) -> None:
    parents = fact.parents
    parents.task = value.task
    for parent in value.parents:
        told = parents.parents.add()
        told.CopyFrom(_introduced(parent.host, parent.addresses, parent.zone))
        if parent.bits:
            told.bits = write_bits(parent.bits)


@lru_cache(maxsize=HOSTS_CACHED)
def _introduced(host: HostId, addresses: tuple[m.Address, ...], zone: str) -> pb.Parent:
    """Write what is always the same of a host: a scheduler introduces each one tens of times for every blob."""
    return pb.Parent(host=host, addresses=write_addresses(addresses), zone=zone)


def _lease(fact: pb.SchedulerFact, value: m.Lease) -> None:
    fact.lease.CopyFrom(
        pb.Lease(
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


def _imports(fact: pb.SchedulerFact, value: m.Imports) -> None:
    fact.imports.CopyFrom(pb.Imports(task=value.task, bits=write_bits(value.bits)))


def _lease_revoked(fact: pb.SchedulerFact, value: m.LeaseRevoked) -> None:
    fact.lease_revoked.CopyFrom(pb.LeaseRevoked(task=value.task, epoch=value.epoch))


def _quarantine(fact: pb.SchedulerFact, value: m.Quarantine) -> None:
    fact.quarantine.CopyFrom(pb.Quarantine(host=value.host, seconds=value.seconds))


def _inline(fact: pb.SchedulerFact, value: m.Inline) -> None:
    fact.inline.CopyFrom(pb.Inline(task=value.task, content=value.content))


def _no_source(fact: pb.SchedulerFact, value: m.NoSource) -> None:
    fact.no_source.CopyFrom(pb.NoSource(task=value.task, fault=_FAULTS[value.fault]))


def _blob_proved(fact: pb.DaemonFact, value: BlobProved) -> None:
    fact.blob_proved.CopyFrom(pb.BlobProved(task=value.task, root=value.root))


def _proven(fact: pb.SchedulerFact, value: Proven) -> None:
    fact.proven.CopyFrom(pb.Proven(task=value.task, root=value.root))


_ROLES = {role: pb.Role.ValueType(role) for role in m.Role}
_PRIORITIES = {priority: pb.Priority.ValueType(priority) for priority in m.Priority}
_FAULTS = {fault: pb.OriginFault.ValueType(fault) for fault in m.OriginFault}

DAEMON_FACTS: dict[type, Callable[[pb.DaemonFact, Any], None]] = {
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
    BlobProved: _blob_proved,
    **repositories.DAEMON_FACTS,
}
"""How a daemon's messages are written."""

SCHEDULER_FACTS: dict[type, Callable[[pb.SchedulerFact, Any], None]] = {
    Challenge: _challenge,
    Welcome: _welcome,
    m.Settings: _settings,
    m.TaskInfo: _task_info,
    m.Parents: _parents,
    m.Lease: _lease,
    m.Imports: _imports,
    m.LeaseRevoked: _lease_revoked,
    m.Quarantine: _quarantine,
    m.Inline: _inline,
    m.NoSource: _no_source,
    Proven: _proven,
    **repositories.SCHEDULER_FACTS,
}
"""How a scheduler's messages are written."""
