"""TLS to origins, and what their failures are called."""

import asyncio
import contextlib
import ssl
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from dfdaemon.config import OriginConfig, RegistryConfig
from dfdaemon.io import origin_transport
from dfdaemon.io.origin_connections import Download
from dfdaemon.io.origin_transport import Exchange, OriginTransport, read_small
from swarm.errors import (
    OriginContent,
    OriginTimeout,
    OriginUnreachable,
    OurselvesError,
    OwnLimit,
)
from tests.support.certificates import make_certificate
from tests.support.fake_origin import fake_origin, says


@asynccontextmanager
async def tls_server(directory: Path) -> AsyncIterator[int]:
    """An HTTPS server on localhost whose certificate only the CA file in `directory` vouches for."""

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(text="well")

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*make_certificate(directory, "127.0.0.1"))
    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    try:
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()


async def status_of(port: int, registry: RegistryConfig) -> int:
    """Ask the root of a registry."""
    transport = OriginTransport(OriginConfig(registries=(registry,)))
    endpoint = transport.endpoints.of(registry.name)
    exchange = Exchange(endpoint, "GET", URL(f"https://127.0.0.1:{port}/"), "the root", CIMultiDict())
    try:
        response = await transport.send(exchange)
        response.release()
        return response.status
    finally:
        await transport.close()


async def test_a_certificate_must_be_vouched_for(tmp_path: Path) -> None:
    async with tls_server(tmp_path) as port:
        url = f"https://127.0.0.1:{port}"
        with pytest.raises(OriginUnreachable, match="certificate"):
            await status_of(port, RegistryConfig(name="r", url=url))
        trusted = RegistryConfig(name="r", url=url, ca_file=str(tmp_path / "certificate.pem"))
        assert await status_of(port, trusted) == 200
        assert await status_of(port, RegistryConfig(name="r", url=url, insecure_skip_verify=True)) == 200


async def test_unverified_counts_for_the_registrys_own_address_alone(tmp_path: Path) -> None:
    async with tls_server(tmp_path) as port:
        elsewhere = RegistryConfig(name="r", url="https://127.0.0.1:1", insecure_skip_verify=True)
        with pytest.raises(OriginUnreachable, match="certificate"):
            await status_of(port, elsewhere)


async def test_certificates_that_cannot_be_read(tmp_path: Path) -> None:
    registry = RegistryConfig(name="r", url="https://127.0.0.1:1", ca_file=str(tmp_path / "none.pem"))
    with pytest.raises(OurselvesError, match="ca_file"):
        await status_of(1, registry)


async def ask(transport: OriginTransport, url: str) -> aiohttp.ClientResponse:
    """Send a GET to the registry `r`."""
    return await transport.send(
        Exchange(transport.endpoints.of("r"), "GET", URL(url), "the root", CIMultiDict())
    )


async def test_a_registry_gets_no_more_connections_than_it_may() -> None:
    async with fake_origin(says(200, b"x" * 3_000_000)) as origin:
        entry = RegistryConfig(name="r", url=origin.url, connections_max=2)
        transport = OriginTransport(OriginConfig(registries=(entry,)))
        open_answers = [await ask(transport, origin.url) for _ in range(2)]
        waiting = asyncio.create_task(ask(transport, origin.url))
        done, _ = await asyncio.wait([waiting], timeout=0.05)
        assert not done
        open_answers[0].close()
        (await waiting).close()
        open_answers[1].close()
        await transport.close()


async def test_a_registry_gets_no_more_requests_than_it_may() -> None:
    async with fake_origin(says(200)) as origin:
        entry = RegistryConfig(name="r", url=origin.url, requests_per_s_max=0.01)
        transport = OriginTransport(OriginConfig(registries=(entry,)))
        (await ask(transport, origin.url)).release()
        with pytest.raises(OwnLimit, match="requests_per_s_max") as caught:
            await ask(transport, origin.url)
        assert caught.value.retry_after_s == pytest.approx(100, abs=1)
        assert len(origin.seen) == 1
        await transport.close()


