"""TLS between hosts: each shows a certificate of the cluster's authority, and asks for one of the other."""

import asyncio
import contextlib
import os
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from dfdaemon.config import PeerConfig
from dfdaemon.io.peer_stream import PeerStream
from dfdaemon.io.readable import readable
from dfdaemon.io.tls_engine import TlsEngine
from dfdaemon.io.tls_socket import TlsSocket
from dfdaemon.patience import LIMIT_S_MAX, Patience
from swarm.errors import ConfigError, PeerUnreachable
from swarm.facts import Note
from swarm.io.pem_file import no_password

HANDSHAKE_S = 2.0
"""For the keys where nobody is busy (patience.py says when it is more)."""
HELLO_OF_TLS = 0x16
"""First byte of whoever begins TLS: a record of the handshake (RFC 8446, section 5.1). No frame of ours begins so."""
OF_ANOTHER_NAME = (62, 64)
"""OpenSSL's X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH."""
RETRY_S = 10.0
"""Files that could not be used are tried again after this."""


def _unheard(note: Note) -> None:
    """Where notes go that nobody listens to."""


class PeerTls:
    """What `peer.tls` says. Names in certificates are not looked at: addresses of hosts come and go."""

    def __init__(self, config: PeerConfig, on_note: Callable[[Note], None] = _unheard) -> None:
        """Read the files; raises ConfigError when one cannot be used."""
        self.opens = config.tls in ("prefer", "require")
        """Whether connections to parents are TLS."""
        self.takes = config.tls != "off"
        """Whether connections of children may be TLS."""
        self._takes_plain = config.tls != "require"
        self._files = config.certificate_file, config.key_file, config.ca_file
        self._on_note = on_note
        self._read: tuple[tuple[int, ...], ...] = ()
        self._retry_at = 0.0
        self._contexts: tuple[ssl.SSLContext, ssl.SSLContext] | None = None
        if self.takes:
            self._read = self._changed()
            self._contexts = self._load()

    async def open(self, sock: socket.socket, patience: Patience) -> PeerStream:
        """Return how to speak to a parent over a fresh socket. Raises PeerUnreachable, and then closes it."""
        if not self.opens:
            return sock
        clock, limit_s = asyncio.get_running_loop().time, patience.limit_s(HANDSHAKE_S)
        began = clock()
        try:
            stream = await self._secure(sock, server_side=False, limit_s=limit_s, who="a parent")
        except PeerUnreachable:
            if clock() - began >= limit_s:
                patience.missed(limit_s)
            raise
        patience.heard(clock() - began)
        return stream

    async def accept(self, sock: socket.socket) -> PeerStream:
        """Return how to speak to whoever connected; waits long, as for its HELLO. Raises PeerUnreachable."""
        async with _within(LIMIT_S_MAX, "a child said nothing"):
            begins = await _first_byte(sock)
        if begins == HELLO_OF_TLS:
            return await self._secure(sock, server_side=True, limit_s=LIMIT_S_MAX, who="a child")
        if not self._takes_plain:
            raise PeerUnreachable('a child came without TLS, and peer.tls is "require" here')
        return sock

    async def _secure(self, sock: socket.socket, server_side: bool, limit_s: float, who: str) -> TlsSocket:
        try:
            async with _within(limit_s, f"TLS with {who} failed"):
                stream = TlsSocket(sock, self._context(server_side), server_side)
                await stream.handshake()
        except BaseException:
            sock.close()
            raise
        return stream

    def certificate(self) -> dict[str, Any]:
        """Shake hands with itself, as two hosts with these files do; return one's certificate as the other sees it.

        Raises ConfigError when they do not let each other in.
        """
        child, parent = (TlsEngine(self._context(side), server_side=side) for side in (False, True))
        try:
            while not all([_has_shaken(child, parent), _has_shaken(parent, child)]):
                pass  # each step of one makes the next of the other possible, or raises
        except ssl.SSLError as error:
            raise ConfigError(
                f"{self._files[0]} is not let in by hosts of {self._files[2]}: {why_refused(error)}"
            ) from error
        return child.certificate

    def _context(self, server_side: bool) -> ssl.SSLContext:
        """Return the settings of TLS; read anew when a file changed, as mounted secrets do."""
        changed, now = self._changed(), time.monotonic()
        if changed != self._read and now >= self._retry_at:
            try:
                self._contexts = self._load()
                self._read = changed
            except ConfigError as error:  # what was read before still counts
                self._retry_at = now + RETRY_S
                self._on_note(Note("peer_tls_unreadable", fields=(("reason", str(error)),)))
        assert self._contexts is not None, "without TLS nobody asks"
        return self._contexts[server_side]

    def _changed(self) -> tuple[tuple[int, ...], ...]:
        """Return what is different after a file was changed, replaced, or made readable."""
        return tuple([_state(file) for file in self._files if file])

    def _load(self) -> tuple[ssl.SSLContext, ssl.SSLContext]:
        """Return the settings of a child's end and of a parent's."""
        return self._made(ssl.PROTOCOL_TLS_CLIENT), self._made(ssl.PROTOCOL_TLS_SERVER)

    def _made(self, protocol: "ssl._SSLMethod") -> ssl.SSLContext:
        certificate_file, key_file, ca_file = self._files
        context = ssl.SSLContext(protocol)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.check_hostname = False
        context.verify_mode = ssl.CERT_REQUIRED
        if protocol == ssl.PROTOCOL_TLS_SERVER:
            context.num_tickets = 0  # nobody resumes a session
        reading = "peer.certificate_file"
        try:
            context.load_cert_chain(certificate_file, key_file or None, password=no_password)
            reading = "peer.ca_file"
            context.load_verify_locations(cafile=ca_file)
        except (OSError, ssl.SSLError, ValueError) as error:
            file = ca_file if reading == "peer.ca_file" else certificate_file
            raise ConfigError(
                f"{file} cannot be used for TLS between hosts: {error}; check {reading}"
            ) from error
        return context


def why_refused(error: ssl.SSLError) -> str:
    """Return why TLS failed, in words for a log."""
    if isinstance(error, ssl.SSLCertVerificationError):
        if error.verify_code in OF_ANOTHER_NAME:
            return f"its certificate is of another name ({error.verify_message})"
        return f"its certificate is not of our authority ({error.verify_message})"
    return error.reason or str(error)


def _has_shaken(one: TlsEngine, other: TlsEngine) -> bool:
    """Let one take its step, and the other hear of it. Raises ssl.SSLError."""
    has_shaken = one.shake_hands()
    if sealed := one.sealed():
        other.take(sealed)
    return has_shaken


@contextlib.asynccontextmanager
async def _within(limit_s: float, what: str) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(limit_s):
            yield
    except TimeoutError as error:
        raise PeerUnreachable(f"{what}: nothing more came within {limit_s:.3g} s") from error
    except ssl.SSLError as error:
        raise PeerUnreachable(f"{what}: {why_refused(error)}") from error
    except OSError as error:
        raise PeerUnreachable(f"{what}: {error}") from error


async def _first_byte(sock: socket.socket) -> int:
    """Wait for the first byte, and leave it in the socket."""
    while True:
        try:
            begins = sock.recv(1, socket.MSG_PEEK)
        except (BlockingIOError, InterruptedError):
            await readable(sock)
            continue
        if not begins:
            raise ConnectionResetError("it closed the connection")
        return begins[0]


def _state(file: str) -> tuple[int, ...]:
    try:
        seen = os.stat(file)
    except OSError:
        return ()
    return seen.st_mtime_ns, seen.st_ctime_ns, seen.st_ino, seen.st_size
