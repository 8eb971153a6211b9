"""Whatever an origin answers: clients get a status that says who is to blame, and no byte that is not the content's."""

import asyncio
import gzip
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarm.digest import Digest
from tests.support.mirror import REGISTRY, Mirror, running_mirror

CONTENT = b'{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","layers":[]}'
DIGEST = Digest.of(CONTENT)
HAMMERED = {408, 429}
"""containerd repeats a pull at once on these."""

statuses = st.sampled_from([200, 200, 200, 206, 204, 301, 307, 400, 401, 403, 404, 416, 429, 500, 503])
bodies = st.sampled_from(
    [CONTENT, CONTENT, CONTENT[:-1], CONTENT + b" ", b"", b"\x00" * 200, gzip.compress(CONTENT), b"<html>"]
)
names = st.sampled_from(
    [
        "Content-Type",
        "Content-Range",
        "Content-Encoding",
        "Docker-Content-Digest",
        "WWW-Authenticate",
        "Location",
        "Retry-After",
        "ETag",
        "Link",
        "Cache-Control",
        "Content-Length",
        "Transfer-Encoding",
        "Set-Cookie",
    ]
)
values = st.sampled_from(
    [
        str(DIGEST),
        str(Digest.of(b"other")),
        "md5:1",
        "gzip",
        "br",
        f"bytes 0-{len(CONTENT) - 1}/{len(CONTENT)}",
        "bytes 0-0/*",
        "bytes */10",
        'Bearer realm="http://127.0.0.1:1/token"',
        'Bearer realm="%%%", ,=',
        'Basic realm="x"',
        "/elsewhere",
        "http://169.254.169.254/latest",
        "http://[bad",
        "file:///etc/passwd",
        "1",
        "-5",
        "Wed, 21 Oct 2015 07:28:00 GMT",
        "a/b",
        "\x7f",
        "\x01\xff",
        "chunked",
        "99999999999999999999",
        "a" * 40_000,
        "",
    ]
)
answers = st.tuples(statuses, bodies, st.lists(st.tuples(names, values), max_size=4))
paths = st.sampled_from(
    [f"manifests/{DIGEST}", "manifests/v1", f"blobs/{DIGEST}", "tags/list", "blobs/uploads/"]
)
requests = st.tuples(
    st.sampled_from(["GET", "HEAD"]), paths, st.sampled_from([None, "bytes=0-9", "bytes=5-"])
)


class RawOrigin:
    """A server without a library that would tidy its answers up; each example sets them."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, bytes, list[tuple[str, str]]]] = []
        self.url = ""
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen on a free port."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def stop(self) -> None:
        """Listen no more."""
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            method = (await reader.readuntil(b"\r\n\r\n")).split(b" ")[0]
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()
            return  # a connection that was not needed after all
        status, body, headers = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        lines = [f"HTTP/1.1 {status} Whatever", *(f"{key}: {value}" for key, value in headers)]
        if not any(key == "Content-Length" for key, _ in headers):
            lines.append(f"Content-Length: {len(body)}")
        head = "\r\n".join([*lines, "Connection: close"]).encode("latin-1") + b"\r\n\r\n"
        writer.write(head if method == b"HEAD" else head + body)
        writer.close()
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)


class Bench:
    """A mirror before such an origin, and what it complained about."""

    def __init__(self, directory: Path) -> None:
        self.runner = asyncio.Runner()
        self.faults: list[object] = []
        self.runner.get_loop().set_exception_handler(lambda loop, context: self.faults.append(context))
        self.origin = RawOrigin()
        self.runner.run(self.origin.start())
        self._running = running_mirror(self.origin, directory, any_registry=False, read_timeout_s=0.3)
        self.mirror: Mirror = self.runner.run(self._running.__aenter__())

    def forget(self) -> None:
        """Begin anew: nothing is known or stored."""
        self.mirror.blobs.blobs.clear()
        self.mirror.authoriser.knowledge.tables.__init__()  # type: ignore[misc]

    def close(self) -> None:
        """Stop everything."""
        self.runner.run(self._running.__aexit__(None, None, None))
        self.runner.run(self.origin.stop())
        self.runner.close()


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    bench = Bench(tmp_path_factory.mktemp("blobs"))
    try:
        yield bench
    finally:
        bench.close()


@settings(max_examples=250)
@given(st.lists(answers, min_size=1, max_size=4), requests)
def test_whatever_an_origin_answers(
    bench: Bench,
    said: list[tuple[int, bytes, list[tuple[str, str]]]],
    asked: tuple[str, str, str | None],
) -> None:
    bench.forget()
    bench.origin.answers = list(said)
    method, path, part = asked
    headers = [("Accept", "*/*")] + ([] if part is None else [("Range", part)])
    answer = bench.runner.run(bench.mirror.ask(method, f"/v2/team/app/{path}?ns={REGISTRY}", headers))
    passed_on = path in ("tags/list", "blobs/uploads/")
    assert passed_on or answer.status not in HAMMERED
    assert b"made a mistake" not in answer.body
    assert bench.faults == []
    if method == "GET" and path.startswith("manifests/sha256") and answer.status == 200:
        assert answer.body == CONTENT, "a manifest by digest is that manifest"
