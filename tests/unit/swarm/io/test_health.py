import io

import aiohttp
import pytest

from swarm.errors import ConfigError
from swarm.io.health import HealthServer
from swarm.io.telemetry import Telemetry
from tests.support.processes import free_port


async def get(address: str, path: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(f"http://{address}{path}") as response:
        return response.status, await response.text()


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
async def test_probes_and_metrics_are_answered(host: str) -> None:
    telemetry = Telemetry("daemon", stream=io.StringIO())
    telemetry.count("rings_total", 3)
    missing: list[str] = []
    server = HealthServer(f"{host}:0", telemetry, lambda: missing)
    address = await server.start()
    try:
        assert not address.endswith(":0")
        assert await get(address, "/healthz") == (200, "ok\n")
        assert await get(address, "/readyz") == (200, "ok\n")
        missing.append("the store is being read")
        assert await get(address, "/readyz") == (503, "the store is being read\n")
        assert await get(address, "/healthz") == (200, "ok\n")
        status, text = await get(address, "/metrics")
        assert status == 200
        assert "damselfly_daemon_rings_total 3.0" in text
        assert (await get(address, "/secrets"))[0] == 404
    finally:
        await server.close()
        await server.close()


async def test_all_addresses_of_ipv6_take_ipv4_too() -> None:
    server = HealthServer(f"[::]:{free_port()}", Telemetry("daemon", stream=io.StringIO()), list)
    port = (await server.start()).rpartition(":")[2]
    try:
        for host in ("127.0.0.1", "[::1]"):
            assert await get(f"{host}:{port}", "/healthz") == (200, "ok\n")
    finally:
        await server.close()


async def test_a_taken_address_is_an_error_that_names_the_key() -> None:
    telemetry = Telemetry("daemon", stream=io.StringIO())
    first = HealthServer("127.0.0.1:0", telemetry, list)
    address = await first.start()
    with pytest.raises(ConfigError, match=r"metrics_listen = .* cannot be used: .*in use"):
        await HealthServer(address, telemetry, list).start()
    await first.close()


def test_a_malformed_address_is_an_error() -> None:
    with pytest.raises(ConfigError, match="metrics_listen = 'nowhere'"):
        HealthServer("nowhere", Telemetry("daemon", stream=io.StringIO()), list)
