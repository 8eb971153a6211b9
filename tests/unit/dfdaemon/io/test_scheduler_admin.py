"""dfctl against the admin paths of a scheduler."""

import asyncio
import io
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from dfdaemon.io import dfctl
from scheduler.config import SchedulerConfig
from scheduler.io.admin import Admin
from scheduler.io.inline_cache import InlineCache
from scheduler.io.loop import SchedulerLoop
from scheduler.io.state_store import MemoryStore
from scheduler.machine import SchedulerMachine
from swarm.dice import Dice
from swarm.digest import Digest
from swarm.io.health import HealthServer
from swarm.io.telemetry import Telemetry

DIGEST = str(Digest.of(b"a leak"))
TOKEN = "a token of administrators"


@pytest.fixture
async def scheduler() -> AsyncIterator[str]:
    """A scheduler's metrics address; it asks for TOKEN."""
    machine = SchedulerMachine(SchedulerConfig(), Dice(1))
    telemetry = Telemetry("scheduler", stream=io.StringIO())
    loop = SchedulerLoop(machine, MemoryStore(), InlineCache(1000), telemetry)
    admin = Admin("127.0.0.1:0", TOKEN.encode(), loop, machine.denials)
    server = HealthServer("127.0.0.1:0", telemetry, list, admin.routes())
    yield await server.start()
    await server.close()
    await loop.close()


@pytest.fixture
def token_file(tmp_path: Path) -> str:
    path = tmp_path / "token"
    path.write_text(TOKEN + "\n")
    return str(path)


async def run(*words: str) -> int:
    def main() -> int:
        try:
            dfctl.main(list(words))
        except SystemExit as end:
            return int(end.code or 0)
        return 0

    return await asyncio.to_thread(main)


async def test_a_digest_is_denied_shown_allowed_and_purged(
    scheduler: str, token_file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ("--scheduler", scheduler, "--token-file", token_file)
    assert await run("deny", DIGEST, "--reason", "leaked key", *where) == 0
    assert "0 hosts were told" in capsys.readouterr().out
    assert await run("denials", *where) == 0
    assert f"{DIGEST}  leaked key" in capsys.readouterr().out
    assert await run("allow", DIGEST, *where) == 0
    assert "set denials_file" in capsys.readouterr().out, "it is kept in memory only"
    assert await run("denials", *where) == 0
    assert "nothing is denied" in capsys.readouterr().out
    assert await run("purge", "--cluster", "docker.io/library/busybox:1.36", *where) == 0
    assert await run("--json", "purge", "--cluster", DIGEST, *where) == 0
    assert '"hosts": 0' in capsys.readouterr().out


async def test_what_goes_wrong_is_told_and_no_token(
    scheduler: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await run("denials", "--scheduler", scheduler) == 1
    assert "show the token" in capsys.readouterr().err
    wrong = tmp_path / "wrong"
    wrong.write_text("another token of sixteen bytes")
    assert await run("deny", DIGEST, "--scheduler", scheduler, "--token-file", str(wrong)) == 1
    printed = capsys.readouterr().err
    assert "refuses" in printed
    assert "another token" not in printed
    assert await run("deny", "sha256:0", "--scheduler", scheduler) == 2
    assert "malformed digest" in capsys.readouterr().err
    assert await run("denials", "--scheduler", "127.0.0.1:1") == 1
    assert "--scheduler names its metrics_listen" in capsys.readouterr().err
