"""What the doctor asks the machine and the network."""

import asyncio
import os
import socket
import ssl
import struct
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from email.utils import formatdate
from pathlib import Path

import pytest
from aiohttp import web

from dfdaemon.config import (
    DaemonConfig,
    OriginConfig,
    PeerConfig,
    RegistryConfig,
    SchedulerLinkConfig,
    StoreConfig,
)
from dfdaemon.io import doctor_probes as probes
from tests.support.certificates import make_certificate
from tests.support.processes import free_port

HOUR_S = 3600.0


@pytest.fixture
async def registry() -> AsyncIterator[str]:
    """A registry whose clock is an hour behind."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=401, headers={"Date": formatdate(time.time() - HOUR_S, usegmt=True)})

    application = web.Application()
    application.router.add_get("/v2/", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


async def test_a_listener_is_reached(registry: str) -> None:
    assert await probes.link(registry, "mirror.listen") == probes.LinkSeen(registry, listens=True)


async def test_a_listener_that_is_not_there_is_told_with_the_reason() -> None:
    assert (await probes.link(f"127.0.0.1:{free_port()}", "mirror.listen")).error == "Connection refused"
    assert "mirror.listen" in (await probes.link("nonsense", "mirror.listen")).error


async def test_no_daemon_is_told_with_the_reason(tmp_path: Path) -> None:
    seen = await probes.daemon(str(tmp_path / "none"))
    assert seen.error == os.strerror(2)


def config(*registries: RegistryConfig) -> DaemonConfig:
    return DaemonConfig(origin=OriginConfig(registries=registries))


async def test_the_clock_is_compared_with_the_first_registry_that_answers(registry: str) -> None:
    silent = RegistryConfig("silent.test", f"http://127.0.0.1:{free_port()}")
    skew_s, name = await probes.clock(config(silent, RegistryConfig("late.test", f"http://{registry}")))
    assert name == "late.test"
    assert skew_s == pytest.approx(HOUR_S, abs=5.0)
    assert await probes.clock(config(silent)) == (None, "")


def test_the_disk_of_a_folder_that_is_not_made_yet_is_that_of_its_parent(tmp_path: Path) -> None:
    seen = probes.disk(StoreConfig(directory="/var/lib/x"), tmp_path)
    assert seen.directory == "/var/lib/x"
    assert seen.total_bytes >= seen.free_bytes > 0
    assert seen.total_bytes == os.statvfs(tmp_path).f_blocks * os.statvfs(tmp_path).f_frsize


def test_a_token_is_looked_at_where_the_node_has_it(tmp_path: Path) -> None:
    assert list(probes.tokens(DaemonConfig(), tmp_path)) == []
    config = DaemonConfig(
        peer=PeerConfig(token_file="/t"), scheduler=SchedulerLinkConfig(seed_token_file="/seeds")
    )
    (tmp_path / "t").write_text("0123456789abcdef")
    (tmp_path / "t").chmod(0o640)
    of_cluster, of_seeds = probes.tokens(config, tmp_path)
    assert of_cluster == probes.TokenSeen("/t", 0o640)
    assert "scheduler.seed_token_file" in of_seeds.error
    assert "cannot be read" in of_seeds.error


def secured(certificate: Path, key: Path, authority: Path, root: Path) -> PeerConfig:
    shown, private, trusted = (f"/{path.relative_to(root)}" for path in (certificate, key, authority))
    return PeerConfig(tls="accept", certificate_file=shown, key_file=private, ca_file=trusted)


def test_a_certificate_is_tried_as_another_host_would(tmp_path: Path) -> None:
    assert probes.certificate(PeerConfig(), tmp_path) is None
    certificate, key = make_certificate(tmp_path, "127.0.0.1")
    seen = probes.certificate(secured(certificate, key, certificate, tmp_path), tmp_path)
    assert seen is not None
    assert (seen.path, seen.error) == ("/certificate.pem", "")
    assert seen.begins_s == pytest.approx(time.time() - 24 * HOUR_S, abs=60)
    assert seen.ends_s == pytest.approx(time.time() + 24 * HOUR_S, abs=60)


def test_a_certificate_that_no_host_takes_is_told_with_the_reason(tmp_path: Path) -> None:
    for name in "ours", "theirs", "old":
        (tmp_path / name).mkdir()
    ours, _ = make_certificate(tmp_path / "ours", "127.0.0.1")
    for certificate, key, authority, reason in (
        (*make_certificate(tmp_path / "theirs", "127.0.0.1"), ours, "not of our authority"),
        (*make_certificate(tmp_path / "old", "127.0.0.1", timedelta(hours=-1)), None, "has expired"),
        (ours, tmp_path / "none", ours, "peer.key_file"),
    ):
        seen = probes.certificate(secured(certificate, key, authority or certificate, tmp_path), tmp_path)
        assert seen is not None
        assert reason in seen.error


Answer = Callable[[asyncio.StreamWriter], None]


def settings(writer: asyncio.StreamWriter) -> None:
    """What a gRPC server says first, unasked."""
    writer.write(bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))


def nothing(writer: asyncio.StreamWriter) -> None:
    """Somebody who ends the connection."""
    writer.close()


def a_reset(writer: asyncio.StreamWriter) -> None:
    """Somebody who leaves so that nothing sent before arrives."""
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@asynccontextmanager
async def scheduler(
    context: ssl.SSLContext | None, answer: Answer = settings, protocol: str = "h2"
) -> AsyncIterator[str]:
    """Whatever listens where a scheduler should; gives its address."""
    if context is not None:
        context.set_alpn_protocols([protocol])
    writers: list[asyncio.StreamWriter] = []

    def met(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        answer(writer)

    server = await asyncio.start_server(met, "127.0.0.1", 0, ssl=context)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        for writer in writers:
            writer.transport.abort()
        server.close()


def shown(certificate: Path, key: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    return context


def asking(authority: Path, certificate: Path | None = None, key: Path | None = None) -> DaemonConfig:
    """A daemon that asks for TLS to its scheduler."""
    return DaemonConfig(
        peer=PeerConfig(certificate_file=str(certificate or ""), key_file=str(key or "")),
        scheduler=SchedulerLinkConfig(tls=True, ca_file=str(authority)),
    )


@pytest.fixture
def files(tmp_path: Path) -> dict[str, tuple[Path, Path]]:
    """Certificates that are their own authorities, with their keys."""
    made = {}
    for name, address in ("ours", "127.0.0.1"), ("other", "127.0.0.1"), ("elsewhere", "10.0.0.1"):
        (tmp_path / name).mkdir()
        made[name] = make_certificate(tmp_path / name, address)
    return made


async def test_a_scheduler_proves_itself_where_the_daemon_asks_for_it(
    files: dict[str, tuple[Path, Path]],
) -> None:
    ours, other = files["ours"], files["other"]
    async with scheduler(shown(*ours)) as address:
        assert await probes.scheduler(address, asking(ours[0])) == probes.LinkSeen(address, listens=True)
        seen = await probes.scheduler(address, asking(other[0]))
        assert "TLS failed: its certificate is not of our authority" in seen.error
        assert seen.listens
        plain = await probes.scheduler(address, DaemonConfig())
        assert plain.error == "", "whether it answers is all that is asked then"
    async with scheduler(shown(*files["elsewhere"])) as address:
        seen = await probes.scheduler(address, asking(files["elsewhere"][0]))
        assert "its certificate is of another name" in seen.error


@pytest.mark.parametrize("name", ["ours", "other", ""])
async def test_a_scheduler_that_does_not_take_our_certificate_is_not_reached(
    files: dict[str, tuple[Path, Path]], name: str
) -> None:
    context = shown(*files["ours"])
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cafile=files["ours"][0])
    async with scheduler(context) as address:
        seen = await probes.scheduler(address, asking(files["ours"][0], *files.get(name, ())))
        assert (seen.error == "") == (name == "ours")
        assert seen.listens


async def test_who_speaks_no_grpc_is_no_scheduler(files: dict[str, tuple[Path, Path]]) -> None:
    ours = files["ours"]
    for context, answer, protocol, reason in (
        (shown(*ours), nothing, "h2", "ended the connection when it had seen"),
        (shown(*ours), a_reset, "h2", "TLS failed: it ended the connection"),
        (shown(*ours), settings, "http/1.1", "no gRPC"),
        (None, nothing, "", "in the middle of the handshake"),
        (None, settings, "", "TLS failed"),
    ):
        async with scheduler(context, answer, protocol) as address:
            seen = await probes.scheduler(address, asking(ours[0]))
            assert reason in seen.error
            assert seen.listens


async def test_a_missing_authority_is_told_with_its_setting() -> None:
    scheduler = SchedulerLinkConfig(tls=True, ca_file="/none/ca.pem")
    seen = await probes.scheduler("127.0.0.1:1", DaemonConfig(scheduler=scheduler))
    assert "scheduler.ca_file = '/none/ca.pem' cannot be read" in seen.error
    assert seen.is_ours
