"""Ten thousand requests, well-formed and not, at a mirror whose origin is well: nothing of it is ever our fault.

Made by a seed, not by hypothesis: it is the number that counts here, and a failure names its seed and its bytes.
Those of test_http_surface.py are fewer, and shrink.
"""

import asyncio
import logging
import random
import re
from collections.abc import Iterator

import pytest

from benchmarks.io.image import Image, generate_image
from tests.support.mirror import REGISTRY
from tests.support.mirror_bench import Bench

CASES = 10_000
AT_ONCE = 40
SEEDS = 10
STATUS = re.compile(rb"HTTP/1\.[01] (\d{3}) [^\r\n]*\r\n")
FORBIDDEN = {408, 429, 500}
QUIET_S = 0.5
EXPECTED = {b"200", b"206", b"400", b"404", b"405", b"416"}
"""All of them, or little is tested."""
TAME = 8
"""So many of the methods, headers and values are such as clients send."""
LAST = b"GET /v2/ HTTP/1.1\r\nHost: m\r\nConnection: close\r\n\r\n"
ANSWERED_MIN = 0.9
"""Most of what is sent must get at least one answer, or nothing is tested."""

METHODS = [
    "GET",
    "GET",
    "GET",
    "HEAD",
    "PUT",
    "POST",
    "PATCH",
    "DELETE",
    "OPTIONS",
    "TRACE",
    "CONNECT",
    "get",
    "G@T",
]
WORDS = [
    "team",
    "app",
    "v1",
    "tags/list",
    "blobs/uploads/",
    "blobs/uploads/7",
    "_catalog",
    "referrers",
    "..",
    "%2e%2e",
]
WORDS += ["", "~", "%00", "%", "A", "library", "a" * 300, "\xe4", "localhost", "127.0.0.1:1", "registry.test"]
HEADERS = [
    "Accept",
    "Authorization",
    "If-Range",
    "If-None-Match",
    "Accept-Encoding",
    "Content-Type",
    "Cookie",
    "X-Y",
]
HEADERS += [
    "OCI-Namespace",
    "Host",
    "Connection",
    "Upgrade",
    "Expect",
    "Content-Range",
    "Proxy-Authorization",
    "TE",
]
VALUES = [
    "",
    "*/*",
    "gzip, zstd;q=1.0",
    "Basic YTpi",
    "Bearer x",
    "a/b",
    REGISTRY,
    '"x"',
    "0",
    "100-continue",
]
VALUES += [
    "keep-alive, X-Y",
    "close",
    "trailers",
    "a" * 5000,
    "\xff\xfe",
    "websocket",
    "-1",
    "bytes 0-1/2",
    "h2c",
]
FRAMINGS = [
    "Content-Length: 5\r\n\r\nhello",
    "Content-Length: 0\r\n\r\n",
    "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "Content-Length: 4\r\nContent-Length: 5\r\n\r\nhello",
    "Content-Length: +5\r\n\r\nhello",
    "Content-Length: 5, 5\r\n\r\nhello",
    "Transfer-Encoding: xchunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    "Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\nx",
    "Transfer-Encoding: chunked\r\n\r\n-1\r\nx\r\n0\r\n\r\n",
    "Content-Length: 99999999999999999999\r\n\r\nx",
    "Content-Length: 10\r\n\r\nshort",
    " folded: x\r\n\r\n",
    "no colon\r\n\r\n",
    "Sp ace: x\r\n\r\n",
    "X: a\nY: b\r\n\r\n",
    "X: a\x00b\r\n\r\n",
]


