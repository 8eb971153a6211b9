"""Whatever bytes an origin answers: a download ends whole, or with an error that says who is to blame."""

import asyncio
import gzip
import socket
from collections.abc import Iterator

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dfdaemon.io.body_transfer import BodyTransfer, Outcome, PieceRun
from dfdaemon.io.origin_channel import PlainChannel
from dfdaemon.io.origin_connections import Download, Terms
from dfdaemon.io.origin_errors import mapped_errors
from dfdaemon.io.origin_framing import ask
from dfdaemon.io.piece_file import PieceFile
from dfdaemon.io.receiver import Step
from swarm.errors import OriginContent, OriginCut
from swarm.piece_digest import piece_digest

SIZE = 40
ROOM = memoryview(bytearray(16))
REQUEST = h11.Request(method="GET", target="/", headers=[("Host", "r.test")])
CONTENT = bytes(range(SIZE))

lines = st.sampled_from(
    [
        b"Content-Length: 40",
        b"Content-Length: 3",
        b"Content-Length: 99999999999999999999",
        b"Content-Length: -1",
        b"Content-Length: 4, 4",
        b"Transfer-Encoding: chunked",
        b"Transfer-Encoding: gzip, chunked",
        b"Connection: close",
        b"Connection: \xff\xfe",
        b"X: " + b"y" * 70_000,
        b": no name",
        b"no colon",
        b"X: \x00",
    ]
)
statuses = st.sampled_from(
    [b"200 OK", b"206 Partial Content", b"204 No Content", b"101 Switching Protocols", b"999", b""]
)
chunks = st.sampled_from(
    [
        b"28\r\n" + CONTENT + b"\r\n",
        b"3\r\nabc\r\n",
        b"0\r\n\r\n",
        b"fffffffffffffffff\r\n",
        b"-1\r\n",
        b"3;x\r\n",
    ]
)
bodies = st.one_of(
    st.just(CONTENT),
    st.just(gzip.compress(CONTENT)),
    st.binary(max_size=60),
    st.lists(chunks, max_size=4).map(b"".join),
)


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as made:
        yield made


async def download(answer: bytes, gzipped: bool) -> Outcome:
    """Send an answer, close, and carry the download out to its end."""
    origin, ours = socket.socketpair()
    file = PieceFile.ring(SIZE, 1)
    with origin, ours:
        ours.setblocking(False)
        origin.sendall(answer)
        origin.close()
        try:
            with mapped_errors("x"):
                connection, response = await ask(PlainChannel(ours), REQUEST)
            got = Download(PlainChannel(ours), connection, response, Terms("x", 5.0), lambda channel: None)
            if gzipped:
                got.inflate()
        except (OriginContent, OriginCut) as error:
            return error
        run = PieceRun(file, piece_digest("xxh3"), 0, 1, 1, 0)
        transfer = BodyTransfer(got, run, 5.0, lambda index, digest: None)
        found: Step | Outcome = Step.READ
        while found is Step.READ:
            found = transfer.step(ROOM)
        assert not isinstance(found, Step), "nothing more comes, and there is room"
        assert (found is None) == (run.received_bytes == SIZE)
    file.release()
    return found


@settings(max_examples=300, deadline=None)
@given(statuses, st.lists(lines, max_size=3), bodies, st.booleans())
def test_a_download_ends_with_a_verdict(
    runner: asyncio.Runner, status: bytes, headers: list[bytes], body: bytes, gzipped: bool
) -> None:
    answer = b"HTTP/1.1 " + b"\r\n".join([status, *headers]) + b"\r\n\r\n" + body
    assert isinstance(runner.run(download(answer, gzipped)), OriginContent | OriginCut | None)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200))
def test_noise_is_no_answer(runner: asyncio.Runner, noise: bytes) -> None:
    assert isinstance(runner.run(download(noise, False)), OriginContent | OriginCut)
