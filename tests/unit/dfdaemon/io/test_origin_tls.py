"""Certificates that registries show, and that they want to see."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from dfdaemon.config import OriginConfig, RegistryConfig
from dfdaemon.endpoints import Endpoints
from dfdaemon.io.origin_tls import TlsContexts
from dfdaemon.io.origin_transport import Exchange, OriginTransport
from swarm.errors import OriginError, OurselvesError
from tests.support.certificates import make_certificate, make_chain


@asynccontextmanager
async def strict_server(directory: Path, clients: Path) -> AsyncIterator[int]:
    """An HTTPS server that answers only those whom `clients` vouches for."""
    async with running_server(*make_certificate(directory, "127.0.0.1"), clients) as port:
        yield port


@asynccontextmanager
async def running_server(chain: Path, key: Path, clients: Path | None = None) -> AsyncIterator[int]:
    """An HTTPS server that shows this chain, and wants certificates that `clients` vouches for, if that is given."""

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(text="well")

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    if clients is not None:
        context.load_verify_locations(cafile=str(clients))
        context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(chain, key)
    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    try:
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()


async def status_of(transport: OriginTransport, port: int) -> int:
    """Ask the root of the registry `r`."""
    url = URL(f"https://127.0.0.1:{port}/")
    exchange = Exchange(transport.endpoints.of("r"), "GET", url, "the root", CIMultiDict())
    response = await transport.send(exchange)
    response.release()
    return response.status


def folder(parent: Path, name: str) -> Path:
    (parent / name).mkdir()
    return parent / name


async def test_a_registry_that_wants_our_certificate(tmp_path: Path) -> None:
    server, client = folder(tmp_path, "server"), folder(tmp_path, "client")
    certificate, key = make_certificate(client, "127.0.0.2")
    async with strict_server(server, certificate) as port:
        ca_file = str(server / "certificate.pem")
        url = f"https://127.0.0.1:{port}"
        ours = {"certificate_file": str(certificate), "key_file": str(key)}
        for expected, settings in ((200, ours), (None, {})):
            entry = RegistryConfig(name="r", url=url, ca_file=ca_file, **settings)
            transport = OriginTransport(OriginConfig(registries=(entry,)))
            if expected:
                assert await status_of(transport, port) == expected
            else:
                with pytest.raises(OriginError):
                    await status_of(transport, port)
            await transport.close()


async def test_each_certificate_of_a_chain_may_be_trusted_alone(tmp_path: Path) -> None:
    """As with containerd, and with openssl s_client -partial_chain."""
    certificates, chain, key = make_chain(tmp_path, "127.0.0.1")
    other, _ = make_certificate(folder(tmp_path, "other"), "127.0.0.1")
    async with running_server(chain, key) as port:
        for ca_file in (*certificates, other):
            entry = RegistryConfig(name="r", url=f"https://127.0.0.1:{port}", ca_file=str(ca_file))
            transport = OriginTransport(OriginConfig(registries=(entry,)))
            if ca_file is other:
                with pytest.raises(OriginError, match="not trusted"):
                    await status_of(transport, port)
            else:
                assert await status_of(transport, port) == 200, ca_file.name
            await transport.close()


def test_no_extension_is_asked_for_that_containerd_does_not_ask_for(tmp_path: Path) -> None:
    (root, *_), _, _ = make_chain(tmp_path, "127.0.0.1")
    contexts, url = TlsContexts(), URL("https://r:443/")
    entry = RegistryConfig(name="r", url="https://r", ca_file=str(root))
    own = contexts.of(url, Endpoints(OriginConfig(registries=(entry,))).of("r"))
    for context in contexts.systems, own:
        assert not context.verify_flags & ssl.VERIFY_X509_STRICT
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.check_hostname


async def test_it_is_shown_to_the_registry_alone(tmp_path: Path) -> None:
    server, client = folder(tmp_path, "server"), folder(tmp_path, "client")
    certificate, key = make_certificate(client, "127.0.0.2")
    async with strict_server(server, certificate) as port:
        entry = RegistryConfig(
            name="r",
            url="https://127.0.0.1:1",
            ca_file=str(server / "certificate.pem"),
            certificate_file=str(certificate),
            key_file=str(key),
        )
        transport = OriginTransport(OriginConfig(registries=(entry,)))
        with pytest.raises(OriginError):
            await status_of(transport, port)
        await transport.close()


async def test_files_are_read_again_when_they_change(tmp_path: Path) -> None:
    server, client = folder(tmp_path, "server"), folder(tmp_path, "client")
    certificate, key = make_certificate(client, "127.0.0.2")
    async with strict_server(server, certificate) as port:
        good = (server / "certificate.pem").read_bytes()
        ca_file = tmp_path / "ca.pem"
        ca_file.write_bytes(certificate.read_bytes())
        entry = RegistryConfig(
            name="r",
            url=f"https://127.0.0.1:{port}",
            ca_file=str(ca_file),
            certificate_file=str(certificate),
            key_file=str(key),
        )
        transport = OriginTransport(OriginConfig(registries=(entry,)))
        with pytest.raises(OriginError):
            await status_of(transport, port)
        ca_file.write_bytes(good)
        assert await status_of(transport, port) == 200
        certificate.write_text("nonsense")
        with pytest.raises(OurselvesError, match="certificate_file"):
            await status_of(transport, port)
        await transport.close()
