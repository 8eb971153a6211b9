"""Fetches as the driver runs them: every FetchRange is answered, however early it is stopped."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from dfdaemon.commands import FetchRange, StopFetch
from dfdaemon.config import OriginConfig, RegistryConfig, SchedulerLinkConfig
from dfdaemon.events import Event, OriginEnded
from dfdaemon.io.active_blob import ActiveBlob, ActiveBlobs
from dfdaemon.io.jobs import Jobs
from dfdaemon.io.ledger import Account
from dfdaemon.io.origin_client import OriginClient, OriginSource
from dfdaemon.io.origin_commands import OriginCommands
from dfdaemon.io.piece_file import PieceFile
from dfdaemon.io.receiver import ReceiverPool
from dfdaemon.io.scheduler_client import SchedulerClient
from swarm.dice import Dice
from swarm.digest import Digest
from swarm.ids import Epoch, HostId
from swarm.messages import OriginFault
from swarm.pieces import PieceMap
from tests.support.fake_origin import FakeOrigin, fake_origin, says
from tests.support.peers import receivers

CONTENT = bytes(range(256)) * 4096
DIGEST = Digest.of(CONTENT, "sha256")
FETCH = FetchRange(DIGEST.task, Epoch(3), 0, PieceMap.of(len(CONTENT)).count, 5.0)


@pytest.fixture
async def origin() -> AsyncIterator[FakeOrigin]:
    async with fake_origin(says(200, CONTENT)) as server:
        yield server


@pytest.fixture
async def pool() -> AsyncIterator[ReceiverPool]:
    async with receivers(1) as made:
        yield made


class Bench:
    """The commands on one active blob, and what they posted."""

    def __init__(self, origin: FakeOrigin, pool: ReceiverPool, **account: Any) -> None:
        self.events: list[Event] = []
        self._posted = asyncio.Event()
        self.jobs = Jobs()
        config = OriginConfig(
            registries=(RegistryConfig(name="r.test", url=origin.url, **account),), retries=1
        )
        self.client = OriginClient(config, Dice(1))
        self.blob = ActiveBlob(DIGEST.task, DIGEST, PieceMap.of(len(CONTENT)), "", Account(len(CONTENT)))
        self.blob.file = PieceFile.ring(len(CONTENT), self.blob.pieces.count)
        self.blob.add_source(OriginSource("r.test", "demo/app", DIGEST, "blob"))
        blobs = ActiveBlobs()
        blobs.active[DIGEST.task] = self.blob
        scheduler = SchedulerClient(SchedulerLinkConfig(), HostId("h"), b"", lambda event: None)
        commands = OriginCommands(self.client, scheduler, blobs, self.jobs, pool, self._post)
        self.table = commands.table()

    def _post(self, event: Event) -> None:
        self.events.append(event)
        self._posted.set()

    async def end(self) -> OriginEnded:
        """Wait for the end of the fetch."""
        async with asyncio.timeout(10):
            while not (self.events and isinstance(self.events[-1], OriginEnded)):
                self._posted.clear()
                await self._posted.wait()
        last = self.events[-1]
        assert isinstance(last, OriginEnded)
        return last


@pytest.fixture
async def bench(origin: FakeOrigin, pool: ReceiverPool) -> AsyncIterator[Bench]:
    made = Bench(origin, pool)
    yield made
    await made.jobs.close()
    made.blob.close()
    await made.client.close()


async def test_a_fetch_that_is_stopped_before_it_began_ends_too(bench: Bench, origin: FakeOrigin) -> None:
    file = bench.blob.file
    assert file is not None
    bench.table[FetchRange](FETCH)
    bench.table[StopFetch](StopFetch(DIGEST.task, FETCH.epoch))
    assert (await bench.end()).fault is None
    assert not origin.seen, "nothing was asked of the origin"
    assert file.references == 1, "its file is let go of"
    assert not bench.blob.fetches


async def test_a_fetch_runs_to_its_end_and_is_forgotten(bench: Bench) -> None:
    bench.table[FetchRange](FETCH)
    assert (await bench.end()).fault is None
    assert not bench.blob.fetches


async def test_a_credential_that_is_denied_gives_way_to_the_next(bench: Bench, origin: FakeOrigin) -> None:
    origin.answers[:] = [says(403), says(200, CONTENT)]
    bench.blob.add_source(OriginSource("r.test", "demo/other", DIGEST, "blob", authorization="Bearer x"))
    bench.table[FetchRange](FETCH)
    assert (await bench.end()).fault is None
    assert [seen.path.split("/")[3] for seen in origin.seen] == ["other", "app"]


async def test_without_any_credential_a_fetch_is_denied(bench: Bench) -> None:
    bench.blob.sources.clear()
    bench.table[FetchRange](FETCH)
    assert (await bench.end()).fault is OriginFault.DENIED


async def test_a_client_whose_token_ran_out_gives_way_to_this_hosts_account(
    origin: FakeOrigin, pool: ReceiverPool, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text("pw")
    bench = Bench(origin, pool, username="ann", password_file=str(tmp_path / "secret"))
    basic = ("WWW-Authenticate", 'Basic realm="x"')
    origin.answers[:] = [says(401), says(401, b"", basic), says(200, CONTENT)]
    bench.blob.sources[:] = [OriginSource("r.test", "demo/app", DIGEST, "blob", authorization="Bearer old")]
    try:
        bench.table[FetchRange](FETCH)
        assert (await bench.end()).fault is None
        shown = [[text.split()[0] for text in seen.all("Authorization")] for seen in origin.seen]
        assert shown == [["Bearer"], [], ["Basic"]]
    finally:
        await bench.jobs.close()
        bench.blob.close()
        await bench.client.close()


async def test_an_account_that_is_denied_too_ends_the_fetch(
    origin: FakeOrigin, pool: ReceiverPool, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text("pw")
    bench = Bench(origin, pool, username="ann", password_file=str(tmp_path / "secret"))
    origin.answers[:] = [says(403)]
    try:
        bench.table[FetchRange](FETCH)
        assert (await bench.end()).fault is OriginFault.DENIED
        assert len(origin.seen) == 2, "as a stranger, and as this host"
    finally:
        await bench.jobs.close()
        bench.blob.close()
        await bench.client.close()
