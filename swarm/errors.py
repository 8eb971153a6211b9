"""All errors of Damselfly as one tree. The class says who is to blame, and carries the data.

DamselflyError
├── ClientError          the client asked for something that cannot be: 4xx, nothing changes
│   ├── BadDigest  BadName  BadRange
│   ├── NotAllowed       the registry is not one that this mirror may reach
│   └── ContentDenied    an administrator lets nobody have this content
├── PeerError            another host broke the protocol, or went away
│   ├── WireError  PeerUnreachable  PeerRefused
│   └── PieceMismatch    the bytes are not those of the digest
├── OriginError          the registry failed
│   ├── OriginUnreachable  OriginTimeout  OriginCut
│   │   └── TokenUnreachable  it wants a token, and who gives them does not answer
│   ├── OriginStatus     any answer that is not the wanted one, with its status and challenge
│   ├── RedirectRefused  it sends us where this mirror does not go
│   ├── OriginThrottled  429 or 503 with the time to wait
│   └── OriginContent    the body is not what its digest or size says
├── SchedulerError       the scheduler is gone or broke the protocol
└── OurselvesError       this process cannot: its disk, its configuration
    ├── ConfigError
    ├── OwnLimit         our own limits left a request to a registry no room
    └── StoreError ── StoreFull  StoreBusy  StoreTooNew  StoreBroken
"""

from dataclasses import dataclass


class DamselflyError(Exception):
    """Something happened; `str()` says what, to what, and what to do. Never holds a secret."""


class ClientError(DamselflyError):
    """The client's request cannot be served as it stands."""


@dataclass(eq=False)
class BadDigest(ClientError):
    """A text that is not a digest that we can check."""

    text: str
    reason: str

    def __str__(self) -> str:
        return f"malformed digest {self.text!r}: {self.reason}"


@dataclass(eq=False)
class BadName(ClientError):
    """A registry, repository or tag name outside the grammar of the OCI distribution specification."""

    text: str
    reason: str

    def __str__(self) -> str:
        return f"malformed name {self.text!r}: {self.reason}"


@dataclass(eq=False)
class BadRange(ClientError):
    """A Range that lies outside the blob (RFC 9110, section 14.1.2)."""

    text: str
    size: int

    def __str__(self) -> str:
        return f"range {self.text!r} lies outside a blob of {self.size} bytes"


@dataclass(eq=False)
class NotAllowed(ClientError):
    """A registry or address that this mirror's configuration does not let clients reach."""

    target: str
    reason: str

    def __str__(self) -> str:
        return f"{self.target} may not be reached through this mirror: {self.reason}"


@dataclass(eq=False)
class ContentDenied(ClientError):
    """Content that an administrator of the cluster lets nobody have."""

    digest: str

    def __str__(self) -> str:
        return f"{self.digest} is denied by an administrator of this cluster"


class PeerError(DamselflyError):
    """Another host is to blame."""


class WireError(PeerError):
    """A frame that breaks the peer protocol."""


class PeerUnreachable(PeerError):
    """No address of the host takes a connection in time."""


class PeerRefused(PeerError):
    """The host answered that it will not: wrong token, no common version, too many children."""


class PieceMismatch(PeerError):
    """Bytes whose digest is not the one that goes with their piece."""


class OriginError(DamselflyError):
    """The origin registry is to blame."""


class OriginUnreachable(OriginError):
    """No connection to the origin, or no name for it, in time."""


class OriginTimeout(OriginError):
    """The origin went silent for too long."""


class OriginCut(OriginError):
    """The origin closed the connection before the end of the body."""


class OriginContent(OriginError):
    """The origin's body is not what its digest or its size says."""


@dataclass(eq=False)
class RedirectRefused(OriginError):
    """The origin redirected a request to where this mirror's configuration does not let it lead."""

    target: str
    reason: str

    def __str__(self) -> str:
        return f"{self.target} was redirected, and that was not followed: {self.reason}"


@dataclass(eq=False)
class OriginStatus(OriginError):
    """The origin answered with another status than the one asked for."""

    status: int
    target: str
    challenges: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"the origin answered {self.status} to {self.target}"


@dataclass(eq=False)
class TokenUnreachable(OriginUnreachable):
    """The origin wants a token, and the endpoint that gives them could not be asked: so nobody said no.

    `refusal` is how it asks for one: a client may reach the endpoint where we do not. `throttled`: it wants us to wait.
    """

    refusal: OriginStatus
    reason: str
    throttled: bool = False

    def __str__(self) -> str:
        return f"{self.refusal}, and no token is to be had: {self.reason}"


@dataclass(eq=False)
class OriginThrottled(OriginError):
    """The origin asks us to wait: 429, or 503 with Retry-After."""

    status: int
    target: str
    retry_after_s: float

    def __str__(self) -> str:
        return f"the origin answered {self.status} to {self.target}: wait {self.retry_after_s:g} s"


class SchedulerError(DamselflyError):
    """The scheduler is to blame."""


class OurselvesError(DamselflyError):
    """This process, its machine or its configuration is to blame."""


class ConfigError(OurselvesError):
    """A setting that cannot be used: says which key, why, and what is allowed."""


@dataclass(eq=False)
class OwnLimit(OurselvesError):
    """A request to a registry for which this host's own limits left no room: the registry is not to blame.

    `retry_after_s` 0: nobody knows when there is room.
    """

    target: str
    reason: str
    retry_after_s: float = 0.0

    def __str__(self) -> str:
        return f"{self.target} was not sent: {self.reason}"


class StoreError(OurselvesError):
    """The blob store cannot do what was asked."""


class StoreFull(StoreError):
    """No room for a blob, even after evicting what may be evicted."""


class StoreBusy(StoreError):
    """A file cannot be opened for want of descriptors or memory: that passes, and says nothing of the file."""


class StoreTooNew(StoreError):
    """The data folder was written by a newer version; nothing in it was touched."""


class StoreBroken(StoreError):
    """The data folder cannot be read or written."""
