"""What the doctor asks the machine and the network, each with a time-out."""

import asyncio
import contextlib
import dataclasses
import email.utils
import os
import ssl
import stat
import time
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path

import aiohttp

from dfdaemon.config import DaemonConfig, PeerConfig, StoreConfig
from dfdaemon.endpoints import Endpoints
from dfdaemon.install.findings import CertificateSeen, DaemonSeen, DiskSeen, LinkSeen, TokenSeen
from dfdaemon.io.local_client import LocalDaemon
from dfdaemon.io.peer_tls import PeerTls, why_refused
from dfdaemon.io.scheduler_tls import LinkTls
from swarm.addresses import parse_listen
from swarm.errors import ConfigError, DamselflyError
from swarm.io.pem_file import read_pem
from swarm.io.token_file import read_token

PROBE_S = 3.0
"""A host that is there answers within a second, also across zones."""


async def link(address: str, key: str) -> LinkSeen:
    """Try to connect."""
    return await _reached(address, key, _connect)


async def scheduler(address: str, config: DaemonConfig) -> LinkSeen:
    """Try to connect to a scheduler, over TLS where the daemon does."""
    tls = LinkTls(config)
    return await _reached(address, "scheduler.addresses", partial(_greeted, tls) if tls.wanted else _connect)


async def _reached(address: str, key: str, visit: Callable[[str, int], Awaitable[None]]) -> LinkSeen:
    try:
        host, port = parse_listen(address, key)
        async with asyncio.timeout(PROBE_S):
            await visit(host, port)
    except TimeoutError:
        return LinkSeen(address, f"no answer within {PROBE_S:g} s")
    except ssl.SSLError as error:
        return LinkSeen(address, f"TLS failed: {why_refused(error)}", listens=True)
    except _NotLetIn as error:
        return LinkSeen(address, f"TLS failed: {error}", listens=True)
    except OSError as error:
        return LinkSeen(address, _reason(error))
    except DamselflyError as error:
        return LinkSeen(address, str(error), is_ours=True)
    return LinkSeen(address, listens=True)


async def _connect(host: str, port: int) -> None:
    _, writer = await asyncio.open_connection(host, port)
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


class _NotLetIn(Exception):
    """The other side speaks TLS, but not with us."""


async def _greeted(tls: LinkTls, host: str, port: int) -> None:
    """Wait for the first byte of gRPC, which it sends unasked: our certificate is looked at after the handshake."""
    context = tls.context()
    try:
        reader, writer = await asyncio.open_connection(host, port, ssl=context)
    except ConnectionResetError as error:
        raise _NotLetIn("it ended the connection in the middle of the handshake") from error
    try:
        if writer.get_extra_info("ssl_object").selected_alpn_protocol() != "h2":
            raise _NotLetIn("it speaks no gRPC")
        try:
            first = await reader.read(1)
        except ConnectionResetError:
            first = b""
        if not first:
            raise _NotLetIn(
                "it ended the connection when it had seen which certificate this node shows, or that it shows none"
            )
    finally:
        writer.transport.abort()


def _reason(error: BaseException) -> str:
    """Return the system's words for an error, if it is one of the system's."""
    number = error.errno if isinstance(error, OSError) else None
    return os.strerror(number) if number and number > 0 else str(error) or type(error).__name__


async def daemon(socket: str) -> DaemonSeen:
    """Ask the daemon on the control socket."""
    try:
        async with asyncio.timeout(PROBE_S), LocalDaemon(socket) as running:
            status = await running.control("status")
    except TimeoutError:
        return DaemonSeen(socket, error=f"no answer within {PROBE_S:g} s")
    except DamselflyError as error:
        return DaemonSeen(socket, error=_reason(error.__cause__ or error))
    return DaemonSeen(socket, str(status.get("version", "")), bool(status.get("scheduler")))


async def clock(config: DaemonConfig) -> tuple[float | None, str]:
    """Return the seconds that this clock is ahead of a registry's, and its name; None if none tells its time."""
    names = [registry.name for registry in config.origin.registries] or [config.mirror.default_registry]
    for name in names:
        with contextlib.suppress(
            DamselflyError, aiohttp.ClientError, OSError, TimeoutError, ValueError, TypeError
        ):
            return await _skew(f"{Endpoints(config.origin).of(name).base}/v2/"), name
    return None, ""


async def _skew(url: str) -> float:
    # The certificate is not checked: with a wrong clock none is valid. Nothing is sent, and only the Date is read.
    timeout = aiohttp.ClientTimeout(total=PROBE_S)
    async with aiohttp.ClientSession(timeout=timeout, trust_env=True) as session:
        before = time.time()
        async with session.get(url, ssl=False, allow_redirects=False) as answer:
            told = email.utils.parsedate_to_datetime(answer.headers.get("Date", "")).timestamp()
        return (before + time.time()) / 2 - told


def disk(config: StoreConfig, root: Path) -> DiskSeen:
    """Look at the disk of the store, or of the folder in which it is going to be; raises OSError."""
    place = below(root, config.directory).absolute()
    while not place.exists():
        place = place.parent
    found = os.statvfs(place)
    return DiskSeen(
        config.directory,
        found.f_blocks * found.f_frsize,
        found.f_bavail * found.f_frsize,
        config.quota_bytes,
        config.free_bytes_min,
    )


def tokens(config: DaemonConfig, root: Path) -> Iterator[TokenSeen]:
    """Look at the files with tokens that are to be there."""
    files = {
        "peer.token_file": config.peer.token_file,
        "scheduler.seed_token_file": config.scheduler.seed_token_file,
    }
    for key, path in files.items():
        if not path:
            continue
        place = below(root, path)
        try:
            read_token(str(place), key)
            yield TokenSeen(path, stat.S_IMODE(place.stat().st_mode))
        except ConfigError as error:
            yield TokenSeen(path, error=str(error))


def certificate(config: PeerConfig, root: Path) -> CertificateSeen | None:
    """Try the certificate on this node's own authority, as another host would; None where TLS is off."""
    if config.tls == "off":
        return None
    certificate_file, key_file, ca_file = (
        path and str(below(root, path)) for path in (config.certificate_file, config.key_file, config.ca_file)
    )
    placed = dataclasses.replace(
        config, certificate_file=certificate_file, key_file=key_file, ca_file=ca_file
    )
    try:
        for name in "certificate_file", "key_file", "ca_file":
            if path := getattr(placed, name):
                read_pem(path, f"peer.{name}")
        tls = PeerTls(placed)
    except ConfigError as error:
        return CertificateSeen(config.certificate_file, error=str(error))
    try:
        found = tls.certificate()
    except ConfigError as error:
        return CertificateSeen(config.certificate_file, error=str(error), is_refused=True)
    begins_s, ends_s = (ssl.cert_time_to_seconds(found[name]) for name in ("notBefore", "notAfter"))
    return CertificateSeen(config.certificate_file, begins_s, ends_s)


def below(root: Path, path: str) -> Path:
    """Return where a path of the daemon's configuration is; relative ones mean the working directory."""
    return Path(path) if root == Path("/") else root / path.lstrip("/")