async def test_a_registry_by_ipv6() -> None:
    async with fake_origin(says(200), host="::1") as origin:
        entry = RegistryConfig(name="r", url=f"http://[::1]:{origin.port}")
        transport = OriginTransport(OriginConfig(registries=(entry,)))
        answer = await ask(transport, f"{transport.endpoints.of('r').base}/v2/")
        answer.release()
        assert answer.status == 200
        assert origin.seen[0].all("Host") == [f"[::1]:{origin.port}"]
        await transport.close()


async def test_the_environments_proxy_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    async with fake_origin(says(200)) as proxy:
        monkeypatch.setenv("http_proxy", f"http://user:pw@127.0.0.1:{proxy.port}")
        monkeypatch.setenv("no_proxy", "10.0.0.0/8")
        transport = OriginTransport(
            OriginConfig(registries=(RegistryConfig(name="r", url="http://r.test:5000"),))
        )
        answer = await ask(transport, "http://r.test:5000/v2/")
        answer.release()
        assert proxy.seen[0].path == "http://r.test:5000/v2/"
        assert proxy.seen[0].all("Proxy-Authorization") == ["Basic dXNlcjpwdw=="]
        await transport.close()


async def open_one(transport: OriginTransport, url: str) -> Download:
    """Open content of the registry `r`."""
    exchange = Exchange(transport.endpoints.of("r"), "GET", URL(url), "the root", CIMultiDict({"A": "b"}))
    return await transport.open(exchange)


async def content_of(download: Download) -> bytes:
    try:
        return b"".join([chunk async for chunk in download.chunks()])
    finally:
        download.release()


async def test_content_comes_over_connections_of_its_own() -> None:
    async with fake_origin(says(200, b"x" * 3_000_000), says(404, b"none")) as origin:
        transport = OriginTransport(OriginConfig(registries=(RegistryConfig(name="r", url=origin.url),)))
        assert await content_of(await open_one(transport, f"{origin.url}/v2/a?b=c")) == b"x" * 3_000_000
        assert (origin.seen[0].path, origin.seen[0].all("A")) == ("/v2/a?b=c", ["b"])
        assert origin.seen[0].all("Host") == [f"127.0.0.1:{origin.port}"]
        refused = await open_one(transport, origin.url)
        assert (refused.status, await content_of(refused)) == (404, b"")
        await transport.close()


async def test_an_account_in_an_address_is_shown() -> None:
    async with fake_origin(says(200)) as origin:
        transport = OriginTransport(OriginConfig(registries=(RegistryConfig(name="r", url=origin.url),)))
        (await open_one(transport, f"http://user:pw@127.0.0.1:{origin.port}/")).release()
        assert origin.seen[0].all("Authorization") == ["Basic dXNlcjpwdw=="]
        await transport.close()


async def test_a_malformed_header_is_not_quoted() -> None:
    transport = OriginTransport(
        OriginConfig(registries=(RegistryConfig(name="r", url="http://127.0.0.1:1"),))
    )
    headers = CIMultiDict({"Authorization": "Bearer secret\r\n"})
    exchange = Exchange(transport.endpoints.of("r"), "GET", URL("http://127.0.0.1:1/"), "the root", headers)
    with pytest.raises(OriginContent, match="the root") as caught:
        await transport.open(exchange)
    assert "secret" not in "".join(traceback.format_exception(caught.value))
    await transport.close()


