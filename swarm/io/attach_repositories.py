"""Writes and reads the facts of swarm/repositories.py; reading raises Malformed for what no correct sender writes."""

from collections.abc import Callable
from typing import Any

from swarm import repositories as r
from swarm.io.attach_fields import (
    DENIED_MAX,
    MEMBERS_MAX,
    SECONDS_MAX,
    Malformed,
    read_list,
    read_seconds,
    read_size_or_unknown,
    read_task,
    read_task_or_none,
    read_text,
)
from swarm.rpc import attach_pb2 as pb

# --- writing --------------------------------------------------------------------------------------


def _tag_report(fact: pb.DaemonFact, value: r.TagReport) -> None:
    fact.tag_report.CopyFrom(
        pb.TagReport(
            registry=value.registry,
            repository=value.repository,
            tag=value.tag,
            digest=value.digest,
            media_type=value.media_type,
            size=value.size,
        )
    )


def _tag_unresolved(fact: pb.DaemonFact, value: r.TagUnresolved) -> None:
    fact.tag_unresolved.CopyFrom(
        pb.TagUnresolved(registry=value.registry, repository=value.repository, tag=value.tag, down=value.down)
    )


def _tag_pushed(fact: pb.DaemonFact, value: r.TagPushed) -> None:
    fact.tag_pushed.CopyFrom(
        pb.TagPushed(registry=value.registry, repository=value.repository, tag=value.tag)
    )


def _repository_report(fact: pb.DaemonFact, value: r.RepositoryReport) -> None:
    fact.repository_report.CopyFrom(
        pb.RepositoryReport(
            registry=value.registry,
            repository=value.repository,
            public=value.public,
            members=value.members[:MEMBERS_MAX],  # more would be refused; the origin is asked about the rest
            sizes=value.sizes[:MEMBERS_MAX],
            closed=value.closed,
            unproven=value.unproven[:MEMBERS_MAX],
            manifest_types=value.manifest_types[:MEMBERS_MAX],
        )
    )


def _ask_repository(fact: pb.DaemonFact, value: r.AskRepository) -> None:
    fact.ask_repository.CopyFrom(
        pb.AskRepository(
            request=value.request,
            registry=value.registry,
            repository=value.repository,
            tag=value.tag,
            digest=value.digest,
            fresh=value.fresh,
        )
    )


def _repository_answer(fact: pb.SchedulerFact, value: r.RepositoryAnswer) -> None:
    fact.repository_answer.CopyFrom(
        pb.RepositoryAnswer(
            request=value.request,
            public=value.public,
            digest=value.digest,
            media_type=value.media_type,
            size=value.size,
            member=value.member,
            public_age_s=min(value.public_age_s, SECONDS_MAX),
            down=value.down,
            closed=value.closed,
        )
    )


def _resolve_tag(fact: pb.SchedulerFact, value: r.ResolveTag) -> None:
    fact.resolve_tag.CopyFrom(
        pb.ResolveTag(registry=value.registry, repository=value.repository, tag=value.tag)
    )


def _denials(fact: pb.SchedulerFact, value: r.Denials) -> None:
    fact.denials.CopyFrom(pb.Denials(denied=value.denied, allowed=value.allowed))


def _purge(fact: pb.SchedulerFact, value: r.Purge) -> None:
    fact.purge.CopyFrom(
        pb.Purge(task=value.task, registry=value.registry, repository=value.repository, tag=value.tag)
    )


DAEMON_FACTS: dict[type, Callable[[pb.DaemonFact, Any], None]] = {
    r.TagReport: _tag_report,
    r.TagUnresolved: _tag_unresolved,
    r.TagPushed: _tag_pushed,
    r.RepositoryReport: _repository_report,
    r.AskRepository: _ask_repository,
}
"""How a daemon's messages are written."""

SCHEDULER_FACTS: dict[type, Callable[[pb.SchedulerFact, Any], None]] = {
    r.RepositoryAnswer: _repository_answer,
    r.ResolveTag: _resolve_tag,
    r.Denials: _denials,
    r.Purge: _purge,
}
"""How a scheduler's messages are written."""

# --- reading --------------------------------------------------------------------------------------


def _read_tag(fact: Any) -> tuple[str, str, str]:
    return read_text(fact.registry), read_text(fact.repository), read_text(fact.tag)


def _read_tag_report(fact: pb.TagReport) -> r.TagReport:
    digest, size = read_task(fact.digest), read_size_or_unknown(fact.size)
    return r.TagReport(*_read_tag(fact), digest, read_text(fact.media_type), size)


def _read_repository_report(fact: pb.RepositoryReport) -> r.RepositoryReport:
    members = tuple(map(read_task, read_list(fact.members, MEMBERS_MAX, "members")))
    sizes = tuple(map(read_size_or_unknown, fact.sizes))
    if len(sizes) not in (0, len(members)):
        raise Malformed(f"{len(sizes)} sizes of {len(members)} members")
    types = tuple(map(read_text, fact.manifest_types))
    if len(types) not in (0, len(members)):
        raise Malformed(f"{len(types)} media types of {len(members)} members")
    unproven = tuple(map(read_task, read_list(fact.unproven, MEMBERS_MAX, "unproven digests")))
    registry, repository = read_text(fact.registry), read_text(fact.repository)
    return r.RepositoryReport(registry, repository, fact.public, members, sizes, fact.closed, unproven, types)


def _read_ask(fact: pb.AskRepository) -> r.AskRepository:
    return r.AskRepository(fact.request, *_read_tag(fact), read_task_or_none(fact.digest), fact.fresh)


def _read_answer(fact: pb.RepositoryAnswer) -> r.RepositoryAnswer:
    return r.RepositoryAnswer(
        fact.request,
        fact.public,
        read_task_or_none(fact.digest),
        read_text(fact.media_type),
        read_size_or_unknown(fact.size),
        fact.member,
        read_seconds(fact.public_age_s),
        fact.down,
        fact.closed,
    )


def _read_denials(fact: pb.Denials) -> r.Denials:
    denied = read_list(fact.denied, DENIED_MAX, "denied digests")
    allowed = read_list(fact.allowed, DENIED_MAX, "allowed digests")
    return r.Denials(tuple(map(read_task, denied)), tuple(map(read_task, allowed)))


FROM_DAEMON: dict[str, Callable[[Any], Any]] = {
    "tag_report": _read_tag_report,
    "tag_unresolved": lambda fact: r.TagUnresolved(*_read_tag(fact), fact.down),
    "tag_pushed": lambda fact: r.TagPushed(*_read_tag(fact)),
    "repository_report": _read_repository_report,
    "ask_repository": _read_ask,
}
"""How a daemon's facts are read, by their name in DaemonFact."""

FROM_SCHEDULER: dict[str, Callable[[Any], Any]] = {
    "repository_answer": _read_answer,
    "resolve_tag": lambda fact: r.ResolveTag(*_read_tag(fact)),
    "denials": _read_denials,
    "purge": lambda fact: r.Purge(read_task_or_none(fact.task), *_read_tag(fact)),
}
"""How a scheduler's facts are read, by their name in SchedulerFact."""
