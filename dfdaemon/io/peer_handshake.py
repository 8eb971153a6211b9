"""The handshake of the peer wire on a fresh socket, read to the byte: what follows is left in the socket."""

import asyncio
import secrets
from contextlib import suppress
from dataclasses import dataclass, field

from dfdaemon.io.peer_stream import PeerStream, receive, send_all
from dfdaemon.patience import LIMIT_S_MAX, Patience
from swarm import frames
from swarm.errors import PeerRefused, PeerUnreachable, WireError
from swarm.frames import (
    NONCE_BYTES,
    Frame,
    HelloFrame,
    OpenFrame,
    ProofFrame,
    Purpose,
    Refusal,
    RefusedFrame,
    WelcomeFrame,
)
from swarm.handshake import Side, choose_version, is_proof, opening_key, prove
from swarm.ids import HostId
from swarm.wire import Decoder, encode

HANDSHAKE_S = 2.0
"""For all of it where nobody is busy: two round trips and no work (patience.py says when it is more)."""
LEFT_BYTES_MAX = 256
"""Read of a child that is refused: more than a REQUEST has."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What this daemon is called, where it is, the cluster token that it proves to know (empty: no token), and the
    newest version that it speaks."""

    host: HostId
    token: bytes
    zone: str = ""
    version_max: int = frames.VERSION_MAX

    def __repr__(self) -> str:
        return f"Identity(host={self.host!r})"


@dataclass(frozen=True, slots=True)
class Welcomed:
    """What a handshake came to: the version to speak, and its opening key (swarm/handshake.py)."""

    version: int
    key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Greeting:
    """A child that proved to know the token, what it connected for, the opening key, and its zone, if it told."""

    child: HostId
    purpose: Purpose
    version: int
    key: bytes = field(repr=False)
    zone: str = ""


async def greet(
    sock: PeerStream, me: Identity, parent: HostId, purpose: Purpose, patience: Patience
) -> Welcomed:
    """Open a connection to a parent as its child, with a handshake.

    Raises PeerUnreachable, PeerRefused or WireError, and then closes the socket.
    """
    try:
        return await _greet(sock, me, parent, purpose, patience)
    except BaseException:
        sock.close()
        raise


async def _greet(
    sock: PeerStream, me: Identity, parent: HostId, purpose: Purpose, patience: Patience
) -> Welcomed:
    nonce = secrets.token_bytes(NONCE_BYTES)
    hello = HelloFrame(frames.VERSION_MIN, me.version_max, purpose, me.host, nonce, me.zone)
    clock, limit_s = asyncio.get_running_loop().time, patience.limit_s(HANDSHAKE_S)
    began = clock()
    try:
        async with asyncio.timeout(limit_s):
            await _send(sock, hello)
            answer = await _receive(sock, Decoder(frames.WELCOME_OR_REFUSED))
            patience.heard(clock() - began)
            if isinstance(answer, RefusedFrame):
                raise refused(parent, answer)
            assert isinstance(answer, WelcomeFrame), "the decoder lets nothing else through"
            _check_welcome(answer, hello, me, parent)
            said = hello, answer.version, parent, answer.nonce
            await _send(sock, ProofFrame(prove(me.token, Side.CHILD, *said)))
    except TimeoutError as error:
        patience.missed(limit_s)
        raise PeerUnreachable(f"{parent} did not finish the handshake within {limit_s:.3g} s") from error
    except OSError as error:
        raise PeerUnreachable(f"{parent} did not finish the handshake: {error}") from error
    return Welcomed(answer.version, opening_key(me.token, *said))


class FirstFrame:
    """What whoever connects to us says first, read to the byte."""

    def __init__(self, sock: PeerStream) -> None:
        self._sock = sock
        self._decoder = Decoder(frames.HELLO_OR_OPEN)

    def read(self) -> HelloFrame | OpenFrame | None:
        """Return the frame if all of it is here. Raises PeerUnreachable or WireError."""
        try:
            while True:
                frame = _decode(self._decoder, self._sock.recv(self._decoder.wanted_bytes))
                if frame is not None:
                    assert isinstance(frame, HelloFrame | OpenFrame), "the decoder lets nothing else through"
                    return frame
        except (BlockingIOError, InterruptedError):
            return None
        except OSError as error:
            raise PeerUnreachable(f"a child said nothing whole: {error}") from error

    async def wait(self) -> HelloFrame | OpenFrame:
        """Wait for it, LIMIT_S_MAX at most. Raises PeerUnreachable or WireError."""
        try:
            async with asyncio.timeout(LIMIT_S_MAX):
                frame = await _receive(self._sock, self._decoder)
        except TimeoutError as error:
            raise PeerUnreachable(f"a child did not finish the handshake within {LIMIT_S_MAX:g} s") from error
        except OSError as error:
            raise PeerUnreachable(f"a child said nothing whole: {error}") from error
        assert isinstance(frame, HelloFrame | OpenFrame), "the decoder lets nothing else through"
        return frame