async def test_content_through_the_environments_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    async with fake_origin(says(200, b"x")) as proxy:
        monkeypatch.setenv("http_proxy", f"http://user:pw@127.0.0.1:{proxy.port}")
        entry = RegistryConfig(name="r", url="http://r.test:5000")
        transport = OriginTransport(OriginConfig(registries=(entry,)))
        assert await content_of(await open_one(transport, "http://r.test:5000/v2/?a=b")) == b"x"
        assert proxy.seen[0].path == "http://r.test:5000/v2/?a=b"
        assert proxy.seen[0].all("Host") == ["r.test:5000"]
        assert proxy.seen[0].all("Proxy-Authorization") == ["Basic dXNlcjpwdw=="]
        await transport.close()


async def test_both_clients_share_the_turns_of_a_registry() -> None:
    async with fake_origin(says(200, b"x" * 3_000_000)) as origin:
        entry = RegistryConfig(name="r", url=origin.url, connections_max=1)
        transport = OriginTransport(OriginConfig(registries=(entry,)))
        download = await open_one(transport, origin.url)
        waiting = asyncio.create_task(ask(transport, origin.url))
        done, _ = await asyncio.wait([waiting], timeout=0.05)
        assert not done
        download.release()
        (await waiting).release()
        assert await content_of(await open_one(transport, origin.url)) == b"x" * 3_000_000
        await transport.close()


async def test_a_turn_is_given_back_when_nobody_answers() -> None:
    async with fake_origin(says(200)) as origin:
        url = origin.url
    entry = RegistryConfig(name="r", url=url, connections_max=1)
    transport = OriginTransport(OriginConfig(registries=(entry,)))
    for attempt in (open_one, ask, open_one):
        with pytest.raises(OriginUnreachable):
            await attempt(transport, url)
    await transport.close()


@asynccontextmanager
async def dripping_server(head: bytes) -> AsyncIterator[str]:
    """A server whose answers begin with `head` and go on byte by byte, never silent and never at an end."""
    seconds_between = 0.01
    dripping: list[asyncio.Task[None] | None] = []

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        dripping.append(asyncio.current_task())
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(head)
            while True:
                writer.write(b"a")
                await writer.drain()
                await asyncio.sleep(seconds_between)
        writer.transport.abort()

    server = await asyncio.start_server(drip, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        await asyncio.gather(*filter(None, dripping))


@pytest.mark.parametrize(
    ("method", "body"), [("HEAD", None), ("GET", None), ("POST", b"grant_type=password")]
)
async def test_a_head_that_comes_byte_by_byte_is_given_up(method: str, body: bytes | None) -> None:
    async with dripping_server(b"HTTP/1.1 200 OK\r\nX-A: ") as url:
        listed = (RegistryConfig(name="r", url=url),)
        config = OriginConfig(registries=listed, connect_timeout_s=0.1, read_timeout_s=0.1)
        transport = OriginTransport(config)
        exchange = Exchange(transport.endpoints.of("r"), method, URL(url), "it", CIMultiDict(), body)
        async with asyncio.timeout(5):
            with pytest.raises(OriginTimeout):
                await transport.send(exchange)
        await transport.close()


async def test_a_small_body_that_comes_byte_by_byte_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(origin_transport, "SMALL_BODY_S_MAX", 0.1)
    async with dripping_server(b"HTTP/1.1 200 OK\r\nContent-Length: 50000\r\n\r\n") as url:
        transport = OriginTransport(OriginConfig(registries=(RegistryConfig(name="r", url=url),)))
        answer = await ask(transport, url)
        async with asyncio.timeout(5):
            with pytest.raises(OriginTimeout):
                await read_small(answer, 100_000, "a token")
        answer.close()
        await transport.close()


async def test_all_downloads_from_a_registry_share_its_rate() -> None:
    async with fake_origin(says(200, b"x")) as origin:
        limited = RegistryConfig(name="r", url=origin.url, download_bytes_per_s_max=1000)
        transport = OriginTransport(OriginConfig(registries=(limited,)))
        first, second = await open_one(transport, origin.url), await open_one(transport, origin.url)
        assert first.terms.limit is second.terms.limit is not None
        first.release()
        second.release()
        await transport.close()
