"""Heads and bodies of HTTP/1.1 as they may come."""

import asyncio
import gzip
import socket
from collections.abc import Iterator

import h11
import pytest

from dfdaemon.descriptors import MANIFEST_BYTES_MAX
from dfdaemon.io.origin_channel import PlainChannel
from dfdaemon.io.origin_framing import HEAD_BYTES_MAX, Framing, Inflater, SilentEnd, ask, framing_of
from swarm.errors import OriginContent, OriginCut

REQUEST = h11.Request(method="GET", target="/v2/", headers=[("Host", "r.test")])
OK = b"HTTP/1.1 200 OK\r\n"


@pytest.fixture
def wires() -> Iterator[tuple[socket.socket, PlainChannel]]:
    """The server's end, which blocks, and the channel to it."""
    server, client = socket.socketpair()
    with server, client:
        client.setblocking(False)
        yield server, PlainChannel(client)


Wires = tuple[socket.socket, PlainChannel]


async def answered(wires: Wires, *parts: bytes) -> tuple[h11.Response, Framing, bytes]:
    """Send parts of an answer one after the other; return its head, framing, and what came of the body with it."""
    server, channel = wires
    asking = asyncio.create_task(ask(channel, REQUEST))
    for part in parts:
        server.sendall(part)
        await asyncio.sleep(0)
    connection, response = await asking
    framing, first = framing_of(connection, response)
    return response, framing, b"".join(first)


async def test_a_request_is_written_and_its_answers_head_is_read(wires: Wires) -> None:
    response, framing, first = await answered(
        wires, OK + b"Content-Length: 4\r\n", b"X-A: \xc3\xa9\r\n", b"\r\nab"
    )
    assert wires[0].recv(1000) == b"GET /v2/ HTTP/1.1\r\nHost: r.test\r\n\r\n"
    assert (response.status_code, dict(response.headers)[b"x-a"]) == (200, b"\xc3\xa9")
    assert (first, framing.ended, framing.wanted(100)) == (b"ab", False, 2)
    assert framing.take(memoryview(b"cd")) == [b"cd"]
    assert (framing.ended, framing.clean) == (True, True)


async def test_news_before_the_answer_is_passed_over(wires: Wires) -> None:
    response, _, _ = await answered(
        wires, b"HTTP/1.1 103 Early Hints\r\n\r\n", OK + b"Content-Length: 0\r\n\r\n"
    )
    assert response.status_code == 200


@pytest.mark.parametrize(
    ("head", "body", "content", "ended", "clean"),
    [
        (b"Content-Length: 3\r\n", b"abc", b"abc", True, True),
        (b"Content-Length: 3\r\n", b"abcd", b"abc", True, False),
        (b"Content-Length: 3\r\nConnection: keep, Close\r\n", b"abc", b"abc", True, False),
        (
            b"Transfer-Encoding: chunked\r\n",
            b"2\r\nab\r\n1;x=y\r\nc\r\n0\r\nA: b\r\n\r\n",
            b"abc",
            True,
            True,
        ),
        (b"Transfer-Encoding: chunked\r\n", b"3\r\nab", b"ab", False, False),
        (b"Transfer-Encoding: chunked\r\n", b"1\r\na\r\n0\r\n\r\nHTTP", b"a", True, False),
        (b"", b"abc", b"abc", False, False),
    ],
)
async def test_where_a_body_ends(
    wires: Wires, head: bytes, body: bytes, content: bytes, ended: bool, clean: bool
) -> None:
    _, framing, first = await answered(wires, OK + head + b"\r\n" + body)
    assert (first, framing.ended, framing.clean) == (content, ended, clean)


async def test_an_answer_that_has_no_body(wires: Wires) -> None:
    _, framing, first = await answered(wires, b"HTTP/1.1 204 No Content\r\n\r\n")
    assert (first, framing.ended, framing.clean) == (b"", True, True)


async def test_an_old_server_keeps_no_connection(wires: Wires) -> None:
    _, framing, _ = await answered(wires, b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n")
    assert (framing.ended, framing.clean) == (True, False)


async def test_only_a_body_without_an_announced_end_may_end_with_its_connection(wires: Wires) -> None:
    for head in (b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n"):
        _, framing, _ = await answered(wires, OK + head + b"\r\n")
        with pytest.raises(ConnectionError):
            framing.closed()
    _, framing, _ = await answered(wires, OK + b"\r\n")
    framing.closed()
    assert framing.ended


@pytest.mark.parametrize(("sent", "error"), [(b"", SilentEnd), (OK[:9], ConnectionError)])
async def test_a_connection_that_ends_before_its_answer(
    wires: Wires, sent: bytes, error: type[Exception]
) -> None:
    wires[0].sendall(sent)
    wires[0].shutdown(socket.SHUT_WR)
    with pytest.raises(error) as caught:
        await ask(wires[1], REQUEST)
    assert caught.type is error, "only silence says that the request may be repeated"


@pytest.mark.parametrize(
    "sent", [b"SSH-2.0-OpenSSH\r\n\r\n", OK + b"A: " + b"x" * (HEAD_BYTES_MAX + 20_000) + b"\r\n\r\n"]
)
async def test_what_is_no_head(wires: Wires, sent: bytes) -> None:
    wires[0].sendall(sent)
    with pytest.raises(h11.RemoteProtocolError):
        await ask(wires[1], REQUEST)


async def test_broken_chunks(wires: Wires) -> None:
    _, framing, _ = await answered(wires, OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\n")
    with pytest.raises(h11.RemoteProtocolError):
        framing.take(memoryview(b"abc"))


def test_gzip_is_undone_in_parts() -> None:
    packed, inflater = memoryview(gzip.compress(b"content")), Inflater("x")
    assert b"".join(inflater.take([packed[:5], packed[5:]])) == b"content"
    inflater.end()


def test_gzip_that_is_wrong() -> None:
    with pytest.raises(OriginContent, match="broken"):
        list(Inflater("x").take([memoryview(b"not gzip")]))
    with pytest.raises(OriginContent, match="larger"):
        list(Inflater("x").take([memoryview(gzip.compress(bytes(MANIFEST_BYTES_MAX + 1)))]))
    inflater = Inflater("x")
    list(inflater.take([memoryview(gzip.compress(b"content"))[:-1]]))
    with pytest.raises(OriginCut):
        inflater.end()
