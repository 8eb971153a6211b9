"""Faults of an origin as data: what goes wrong, with which request, how often."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from typing import Any, Self

ANY = "*"


class FaultKind(StrEnum):
    """What an origin can do to its clients."""

    STATUS = "status"  # answers `status`, with Retry-After if `retry_after_s` is set
    SLOW_HEADERS = "slow-headers"  # says nothing for `seconds`, then answers as usual
    CUT_FIN = "cut-fin"  # closes after `at_bytes` bytes of the body
    CUT_RST = "cut-rst"  # resets after at most `at_bytes` bytes of the body
    STALL = "stall"  # sends nothing for `seconds` after `at_bytes` bytes of the body
    WRONG_BYTE = "wrong-byte"  # flips the byte at offset `at_bytes` of the content
    IGNORE_RANGE = "ignore-range"  # answers 200 with everything
    NO_LENGTH = "no-length"  # chunked, without Content-Length


class Where(StrEnum):
    """Kinds of requests. With redirects a blob's bytes come from STORAGE."""

    PING = "ping"
    MANIFEST = "manifest"
    BLOB = "blob"
    STORAGE = "storage"
    TOKEN = "token"


ANSWER_KINDS = frozenset({FaultKind.STATUS, FaultKind.SLOW_HEADERS})


@dataclass(slots=True)
class Fault:
    """One thing that goes wrong with the next `times` matching requests (None: with all).

    `match` is a digest, a tag, or ANY. A fault of a BLOB's body strikes in STORAGE where blobs are
    redirected. `hits` tells how often it has struck.
    """

    kind: FaultKind
    match: str = ANY
    times: int | None = 1
    where: Where = Where.BLOB
    method: str = "GET"
    at_bytes: int = 0
    seconds: float = 0.0
    status: int = 503
    retry_after_s: int | None = None
    retry_after_as_date: bool = False
    hits: int = 0

    def as_json(self) -> dict[str, Any]:
        """The form of `GET /_faults`."""
        return asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """The inverse of `as_json`; what is left out has its default. Raises ValueError."""
        unknown = document.keys() - {entry.name for entry in fields(cls)}
        if unknown or "kind" not in document:
            raise ValueError(f"a fault needs a kind, and knows no {sorted(unknown)}")
        typed = dict(document) | {"kind": FaultKind(document["kind"])}
        typed["where"] = Where(document.get("where", Where.BLOB))
        return cls(**typed)


@dataclass(frozen=True, slots=True)
class Request:
    """What faults are matched against: `names` are the digest and, if it was asked for by tag, the tag."""

    where: Where
    method: str
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Disturbance:
    """The faults that strike one answer, at most one of each kind."""

    faults: Mapping[FaultKind, Fault] = field(default_factory=dict)

    def get(self, kind: FaultKind) -> Fault | None:
        """The fault of this kind, if there is one."""
        return self.faults.get(kind)

    @property
    def touches_body(self) -> bool:
        """Whether the body cannot go out as it lies on disk."""
        return bool(self.faults.keys() - ANSWER_KINDS - {FaultKind.IGNORE_RANGE})


def strike(faults: Iterable[Fault], request: Request, *, redirects: bool = False) -> Disturbance:
    """Choose the faults that strike this request, the first of each kind, and use them up by one."""
    chosen: dict[FaultKind, Fault] = {}
    for fault in faults:
        if fault.kind not in chosen and _strikes(fault, request, redirects):
            chosen[fault.kind] = fault
            fault.hits += 1
            if fault.times is not None:
                fault.times -= 1
    return Disturbance(chosen)


def _strikes(fault: Fault, request: Request, redirects: bool) -> bool:
    if fault.times == 0 or fault.method not in (ANY, request.method):
        return False
    return _place(fault, redirects) == request.where and fault.match in (ANY, *request.names)


def _place(fault: Fault, redirects: bool) -> Where:
    """A blob's body is sent by the storage if there is a redirect to it."""
    moved = redirects and fault.where is Where.BLOB and fault.kind not in ANSWER_KINDS
    return Where.STORAGE if moved else fault.where
