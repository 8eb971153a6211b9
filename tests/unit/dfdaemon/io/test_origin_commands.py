"""Fetches as the driver runs them: every FetchRange is answered, however early it is stopped."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from dfdaemon.commands import FetchRange, RaiseLimit, StopFetch
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
from swarm.pieces import PIECE_BYTES_MIN, PieceMap
from tests.support.fake_origin import Answer, FakeOrigin, fake_origin, says
from tests.support.peers import receivers

CONTENT = bytes(range(256)) * (2 * PIECE_BYTES_MIN // 256)
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
        registries = (
            RegistryConfig(name="r.test", url=origin.url, **account),
            RegistryConfig(name="mirrored.test", url=origin.url, mirrors=(f"{origin.url}/mirror",)),
            RegistryConfig(name="down.test", url="http://127.0.0.1:1"),
        )
        config = OriginConfig(registries=registries, retries=1)
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
        return (await self.ends(1))[0]

    async def ends(self, count: int) -> list[OriginEnded]:
        """Wait for the ends of so many fetches."""
        async with asyncio.timeout(10):
            while len(found := [each for each in self.events if isinstance(each, OriginEnded)]) < count:
                self._posted.clear()
                await self._posted.wait()
        return found


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


def well_but(path: str, bad: Answer) -> Answer:
    """Give the content, or the answer `bad` where `path` is in the address."""

    def answer(request: web.BaseRequest) -> web.StreamResponse | Awaitable[web.StreamResponse]:
        if path in request.path:
            return bad(request)
        first, _, last = request.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")
        part = CONTENT[int(first) : int(last or len(CONTENT) - 1) + 1]
        if "Range" not in request.headers:
            return web.Response(body=CONTENT)
        placed = {"Content-Range": f"bytes {first}-{last}/{len(CONTENT)}"}
        return web.Response(status=206, body=part, headers=placed)

    return answer


@pytest.mark.parametrize("bad", [says(404), says(500), says(503), says(200, b"another"), says(206, b"odd")])
async def test_a_source_that_fails_gives_way_to_one_that_is_well(
    bench: Bench, origin: FakeOrigin, bad: Answer
) -> None:
    origin.answers[:] = [well_but("/bad/", bad)]
    bench.blob.add_source(OriginSource("down.test", "demo/app", DIGEST, "blob"))
    bench.blob.add_source(OriginSource("r.test", "demo/bad", DIGEST, "blob"))
    for count in (1, 2):
        bench.table[FetchRange](replace(FETCH, epoch=Epoch(count)))
        assert [each.fault for each in await bench.ends(count)] == [None] * count
    asked = [seen.path.split("/")[3] for seen in origin.seen]
    assert asked == ["bad", "app", "app"], "what failed is asked last from then on"


@pytest.mark.parametrize("failure", ["", "the digest was another"])
async def test_after_a_failed_download_no_mirror_is_asked(
    bench: Bench, origin: FakeOrigin, failure: str
) -> None:
    bench.blob.sources[:] = [OriginSource("mirrored.test", "demo/app", DIGEST, "blob")]
    bench.blob.account.failure = failure
    bench.table[FetchRange](FETCH)
    assert (await bench.end()).fault is None
    assert ["mirror" in seen.path for seen in origin.seen] == [not failure]


async def test_what_is_wrong_at_a_mirror_may_be_right_at_its_registry(
    bench: Bench, origin: FakeOrigin
) -> None:
    origin.answers[:] = [well_but("/mirror/", says(200, b"another"))]
    bench.blob.sources[:] = [OriginSource("mirrored.test", "demo/app", DIGEST, "blob")]
    bench.table[FetchRange](replace(FETCH, end=1))
    assert (await bench.end()).fault is None
    assert ["mirror" in seen.path for seen in origin.seen] == [True, False]


async def test_a_throttled_registry_is_not_asked_for_more(bench: Bench, origin: FakeOrigin) -> None:
    origin.answers[:] = [well_but("/bad/", says(429))]
    bench.blob.add_source(OriginSource("r.test", "demo/bad", DIGEST, "blob"))
    bench.table[FetchRange](FETCH)
    assert (await bench.end()).fault is OriginFault.THROTTLED
    assert len(origin.seen) == 1


async def test_while_one_source_may_do_better_later_no_final_fault_is_told(
    bench: Bench, origin: FakeOrigin
) -> None:
    origin.answers[:] = [says(404)]
    bench.blob.add_source(OriginSource("down.test", "demo/app", DIGEST, "blob"))
    bench.table[FetchRange](FETCH)
    assert (await bench.end()).fault is OriginFault.UNREACHABLE


async def test_two_refusals_at_once_drop_no_credential_that_was_not_tried(
    bench: Bench, origin: FakeOrigin
) -> None:
    def answer(request: web.BaseRequest) -> web.StreamResponse | Awaitable[web.StreamResponse]:
        good = request.headers.get("Authorization") == "Bearer good"
        return well_but("/none/", says(404))(request) if good else web.Response(status=401)

    origin.answers[:] = [answer]
    source = bench.blob.sources.pop()
    bench.blob.add_source(replace(source, authorization="Bearer good"))
    bench.blob.add_source(replace(source, authorization="Bearer old"))
    for epoch in (1, 2):
        command = FetchRange(DIGEST.task, Epoch(epoch), epoch - 1, epoch, 5.0)
        bench.table[FetchRange](command)
    assert [each.fault for each in await bench.ends(2)] == [None, None]
    assert [each.authorization for each in bench.blob.sources] == ["Bearer good"]


async def test_a_limit_that_was_raised_meanwhile_holds_for_the_next_source(
    bench: Bench, origin: FakeOrigin
) -> None:
    asked, raised = asyncio.Event(), asyncio.Event()

    async def late(request: web.BaseRequest) -> web.StreamResponse:
        asked.set()
        await raised.wait()
        return web.Response(status=404)

    origin.answers[:] = [well_but("/bad/", late)]
    bench.blob.add_source(OriginSource("r.test", "demo/bad", DIGEST, "blob"))
    bench.table[FetchRange](replace(FETCH, limit=1))
    await asked.wait()
    bench.table[RaiseLimit](RaiseLimit(DIGEST.task, FETCH.epoch, FETCH.end))
    raised.set()
    assert (await bench.end()).fault is None


async def test_without_any_credential_a_fetch_is_denied(bench: Bench) -> None:
    bench.blob.sources.clear()
    bench.table[FetchRange](FETCH)
    assert (await bench.end()).fault is OriginFault.DENIED


def only_for_everybody(request: web.BaseRequest) -> web.StreamResponse:
    return web.Response(status=401 if "Authorization" in request.headers else 200, body=CONTENT)


async def test_a_wrong_credential_costs_nobody_what_everybody_may_have(
    bench: Bench, origin: FakeOrigin
) -> None:
    origin.answers[:] = [only_for_everybody]
    bench.blob.sources[:] = [OriginSource("r.test", "demo/app", DIGEST, "blob", authorization="Bearer junk")]
    bench.table[FetchRange](FETCH)
    assert (await bench.end()).fault is None
    assert [len(seen.all("Authorization")) for seen in origin.seen] == [1, 0]


async def test_who_comes_after_a_denied_client_is_not_refused_for_it(
    bench: Bench, origin: FakeOrigin
) -> None:
    origin.answers[:] = [says(401)]
    bench.table[FetchRange](FETCH)
    assert (await bench.end()).fault is OriginFault.DENIED
    bench.blob.give_up("denied")
    assert not bench.blob.account.is_refused
    assert bench.blob.failure is not None


async def test_but_a_download_that_failed_for_another_reason_is_refused_for_a_moment(
    bench: Bench, origin: FakeOrigin
) -> None:
    origin.answers[:] = [says(401), says(500)]
    bench.table[FetchRange](FETCH)
    await bench.end()
    bench.table[FetchRange](replace(FETCH, epoch=Epoch(4)))
    assert (await bench.ends(2))[1].fault is OriginFault.SERVER_ERROR
    bench.blob.give_up("it failed")
    assert bench.blob.account.is_refused


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
