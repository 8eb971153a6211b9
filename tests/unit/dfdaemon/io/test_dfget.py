"""dfget against a daemon that says what a test wants: what it leaves on disk, and what it tells."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from dfdaemon.io.dfget import EXIT_FAILED, EXIT_USAGE, main
from swarm.digest import Digest
from tests.support.processes import short_directory

BODY = b"content"
DIGEST = Digest.of(BODY)
BLOB = f"https://r.test/v2/team/app/blobs/{DIGEST}"


class Daemon:
    """A control socket; `content` is what it has, by path, and everything else is not there."""

    def __init__(self, socket: Path) -> None:
        self.socket = socket
        self.content: dict[str, bytes] = {}

    async def handle(self, request: web.BaseRequest) -> web.Response:
        if request.path.startswith("/control/explain/"):
            return web.json_response({"size": len(BODY)})
        if request.path not in self.content:
            return web.json_response({"errors": [{"message": "not there"}]}, status=404)
        return web.Response(body=self.content[request.path])

    async def get(self, *arguments: str) -> int:
        """Run dfget beside this loop; return its exit code."""
        try:
            await asyncio.to_thread(main, ["--socket", str(self.socket), *arguments])
        except SystemExit as end:
            return int(end.code or 0)
        return 0


@pytest.fixture
async def daemon() -> AsyncIterator[Daemon]:
    with short_directory() as folder:
        running = Daemon(folder / "s")
        runner = web.ServerRunner(web.Server(running.handle), shutdown_timeout=0.1)
        await runner.setup()
        await web.UnixSite(runner, str(running.socket)).start()
        try:
            yield running
        finally:
            await runner.cleanup()


async def test_a_blob_becomes_a_file_when_it_is_whole(daemon: Daemon, tmp_path: Path) -> None:
    daemon.content[f"/v2/team/app/blobs/{DIGEST}"] = BODY
    assert await daemon.get(BLOB, "-o", str(tmp_path / "blob")) == 0
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("blob", BODY)]


async def test_a_blob_with_other_content_leaves_no_file(
    daemon: Daemon, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    daemon.content[f"/v2/team/app/blobs/{DIGEST}"] = b"Content"
    assert await daemon.get(BLOB, "-o", str(tmp_path / "blob")) == EXIT_FAILED
    assert list(tmp_path.iterdir()) == []
    said = capsys.readouterr()
    assert f"dfget: {DIGEST} arrived with other content" in said.err
    assert "Traceback" not in said.err


async def test_what_was_there_before_stays_when_the_pull_fails(daemon: Daemon, tmp_path: Path) -> None:
    target = tmp_path / "blob"
    target.write_bytes(b"older")
    assert await daemon.get(BLOB, "-o", str(target)) == EXIT_FAILED
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("blob", b"older")]


async def test_a_layer_that_is_not_there_fails_the_pull_in_one_sentence(
    daemon: Daemon, capsys: pytest.CaptureFixture[str]
) -> None:
    entry = {"digest": str(DIGEST), "size": len(BODY)}
    gone = [{"digest": str(Digest.of(bytes([number]))), "size": 1} for number in range(4)]
    daemon.content["/v2/team/app/manifests/v1"] = json.dumps({"config": entry, "layers": gone}).encode()
    daemon.content[f"/v2/team/app/blobs/{DIGEST}"] = BODY
    assert await daemon.get("r.test/team/app:v1") == EXIT_FAILED
    said = capsys.readouterr()
    assert said.err.count("could not be pulled: status 404: not there") == 1
    assert "Traceback" not in said.err
    assert "status 404" not in said.out, "what is printed may be read by a program"


async def test_a_file_that_cannot_be_written_is_said(
    daemon: Daemon, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    daemon.content[f"/v2/team/app/blobs/{DIGEST}"] = BODY
    for name in (str(tmp_path / "none" / "blob"), str(tmp_path), "."):
        assert await daemon.get(BLOB, "-o", name) == EXIT_USAGE
        assert f"--output {name} cannot be written" in capsys.readouterr().err
