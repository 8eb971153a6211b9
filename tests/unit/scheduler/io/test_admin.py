"""Who may deny and purge, and what they are told."""

import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from scheduler.config import SchedulerConfig
from scheduler.io.admin import Admin
from scheduler.io.denials_file import DenialsFile
from scheduler.io.inline_cache import InlineCache
from scheduler.io.loop import SchedulerLoop
from scheduler.io.state_store import MemoryStore
from scheduler.machine import SchedulerMachine
from swarm.dice import Dice
from swarm.io.health import HealthServer
from swarm.io.telemetry import Telemetry
from tests.support.scheduler_playbook import BLOB

TOKEN = b"an administrator's token"


class Running:
    """A scheduler without streams, and its admin paths."""

    def __init__(self, address: str, machine: SchedulerMachine) -> None:
        self.address = address
        self.machine = machine

    async def ask(
        self, path: str, body: Any = None, method: str = "POST", **headers: str
    ) -> tuple[int, dict[str, Any]]:
        async with (
            aiohttp.ClientSession() as session,
            session.request(
                method, f"http://{self.address}/admin/{path}", json=body, headers=headers
            ) as answer,
        ):
            return answer.status, await answer.json()


@asynccontextmanager
async def running(listen: str = "127.0.0.1:0", token: bytes = b"", path: str = "") -> AsyncIterator[Running]:
    machine = SchedulerMachine(SchedulerConfig(), Dice(1))
    telemetry = Telemetry("scheduler", stream=io.StringIO())
    loop = SchedulerLoop(machine, MemoryStore(), InlineCache(1000), telemetry, denials=DenialsFile(path))
    admin = Admin(listen, token, loop, machine.denials)
    server = HealthServer("127.0.0.1:0", telemetry, list, admin.routes())
    try:
        yield Running(await server.start(), machine)
    finally:
        await server.close()
        await loop.close()


async def test_a_digest_is_denied_shown_and_allowed_again(tmp_path: Path) -> None:
    async with running(path=str(tmp_path / "denials")) as it:
        status, answer = await it.ask("deny", {"digest": BLOB, "reason": "leaked key"})
        assert (status, answer) == (200, {"hosts": 0, "kept": True})
        assert await it.ask("denials", method="GET") == (200, {"denied": {BLOB: "leaked key"}})
        assert (await it.ask("allow", {"digest": BLOB}))[0] == 200
        assert it.machine.denials.denied == {}


async def test_who_denies_is_told_when_it_will_not_outlive_the_scheduler(tmp_path: Path) -> None:
    async with running() as it:
        assert (await it.ask("deny", {"digest": BLOB}))[1]["kept"] is False
    async with running(path=str(tmp_path / "missing" / "denials")) as it:
        answer = (await it.ask("deny", {"digest": BLOB}))[1]
        assert not answer["kept"]
        assert "cannot be written" in answer["warning"]


async def test_copies_and_tags_are_purged() -> None:
    async with running() as it:
        assert await it.ask("purge", {"digest": BLOB}) == (200, {"hosts": 0})
        tag = {"registry": "r", "repository": "n", "tag": "v1"}
        assert await it.ask("purge", tag) == (200, {"hosts": 0})


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("deny", {"digest": "sha256:0"}),
        ("deny", {}),
        ("deny", ["x"]),
        ("deny", {"digest": BLOB, "reason": "x" * 501}),
        ("deny", {"digest": BLOB, "reason": "two\nlines"}),
        ("deny", {"digest": BLOB, "reason": "x" * 20_000}),
        ("purge", {"registry": "r", "repository": "n"}),
        ("purge", {"registry": "r", "repository": "n", "tag": 3}),
    ],
)
async def test_what_makes_no_sense_is_refused(path: str, body: Any) -> None:
    async with running() as it:
        status, answer = await it.ask(path, body)
        assert status == 400
        assert answer["error"]
        assert it.machine.denials.denied == {}


async def test_with_a_token_only_who_shows_it() -> None:
    async with running("0.0.0.0:4011", TOKEN) as it:
        good = f"Bearer {TOKEN.decode()}"
        for shown in ("", "Bearer wrong", f"Basic {TOKEN.decode()}", "Bearer é"):
            assert (await it.ask("deny", {"digest": BLOB}, Authorization=shown))[0] == 401
            assert (await it.ask("denials", method="GET", Authorization=shown))[0] == 401
        assert it.machine.denials.denied == {}
        assert (await it.ask("deny", {"digest": BLOB}, Authorization=good))[0] == 200


async def test_beyond_loopback_nobody_may_without_a_token() -> None:
    async with running("0.0.0.0:4011") as it:
        for path in "deny", "allow", "purge":
            assert (await it.ask(path, {"digest": BLOB}))[0] == 403
        assert (await it.ask("denials", method="GET"))[0] == 403


async def test_a_page_in_a_browser_may_not() -> None:
    async with running() as it:
        assert (await it.ask("deny", {"digest": BLOB}, Host="rebound.example:4011"))[0] == 403
        assert (await it.ask("deny", {"digest": BLOB}, Host="localhost"))[0] == 200
        simple = {"Content-Type": "text/plain"}
        assert (await it.ask("allow", {"digest": BLOB}, **simple))[0] == 415
        assert BLOB in it.machine.denials.denied
