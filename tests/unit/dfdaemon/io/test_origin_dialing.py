"""Connections to origins: which addresses, through which proxy, with whose certificate."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from yarl import URL

from dfdaemon.io.origin_addresses import Addresses, PublicResolver
from dfdaemon.io.origin_channel import receive
from dfdaemon.io.origin_dialing import Dialer, Route, account_header
from swarm.errors import NotAllowed, OriginUnreachable
from tests.support.fake_origin import FakeResolver
from tests.support.tls import tls_pair


@dataclass
class Server:
    """Says `greeting` to whoever connects; with `tunnels`, connects them to where they want first."""

    greeting: bytes = b"well"
    tunnels: bool = False
    status: int = 200
    port: int = 0
    heads: list[bytes] = field(default_factory=list)
    serving: set[asyncio.Task[None] | None] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection."""
        self.serving.add(asyncio.current_task())
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            if self.tunnels:
                await self._tunnel(reader, writer)
            else:
                writer.write(self.greeting)
            await writer.drain()
        writer.close()

    async def _tunnel(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 %d Whatever\r\n\r\n" % self.status)
        if self.status != 200:
            return
        host, port = self.heads[-1].split()[1].decode().split(":")
        inner_reader, inner_writer = await asyncio.open_connection(host, int(port))
        await asyncio.gather(_pump(reader, inner_writer), _pump(inner_reader, writer))


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(10_000):
        writer.write(data)
    writer.close()


@contextlib.asynccontextmanager
async def serving(server: Server, context: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    running = await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=context)
    server.port = running.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        running.close()
        await asyncio.gather(*filter(None, server.serving))


def dialer(timeout_s: float = 5.0, proxy_context: ssl.SSLContext | None = None, **names: str) -> Dialer:
    resolver = FakeResolver(**{name: [address] for name, address in names.items()})
    guarding = PublicResolver(resolver, frozenset({"proxy.test"}), Addresses())
    return Dialer(resolver, guarding, proxy_context or ssl.create_default_context(), timeout_s)


async def heard(dialer: Dialer, route: Route) -> bytes:
    """Dial, and return what the other side says."""
    channel = await dialer.dial(route, "the target")
    with channel.sock:
        room = memoryview(bytearray(100))
        return bytes(room[: await receive(channel, room)])


async def test_a_name_is_dialed_where_its_resolver_says() -> None:
    async with serving(Server()) as server:
        assert await heard(dialer(r_test="127.0.0.1"), Route("r.test", server.port, False, None)) == b"well"


async def test_a_guarded_name_does_not_lead_inside() -> None:
    async with serving(Server()) as server:
        with pytest.raises(NotAllowed):
            await heard(dialer(r_test="127.0.0.1"), Route("r.test", server.port, True, None))


async def test_names_and_ports_where_nobody_is() -> None:
    async with serving(Server()) as server:
        port = server.port
    with pytest.raises(OriginUnreachable, match="the target"):
        await heard(dialer(), Route("127.0.0.1", port, False, None))
    with pytest.raises(OriginUnreachable, match="no such name"):
        await heard(dialer(), Route("r.test", port, False, None))


async def test_tls_says_who_is_there(tmp_path: Path) -> None:
    server_context, context = tls_pair(tmp_path)
    async with serving(Server(), server_context) as server:
        assert await heard(dialer(), Route("127.0.0.1", server.port, False, context)) == b"well"
        with pytest.raises(OriginUnreachable, match="its certificate is not trusted"):
            await heard(dialer(r_test="127.0.0.1"), Route("r.test", server.port, False, context))


async def test_a_server_that_never_greets_is_given_up(tmp_path: Path) -> None:
    _, context = tls_pair(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(OriginUnreachable, match="in time"):
        await heard(dialer(timeout_s=0.05), Route("127.0.0.1", silent.getsockname()[1], False, context))


async def test_plain_bytes_instead_of_tls(tmp_path: Path) -> None:
    _, context = tls_pair(tmp_path)
    async with serving(Server(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as server:
        with pytest.raises(OriginUnreachable, match="TLS to"):
            await heard(dialer(), Route("127.0.0.1", server.port, False, context))


async def test_a_tunnel_of_the_environments_proxy(tmp_path: Path) -> None:
    server_context, context = tls_pair(tmp_path)
    async with serving(Server(), server_context) as server, serving(Server(tunnels=True)) as proxy:
        route = Route("127.0.0.1", server.port, True, context, f"http://ann:p%40@proxy.test:{proxy.port}")
        assert await heard(dialer(proxy_test="127.0.0.1"), route) == b"well"
        lines = proxy.heads[0].split(b"\r\n")
        assert lines[0] == b"CONNECT 127.0.0.1:%d HTTP/1.1" % server.port
        assert b"Proxy-Authorization: Basic YW5uOnBA" in lines
        assert "ann" not in repr(route)


async def test_a_proxy_with_tls_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "proxy").mkdir()
    proxy_server, proxy_client = tls_pair(tmp_path / "proxy")
    server_context, context = tls_pair(tmp_path)
    async with (
        serving(Server(), server_context) as server,
        serving(Server(tunnels=True), proxy_server) as proxy,
    ):
        route = Route("127.0.0.1", server.port, False, context, f"https://127.0.0.1:{proxy.port}")
        assert await heard(dialer(proxy_context=proxy_client), route) == b"well"


async def test_a_proxy_that_refuses(tmp_path: Path) -> None:
    _, context = tls_pair(tmp_path)
    async with serving(Server(tunnels=True, status=407)) as proxy:
        route = Route("r.test", 443, False, context, f"http://127.0.0.1:{proxy.port}")
        with pytest.raises(OriginUnreachable, match=r"r.test:443 .* 407"):
            await heard(dialer(), route)


async def test_a_proxy_of_another_kind() -> None:
    with pytest.raises(OriginUnreachable, match="not one over HTTP"):
        await heard(dialer(), Route("r.test", 443, False, None, "socks5://127.0.0.1:1080"))


def test_an_address_without_an_account_has_no_header() -> None:
    assert account_header("Authorization", URL("http://r.test")) == []
