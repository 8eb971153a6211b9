"""Clients that cannot be installed here, by what they send and what they need back.

tests/contract/transcripts has one file each, written from the sources that it names. The requests go to a whole
daemon with an empty store; those marked `together` at once with the one before. `takes`: the client reads so many
bytes of the body and drops the connection.
"""

import asyncio
import re
import tomllib
from collections.abc import AsyncIterator
from dataclasses import replace
from email.parser import BytesParser
from pathlib import Path
from typing import Any

import pytest

from benchmarks.io.image import Image, blob_path, generate_image
from benchmarks.io.origin_registry import OriginRegistry
from tests.support.daemon import REGISTRY, RunningDaemon, daemon_config, running_daemon
from tests.support.mirror import Answer, parse_answer
from tests.support.processes import short_directory

FOLDER = Path(__file__).with_name("transcripts")
FILES = sorted(FOLDER.glob("*.toml"))
LAYER_BYTES = 3_000_000
ANSWER_S = 30.0
SLICE = re.compile(r"(\w+)(?:\[(\d*):(\d*)\])?")
NAME = re.compile(r"\{(\w+)(?:\.(size|last|tag))?\}")


Contents = dict[str, tuple[str, bytes]]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    return generate_image(tmp_path_factory.mktemp("image"), "team/app", "v1", [LAYER_BYTES], with_index=True)


@pytest.fixture(scope="module")
def contents(image: Image) -> Contents:
    """Digest and bytes by the names that transcripts use."""
    digests = {
        "index": image.root_digest,
        "manifest": image.manifest_digest,
        "config": image.config.digest,
        "layer": image.layers[0].digest,
    }
    return {
        name: (digest, blob_path(image.directory, digest).read_bytes()) for name, digest in digests.items()
    }


@pytest.fixture
async def daemon(image: Image) -> AsyncIterator[RunningDaemon]:
    async with OriginRegistry([image]) as origin:
        with short_directory() as folder:
            config = daemon_config(folder, origin.url)
            mirror = replace(config.mirror, default_registry=REGISTRY)
            async with running_daemon(replace(config, mirror=mirror)) as running:
                yield running


def filled(text: str, contents: Contents) -> str:
    """The text with {name}, {name.size}, {name.last} (its last offset) and {name.tag} replaced."""

    def value(found: re.Match[str]) -> str:
        digest, content = contents[found[1]]
        size = len(content)
        values = {"size": str(size), "last": str(size - 1), "tag": digest.replace(":", "-")}
        return values.get(found[2] or "", digest)

    return NAME.sub(value, text)


def bytes_of(text: str, contents: Contents) -> bytes:
    """The bytes that `layer[10:20]` means."""
    found = SLICE.fullmatch(text)
    assert found is not None, text
    content = contents[found[1]][1]
    return content[int(found[2] or 0) : int(found[3] or len(content))]


async def ask(port: int, request: dict[str, Any], contents: Contents) -> Answer:
    """Send one request as the transcript has it, and read as much as its client does."""
    line = filled(request["line"], contents)
    lines = [f"{line} HTTP/1.1", "Host: 127.0.0.1:4001", "Connection: close"]
    lines += [filled(header, contents) for header in request.get("headers", [])]
    async with asyncio.timeout(ANSWER_S):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n")
        try:
            takes = request.get("takes")
            if takes is None:
                return parse_answer(line.split()[0], await reader.read())
            head = await reader.readuntil(b"\r\n\r\n")
            return parse_answer("GET", head + await reader.readexactly(takes))
        finally:
            writer.close()
            await asyncio.gather(writer.wait_closed(), return_exceptions=True)


def check(answer: Answer, request: dict[str, Any], contents: Contents) -> None:
    """The answer is one that the client can work with."""
    where = request["line"]
    assert answer.status == request["status"], where
    for name, value in request.get("answers", {}).items():
        assert answer.header(name) == filled(value, contents), (where, name)
    assert answer.header("Content-Encoding") is None, where
    if "body" in request:
        assert answer.body == bytes_of(request["body"], contents), where
    if "takes" not in request:
        assert answer.whole, where
    if "parts" in request:
        head = f"Content-Type: {answer.header('Content-Type')}\r\n\r\n".encode()
        parts = [
            part.get_payload(decode=True) for part in BytesParser().parsebytes(head + answer.body).walk()
        ]
        assert parts[1:] == [bytes_of(part, contents) for part in request["parts"]], where


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
async def test_a_client_gets_what_it_needs(daemon: RunningDaemon, contents: Contents, file: Path) -> None:
    transcript = tomllib.loads(file.read_text())
    assert len(transcript["source"]) > 20, "where this is from"
    steps: list[list[dict[str, Any]]] = []
    for request in transcript["request"]:
        if request.get("together") and steps:
            steps[-1].append(request)
        else:
            steps.append([request])
    for step in steps:
        answers = await asyncio.gather(*(ask(daemon.mirror.port, request, contents) for request in step))
        for request, answer in zip(step, answers, strict=True):
            check(answer, request, contents)


def test_no_transcript_is_left_out() -> None:
    assert len(FILES) >= 9
