"""The handshake of an Attach stream: each side proves that it knows the cluster token, which is never sent.

The scheduler opens with a Challenge; the daemon answers with a Proof, made over both nonces and its name; the
scheduler's Welcome carries the proof of the other direction. The label in front keeps one side's proof from
passing as the other's. Without a token both proofs are empty and nothing is checked.
"""

import hashlib
import hmac
from dataclasses import dataclass, field

from swarm.ids import HostId

VERSION = 1
"""Version of the stream's rules; facts and fields may be added without a new one."""
VERSION_MIN = 1
"""The oldest version that is understood."""
NONCE_BYTES = 32
"""As many as the hash gives: two sides never meet the same pair twice."""

_DAEMON = b"damselfly attach daemon\0"
_SCHEDULER = b"damselfly attach scheduler\0"


@dataclass(frozen=True, slots=True)
class Challenge:
    """First fact of a stream, from the scheduler."""

    version: int
    nonce: bytes


@dataclass(frozen=True, slots=True)
class Proof:
    """First fact of the daemon: who it is, its own nonce, and the proof."""

    version: int
    host: HostId
    nonce: bytes
    mac: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Welcome:
    """The scheduler takes the daemon, and proves itself. Hello comes next."""

    mac: bytes = field(repr=False)


def daemon_mac(token: bytes, challenge: bytes, nonce: bytes, host: HostId) -> bytes:
    """Return what a daemon proves with; empty without a token."""
    return _mac(token, _DAEMON, challenge, nonce, host)


def scheduler_mac(token: bytes, challenge: bytes, nonce: bytes, host: HostId) -> bytes:
    """Return what a scheduler proves with; empty without a token."""
    return _mac(token, _SCHEDULER, challenge, nonce, host)


def same_mac(left: bytes, right: bytes) -> bool:
    """Compare two proofs in constant time."""
    return hmac.compare_digest(left, right)


def _mac(token: bytes, label: bytes, challenge: bytes, nonce: bytes, host: HostId) -> bytes:
    if not token:
        return b""
    assert len(challenge) == len(nonce) == NONCE_BYTES, "fixed lengths keep the parts of the proof apart"
    return hmac.new(token, label + challenge + nonce + host.encode(), hashlib.sha256).digest()
