"""The handshake of the peer wire on a fresh socket, read to the byte: what follows is left in the socket."""

import asyncio
import secrets
import socket
from collections.abc import Collection
from dataclasses import dataclass

from dfdaemon.patience import LIMIT_S_MAX, Patience
from swarm import frames
from swarm.errors import PeerRefused, PeerUnreachable, WireError
from swarm.frames import (
    NONCE_BYTES,
    Frame,
    HelloFrame,
    ProofFrame,
    Purpose,
    Refusal,
    RefusedFrame,
    WelcomeFrame,
)
from swarm.handshake import Side, choose_version, is_proof, prove
from swarm.ids import HostId
from swarm.wire import Decoder, encode

HANDSHAKE_S = 2.0
"""For all of it where nobody is busy: two round trips and no work (patience.py says when it is more)."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What this daemon is called, where it is, and the cluster token that it proves to know (empty: no token)."""

    host: HostId
    token: bytes
    zone: str = ""

    def __repr__(self) -> str:
        return f"Identity(host={self.host!r})"


@dataclass(frozen=True, slots=True)
class Greeting:
    """A child that proved to know the token, what it connected for, and its zone, if it told."""

    child: HostId
    purpose: Purpose
    version: int
    zone: str = ""


async def greet(
    sock: socket.socket, me: Identity, parent: HostId, purpose: Purpose, patience: Patience
) -> int:
    """Open a connection to a parent as its child; return the version to speak.

    Raises PeerUnreachable, PeerRefused or WireError, and then closes the socket.
    """
    try:
        return await _greet(sock, me, parent, purpose, patience)
    except BaseException:
        sock.close()
        raise


async def _greet(
    sock: socket.socket, me: Identity, parent: HostId, purpose: Purpose, patience: Patience
) -> int:
    hello = HelloFrame(
        frames.VERSION_MIN, frames.VERSION_MAX, purpose, me.host, secrets.token_bytes(NONCE_BYTES), me.zone
    )
    clock, limit_s = asyncio.get_running_loop().time, patience.limit_s(HANDSHAKE_S)
    began = clock()
    try:
        async with asyncio.timeout(limit_s):
            await _send(sock, hello)
            answer = await _receive(sock, frames.WELCOME_OR_REFUSED)
            patience.heard(clock() - began)
            if isinstance(answer, RefusedFrame):
                raise refused(parent, answer)
            assert isinstance(answer, WelcomeFrame), "the decoder lets nothing else through"
            _check_welcome(answer, hello, me, parent)
            nonce = answer.nonce
            proof = prove(me.token, Side.CHILD, hello, answer.version, parent, nonce)
            await _send(sock, ProofFrame(proof))
    except TimeoutError as error:
        patience.missed(limit_s)
        raise PeerUnreachable(f"{parent} did not finish the handshake within {limit_s:.3g} s") from error
    except OSError as error:
        raise PeerUnreachable(f"{parent} did not finish the handshake: {error}") from error
    return answer.version


async def take_greeting(sock: socket.socket, me: Identity, patience: Patience) -> Greeting:
    """Take a connection from a child, as its parent. Only from children that prove the token is patience learned.

    It waits long: a child whose turn comes late is no worse than another. Whose place is needed is up to the caller.

    Raises PeerUnreachable, PeerRefused (it was told why) or WireError; the socket is then to be closed.
    """
    clock = asyncio.get_running_loop().time
    try:
        async with asyncio.timeout(LIMIT_S_MAX):
            hello = await _receive(sock, frames.HELLO_ONLY)
            assert isinstance(hello, HelloFrame), "the decoder lets nothing else through"
            version = choose_version(hello)
            if version is None:
                spoken = f"{frames.VERSION_MIN} to {frames.VERSION_MAX}"
                raise await refuse(sock, hello.host, Refusal.VERSION, f"this host speaks versions {spoken}")
            nonce = secrets.token_bytes(NONCE_BYTES)
            welcome = WelcomeFrame(
                version, me.host, nonce, prove(me.token, Side.PARENT, hello, version, me.host, nonce)
            )
            await _send(sock, welcome)
            welcomed = clock()
            answer = await _receive(sock, frames.PROOF_ONLY)
            answered_s = clock() - welcomed
            assert isinstance(answer, ProofFrame), "the decoder lets nothing else through"
            if not is_proof(answer.proof, prove(me.token, Side.CHILD, hello, version, me.host, nonce)):
                raise await refuse(sock, hello.host, Refusal.TOKEN, "the cluster token is another one here")
            if hello.host == me.host:
                raise await refuse(sock, hello.host, Refusal.ITSELF, "this host has the same name")
    except TimeoutError as error:
        raise PeerUnreachable(f"a child did not finish the handshake within {LIMIT_S_MAX:g} s") from error
    except OSError as error:
        raise PeerUnreachable(f"a child did not finish the handshake: {error}") from error
    patience.heard(answered_s)
    return Greeting(hello.host, hello.purpose, version, hello.zone)


async def refuse(sock: socket.socket, child: HostId, reason: Refusal, text: str) -> PeerRefused:
    """Tell a child why not; return the error that says so here."""
    try:
        async with asyncio.timeout(HANDSHAKE_S):
            await _send(sock, RefusedFrame(reason, text))
    except OSError:
        pass  # it went away first: it is refused all the same
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


async def _send(sock: socket.socket, frame: Frame) -> None:
    await asyncio.get_running_loop().sock_sendall(sock, encode(frame))


async def _receive(sock: socket.socket, expected: Collection[type[Frame]]) -> Frame:
    loop = asyncio.get_running_loop()
    decoder = Decoder(expected)
    while True:
        data = await loop.sock_recv(sock, decoder.wanted_bytes)
        if not data:
            raise ConnectionResetError("it closed the connection")
        received = decoder.feed(data)
        if received:
            return received[0]
