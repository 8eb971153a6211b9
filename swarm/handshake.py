"""The handshake of the peer protocol: which version is spoken, and who proves what to whom.

Both sides prove that they know the cluster token, each with an HMAC over both challenges and all that was
said (docs/peer-wire.md, "Handshake"). The token itself is never sent, and one side's proof is of no use as
the other's. From version 2 a control connection's handshake gives both a secret as well, the opening key; a data
connection proves with it that it belongs to the control connection, and needs no handshake of its own.
"""

import hmac
import struct
from enum import Enum

from swarm.frames import VERSION_MAX, VERSION_MIN, HelloFrame
from swarm.ids import HostId

_LABEL = b"damselfly peer 1\x00"
_OPENING = b"\x03"
_OPEN_LABEL = b"damselfly open\x00"


class Side(Enum):
    """Who makes a proof."""

    CHILD = b"\x01"
    PARENT = b"\x02"


def choose_version(
    hello: HelloFrame, version_min: int = VERSION_MIN, version_max: int = VERSION_MAX
) -> int | None:
    """Return the newest version that both sides speak, or None."""
    version = min(hello.version_max, version_max)
    return version if version >= max(hello.version_min, version_min) else None


def prove(
    token: bytes, side: Side, hello: HelloFrame, version: int, parent: HostId, parent_nonce: bytes
) -> bytes:
    """Return one side's proof of the token in this handshake, 32 bytes. Without a token, `token` is empty."""
    return _mac(token, side.value, hello, version, parent, parent_nonce)


def opening_key(token: bytes, hello: HelloFrame, version: int, parent: HostId, parent_nonce: bytes) -> bytes:
    """Return the secret with which this handshake lets data connections be opened, 32 bytes. It is never sent."""
    return _mac(token, _OPENING, hello, version, parent, parent_nonce)


def prove_open(key: bytes, counter: int) -> bytes:
    """Return the proof that a data connection belongs to the control connection with this opening key, 32 bytes."""
    return hmac.digest(key, _OPEN_LABEL + counter.to_bytes(8, "big"), "sha256")


def _mac(
    token: bytes, purpose: bytes, hello: HelloFrame, version: int, parent: HostId, parent_nonce: bytes
) -> bytes:
    fields = (
        struct.pack(">HHHB", hello.version_min, hello.version_max, version, hello.purpose),
        hello.host.encode(),
        parent.encode(),
        hello.nonce,
        parent_nonce,
    )
    said = b"".join(len(field).to_bytes(2, "big") + field for field in fields)
    return hmac.digest(token, _LABEL + purpose + said, "sha256")


def is_proof(claimed: bytes, expected: bytes) -> bool:
    """Compare two proofs without telling by time how much of them agrees."""
    return hmac.compare_digest(claimed, expected)
