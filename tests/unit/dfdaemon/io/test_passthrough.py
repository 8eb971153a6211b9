"""What is not a pull goes to the origin and back as it is."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from benchmarks.io.origin_registry import OriginRegistry
from tests.support.fake_origin import Answer, FakeOrigin, fake_origin, says
from tests.support.mirror import REGISTRY, Mirror, running_mirror


@asynccontextmanager
async def mirror_of(directory: Path, *answers: Answer) -> AsyncIterator[tuple[Mirror, FakeOrigin]]:
    """A mirror before a server with these answers."""
    async with fake_origin(*answers) as origin, running_mirror(origin, directory) as mirror:
        yield mirror, origin


async def test_an_upload_streams_both_ways_with_its_headers(tmp_path: Path) -> None:
    reply = [("X-Twice", "1"), ("X-Twice", "2"), ("Range", "0-4"), ("Connection", "X-Hop"), ("X-Hop", "1")]
    async with mirror_of(tmp_path, says(202, b"", *reply)) as (mirror, origin):
        sent = [("Authorization", "Bearer push"), ("X-Two", "a"), ("X-Two", "b"), ("Content-Type", "x/y")]
        sent += [("OCI-Namespace", REGISTRY), ("TE", "trailers"), ("Content-Encoding", "gzip")]
        answer = await mirror.ask(
            "PATCH", f"/v2/a/b/blobs/uploads/7?ns={REGISTRY}&state=x%2Fy", sent, b"hello"
        )
        assert answer.status == 202
        assert answer.all("X-Twice") == ["1", "2"]
        assert answer.all("X-Hop") == []
        (seen,) = origin.seen
        assert (seen.method, seen.path, seen.body) == (
            "PATCH",
            "/v2/a/b/blobs/uploads/7?state=x%2Fy",
            b"hello",
        )
        assert seen.all("X-Two") == ["a", "b"]
        assert seen.all("Authorization") == ["Bearer push"]
        assert seen.all("Host") == [f"127.0.0.1:{origin.port}"]
        assert seen.all("Content-Encoding") == ["gzip"]
        assert (seen.all("OCI-Namespace"), seen.all("TE")) == ([], [])
        assert seen.all("Accept-Encoding") == [], "what a client does not understand nobody asks for"


async def test_a_client_that_waits_for_leave_to_send(tmp_path: Path) -> None:
    async with mirror_of(tmp_path, says(201)) as (mirror, origin):
        expect = [("Expect", "100-continue")]
        answer = await mirror.ask("PUT", f"/v2/a/manifests/v1?ns={REGISTRY}", expect, b"{}")
        assert answer.status == 100, "leave to send comes first"
        assert answer.body.startswith(b"HTTP/1.1 201 ")
        assert origin.seen[0].body == b"{}"
        assert origin.seen[0].all("Expect") == []


@pytest.mark.parametrize("status", [200, 204, 304, 400, 401, 404, 405, 409, 500, 503])
async def test_statuses_and_bodies_come_back_as_they_are(tmp_path: Path, status: int) -> None:
    body = b"" if status in (204, 304) else b"a body"
    challenge = ("WWW-Authenticate", 'Basic realm="x"')
    async with mirror_of(tmp_path, says(status, body, challenge)) as (mirror, origin):
        answer = await mirror.get("/v2/a/tags/list")
        assert (answer.status, answer.body) == (status, body)
        assert answer.all("WWW-Authenticate") == [challenge[1]]
        assert len(origin.seen) == 1, "nothing is repeated for the client"


async def test_a_redirect_is_the_clients_business(tmp_path: Path) -> None:
    async with mirror_of(tmp_path, says(307, b"", ("Location", "https://elsewhere/x?y=1"))) as (
        mirror,
        origin,
    ):
        answer = await mirror.get("/v2/a/tags/list")
        assert (answer.status, answer.header("Location")) == (307, "https://elsewhere/x?y=1")
        assert len(origin.seen) == 1


async def test_where_an_upload_goes_on(tmp_path: Path) -> None:
    def accept(request: web.BaseRequest) -> web.StreamResponse:
        location = f"http://{request.host}/v2/a/blobs/uploads/7?state=s"
        return web.Response(status=202, headers={"Location": location})

    async with mirror_of(tmp_path, accept) as (mirror, _):
        answer = await mirror.ask("POST", f"/v2/a/blobs/uploads/?ns={REGISTRY}")
        assert answer.header("Location") == f"/v2/a/blobs/uploads/7?state=s&ns={REGISTRY}"


async def test_lists_go_on_at_the_mirror(tmp_path: Path) -> None:
    link = ("Link", '</v2/a/tags/list?n=2&last=b>; rel="next"')
    async with mirror_of(tmp_path, says(200, b"{}", link)) as (mirror, origin):
        answer = await mirror.ask("GET", f"/v2/a/tags/list?n=2&ns={REGISTRY}")
        assert answer.header("Link") == f'</v2/a/tags/list?n=2&last=b&ns={REGISTRY}>; rel="next"'
        assert origin.seen[0].path == "/v2/a/tags/list?n=2"


async def test_referrers_of_a_registry_that_has_them(tmp_path: Path) -> None:
    digest = "sha256:" + "1" * 64
    headers = [
        ("OCI-Filters-Applied", "artifactType"),
        ("Link", f"</v2/a/referrers/{digest}?n=1&next=x>; rel=next"),
        ("Content-Type", "application/vnd.oci.image.index.v1+json"),
    ]
    async with mirror_of(tmp_path, says(200, b"{}", *headers)) as (mirror, origin):
        answer = await mirror.ask("GET", f"/v2/a/referrers/{digest}?artifactType=a%2Fb&ns={REGISTRY}")
        assert (answer.status, answer.body) == (200, b"{}")
        assert origin.seen[0].path == f"/v2/a/referrers/{digest}?artifactType=a%2Fb"
        assert answer.header("OCI-Filters-Applied") == "artifactType"
        assert answer.header("Link") == f"</v2/a/referrers/{digest}?n=1&next=x&ns={REGISTRY}>; rel=next"


async def test_a_registry_may_take_longer_over_a_push_than_over_a_pull(tmp_path: Path) -> None:
    slow = asyncio.Event()

    async def commit(request: web.BaseRequest) -> web.StreamResponse:
        await slow.wait()
        return web.Response(status=201)

    async with fake_origin(commit) as origin, running_mirror(origin, tmp_path, read_timeout_s=0.1) as mirror:
        asked = asyncio.create_task(
            mirror.ask("PUT", f"/v2/a/blobs/uploads/7?digest=x&ns={REGISTRY}", [], b"end")
        )
        pull = await mirror.get("/v2/a/manifests/v1")
        assert pull.status == 504, "a pull has given up"
        slow.set()
        assert (await asked).status == 201


async def test_a_manifest_tag_without_a_digest_is_passed_through(tmp_path: Path) -> None:
    async with mirror_of(tmp_path, says(200, b"{}")) as (mirror, origin):
        answer = await mirror.get("/v2/a/manifests/v1")
        assert (answer.status, answer.body) == (200, b"{}")
        assert [seen.method for seen in origin.seen] == ["HEAD", "GET"]


async def test_an_origin_that_is_away(tmp_path: Path) -> None:
    async with OriginRegistry() as origin, running_mirror(origin, tmp_path) as mirror:
        await origin.stop()
        answer = await mirror.get("/v2/a/tags/list")
        assert answer.status == 502
        assert answer.error["code"] == "UNAVAILABLE"


@pytest.mark.parametrize(("path", "expected"), [("manifests/v1", 503), ("tags/list", 429)])
async def test_no_pull_is_told_to_hammer(tmp_path: Path, path: str, expected: int) -> None:
    """A tag whose digest the registry does not say is passed on; containerd repeats it at once on 429."""
    async with mirror_of(tmp_path, says(200, b"{}"), says(429, b"", ("Retry-After", "7"))) as (
        mirror,
        origin,
    ):
        if path == "tags/list":
            origin.answers.pop(0)
        answer = await mirror.get(f"/v2/a/{path}")
        assert (answer.status, answer.header("Retry-After")) == (expected, "7")


async def test_bodies_stream_both_ways(tmp_path: Path) -> None:
    """Neither side waits for the end of what the other sends."""
    arrived, go_on = asyncio.Event(), asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await reader.readuntil(b"first")
        arrived.set()
        await reader.readuntil(b"last")
        writer.write(b"HTTP/1.1 201 Created\r\nContent-Length: 8\r\n\r\nhead")
        await go_on.wait()
        writer.write(b"tail")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    origin = FakeOrigin([], port=server.sockets[0].getsockname()[1])
    async with running_mirror(origin, tmp_path) as mirror:
        reader, writer = await asyncio.open_connection("127.0.0.1", mirror.port)
        head = f"PATCH /v2/a/blobs/uploads/7?ns={REGISTRY} HTTP/1.1\r\nHost: m\r\nTransfer-Encoding: chunked\r\n\r\n"
        writer.write(head.encode() + b"5\r\nfirst\r\n")
        await arrived.wait()
        writer.write(b"4\r\nlast\r\n0\r\n\r\n")
        assert (await reader.readuntil(b"head")).startswith(b"HTTP/1.1 201 ")
        go_on.set()
        assert await reader.readexactly(4) == b"tail"
        writer.close()
        await writer.wait_closed()
    server.close()
    await server.wait_closed()