async def take_greeting(sock: PeerStream, hello: HelloFrame, me: Identity, patience: Patience) -> Greeting:
    """Answer a child's HELLO, as its parent. Only from children that prove the token is patience learned.

    It waits long: a child whose turn comes late is no worse than another. Whose place is needed is up to the caller.

    Raises PeerUnreachable, PeerRefused (it was told why) or WireError; the socket is then to be closed.
    """
    clock = asyncio.get_running_loop().time
    version = choose_version(hello, version_max=me.version_max)
    if version is None:
        spoken = f"{frames.VERSION_MIN} to {me.version_max}"
        raise refuse(sock, hello.host, Refusal.VERSION, f"this host speaks versions {spoken}")
    nonce = secrets.token_bytes(NONCE_BYTES)
    said = hello, version, me.host, nonce
    try:
        async with asyncio.timeout(LIMIT_S_MAX):
            await _send(sock, WelcomeFrame(version, me.host, nonce, prove(me.token, Side.PARENT, *said)))
            welcomed = clock()
            answer = await _receive(sock, Decoder(frames.PROOF_ONLY))
            answered_s = clock() - welcomed
    except TimeoutError as error:
        raise PeerUnreachable(f"a child did not finish the handshake within {LIMIT_S_MAX:g} s") from error
    except OSError as error:
        raise PeerUnreachable(f"a child did not finish the handshake: {error}") from error
    assert isinstance(answer, ProofFrame), "the decoder lets nothing else through"
    if not is_proof(answer.proof, prove(me.token, Side.CHILD, *said)):
        raise refuse(sock, hello.host, Refusal.TOKEN, "the cluster token is another one here")
    if hello.host == me.host:
        raise refuse(sock, hello.host, Refusal.ITSELF, "this host has the same name")
    patience.heard(answered_s)
    return Greeting(hello.host, hello.purpose, version, opening_key(me.token, *said), hello.zone)


def refuse(sock: PeerStream, child: HostId, reason: Refusal, text: str) -> PeerRefused:
    """Tell a child why not; return the error that says so here. The socket is then to be closed.

    There is room for so little: nothing else is on its way. The child's REQUEST is read, since closing a socket with
    unread bytes resets the connection, and the child would not hear why.
    """
    with suppress(OSError):  # it went away first: it is refused all the same
        sock.send(encode(RefusedFrame(reason, text)))
        sock.recv(LEFT_BYTES_MAX)
    return PeerRefused(f"{child} was refused: {text}")


def refused(parent: HostId, frame: RefusedFrame) -> PeerRefused:
    """Return the error for a parent's REFUSED. Its text is the parent's: shown quoted."""
    return PeerRefused(f"{parent} refused (reason {frame.reason}): {frame.text!r}")


def _check_welcome(welcome: WelcomeFrame, hello: HelloFrame, me: Identity, parent: HostId) -> None:
    if welcome.host != parent:
        raise PeerRefused(f"at the address of {parent} there is {welcome.host!r} now")
    if not hello.version_min <= welcome.version <= hello.version_max:
        raise WireError(f"{parent} chose version {welcome.version}, which was not offered")
    expected = prove(me.token, Side.PARENT, hello, welcome.version, parent, welcome.nonce)
    if not is_proof(welcome.proof, expected):
        raise PeerRefused(f"{parent} has another cluster token: give all hosts the same one")


async def _send(sock: PeerStream, frame: Frame) -> None:
    await send_all(sock, encode(frame))


async def _receive(sock: PeerStream, decoder: Decoder) -> Frame:
    while True:
        frame = _decode(decoder, await receive(sock, decoder.wanted_bytes))
        if frame is not None:
            return frame


def _decode(decoder: Decoder, data: bytes) -> Frame | None:
    if not data:
        raise ConnectionResetError("it closed the connection")
    received = decoder.feed(data)
    return received[0] if received else None
