"""What the doctor asks the machine and the network."""

import os
import time
from collections.abc import AsyncIterator
from email.utils import formatdate
from pathlib import Path

import pytest
from aiohttp import web

from dfdaemon.config import DaemonConfig, OriginConfig, RegistryConfig, StoreConfig
from dfdaemon.io import doctor_probes as probes
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


async def test_a_listener_is_reached_also_by_the_name_of_all_addresses(registry: str) -> None:
    port = registry.rpartition(":")[2]
    for address in (registry, f"0.0.0.0:{port}", f":{port}"):
        assert await probes.link(address, "mirror.listen") == probes.LinkSeen(address)


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
    assert probes.token("", tmp_path) is None
    assert "cannot be read" in probes.token("/t", tmp_path).error  # type: ignore[union-attr]
    (tmp_path / "t").write_text("0123456789abcdef")
    (tmp_path / "t").chmod(0o640)
    assert probes.token("/t", tmp_path) == probes.TokenSeen("/t", 0o640)