class Requests:
    """Makes requests: `next()` is the bytes of one connection."""

    def __init__(self, seed: int, image: Image) -> None:
        self._random = random.Random(seed)
        self._blob = image.layers[0].digest
        digests = [image.root_digest, image.manifest_digest, *(digest for digest, _ in image.blobs)]
        self._digests = [
            *digests,
            "sha256:" + "0" * 64,
            "sha512:" + "1" * 128,
            "md5:1",
            "sha256:",
            "sha256:xyz",
        ]

    def next(self) -> bytes:
        """Return what a client sends before it ends its side."""
        if self._random.random() < 0.05:
            return self._random.randbytes(self._random.randrange(1, 200))
        text = "".join(self._request() for _ in range(self._random.choice([1, 1, 1, 2, 3])))
        data = text.encode("latin-1")
        if self._random.random() < 0.1:
            data = self._damaged(data)
        return data

    def _request(self) -> str:
        wild = self._random.random() < 0.4
        choose = self._random.choice
        version = choose(["HTTP/1.1"] * 6 + ["HTTP/1.0", "HTTP/2.0", "http/1.1", ""]) if wild else "HTTP/1.1"
        method = choose(METHODS if wild else METHODS[:TAME])
        head = f"{method} {self._path(wild)}{self._query(wild)} {version}\r\n"
        names, values = (HEADERS, VALUES) if wild else (HEADERS[:TAME], VALUES[:TAME])
        lines = [f"{choose(names)}: {choose(values)}\r\n" for _ in range(self._random.randrange(4))]
        if self._random.random() < 0.4:
            lines.append(f"Range: {self._range()}\r\n")
        if not wild or self._random.random() < 0.7:
            lines.insert(0, "Host: mirror\r\n")
        framing = choose(FRAMINGS) if wild else choose(["\r\n", *FRAMINGS[:3]])
        return head + "".join(lines) + framing

    def _path(self, wild: bool) -> str:
        choose, chance = self._random.choice, self._random.random()
        if chance < 0.3:
            return f"/v2/team/app/blobs/{self._blob}"
        if chance < 0.5 or not wild:
            kind, reference = choose(["blobs", "manifests"]), choose([*self._digests, "v1", "v2", ".x"])
            return choose([f"/v2/team/app/{kind}/{reference}", f"/v2/team/{choose(WORDS[:TAME])}"])
        if chance < 0.6:
            return choose(
                ["/v2/", "/v2", "/", "*", "http://registry.test/v2/", "/v2/_catalog", "//v2//", "/v2/?n=1"]
            )
        words = [choose([*WORDS, *self._digests]) for _ in range(self._random.randrange(6))]
        return choose(["/v2/", "/"]) + "/".join(words)

    def _query(self, wild: bool) -> str:
        queries = ["", f"?ns={REGISTRY}", f"?ns={REGISTRY}&n=2", "?x=y"]
        odd = [
            "?ns=",
            "?ns=10.0.0.1",
            "?ns=a/b",
            "?ns=a&ns=b",
            "?%zz",
            "?x&&=&ns",
            "?ns=%0d%0aX:y",
            "?" + "q" * 9000,
        ]
        return self._random.choice(queries + odd if wild else queries)

    def _range(self) -> str:
        number = self._random.randrange
        if number(2) == 0:
            return self._random.choice(["bytes=999999-", "bytes=0-9", "bytes=0-9,20-29"])
        parts = [
            self._random.choice(
                [f"{number(3000)}-{number(3000)}", f"{number(3000)}-", f"-{number(3000)}", "x", ""]
            )
            for _ in range(number(6))
        ]
        return self._random.choice(["bytes=", "bytes=", "bytes =", "items=", ""]) + ",".join(parts)

    def _damaged(self, data: bytes) -> bytes:
        changed = bytearray(data)
        for _ in range(self._random.randrange(1, 4)):
            changed[self._random.randrange(len(changed))] = self._random.randrange(256)
        return bytes(changed[: self._random.randrange(1, len(changed) + 1)])


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    image = generate_image(tmp_path_factory.mktemp("image"), "team/app", "v1", [1000])
    bench = Bench(image, tmp_path_factory.mktemp("blobs"))
    try:
        yield bench
    finally:
        bench.close()


async def exchange(port: int, data: bytes) -> bytes:
    """Send it, and a last request that ends the connection; return all that comes back.

    What is still waited for after a moment without a word is a request that never ends: hang up.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
    answer = b""
    try:
        writer.write(data + LAST)
        while True:
            async with asyncio.timeout(QUIET_S):
                chunk = await reader.read(1 << 16)
            if not chunk:
                return answer
            answer += chunk
    except (ConnectionError, TimeoutError):
        return answer
    finally:
        writer.close()
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_whatever_is_sent(bench: Bench, seed: int, caplog: pytest.LogCaptureFixture) -> None:
    requests = Requests(seed, bench.image)
    sent = [requests.next() for _ in range(CASES // SEEDS)]

    async def ask_all() -> list[bytes]:
        doors = asyncio.Semaphore(AT_ONCE)

        async def one(data: bytes) -> bytes:
            async with doors:
                return await exchange(bench.mirror.port, data)

        return await asyncio.gather(*map(one, sent))

    with caplog.at_level(logging.WARNING):
        answers = bench.runner.run(ask_all())
    for data, answer in zip(sent, answers, strict=True):
        statuses = {int(status) for status in STATUS.findall(answer)}
        assert not statuses & FORBIDDEN, (seed, data)
        assert all(status < 500 for status in statuses), (seed, data, answer[:300])
    assert sum(map(bool, answers)) > ANSWERED_MIN * len(answers)
    assert {status for answer in answers for status in STATUS.findall(answer)} >= EXPECTED
    assert bench.faults == []
    assert [record.getMessage() for record in caplog.records] == []
    good = bench.runner.run(bench.mirror.head("/v2/team/app/manifests/v1"))
    assert good.status == 200, "and it still works"


SMUGGLED = "GET /v2/team/app/manifests/v1 HTTP/1.1\r\nHost: m\r\n\r\n"


@pytest.mark.parametrize(
    "framing",
    [
        f"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{SMUGGLED}",
        f"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n{SMUGGLED}",
        f"Content-Length: 0\r\nContent-Length: {len(SMUGGLED)}\r\n\r\n{SMUGGLED}",
        f"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n{SMUGGLED}",
        f"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n{SMUGGLED}",
        f"Content-Length: +0\r\n\r\n{SMUGGLED}",
        f"Transfer-Encoding: chunked\r\n\r\n0_0\r\n\r\n{SMUGGLED}",
    ],
)
def test_an_ambiguous_request_ends_its_connection(bench: Bench, framing: str) -> None:
    head = f"POST /v2/team/app/blobs/uploads/?ns={REGISTRY} HTTP/1.1\r\nHost: m\r\n"
    answer = bench.runner.run(exchange(bench.mirror.port, (head + framing).encode()))
    assert [int(status) for status in STATUS.findall(answer)] == [400]
