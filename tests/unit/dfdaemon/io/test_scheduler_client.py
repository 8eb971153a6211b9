"""The daemon's link alone; tests/contract/test_attach.py holds it and the scheduler's service together."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from dfdaemon.config import SchedulerLinkConfig
from dfdaemon.events import SchedulerAttached, SchedulerLost
from dfdaemon.io.scheduler_client import MESSAGES_MAX, LinkEvent, SchedulerClient
from swarm import messages as m
from swarm.digest import Digest
from swarm.ids import HostId
from swarm.io.attach_codec import to_daemon
from swarm.io.attach_proof import Challenge, Welcome
from swarm.rpc import attach_pb2 as pb
from tests.support.attach import Daemon

TASK = Digest.of(b"content").task


class OddScheduler:
    """Says what the test wants, and listens to nobody."""

    def __init__(self, *batches: pb.SchedulerBatch, then_wait: bool = True) -> None:
        self._batches = batches
        self._then_wait = then_wait
        self.streams = 0

    async def attach(self, requests: object, context: Any) -> None:
        self.streams += 1
        for batch in self._batches:
            await context.write(batch)
        if self._then_wait:
            await asyncio.Event().wait()
        await context.read()

    async def serve(self) -> tuple[grpc.aio.Server, str]:
        server = grpc.aio.server()
        method = grpc.stream_stream_rpc_method_handler(
            self.attach, pb.DaemonBatch.FromString, pb.SchedulerBatch.SerializeToString
        )
        service = grpc.method_handlers_generic_handler("damselfly.v1.Scheduler", {"Attach": method})
        server.add_generic_rpc_handlers((service,))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        return server, f"127.0.0.1:{port}"


def batches(*messages: Any) -> list[pb.SchedulerBatch]:
    """Each message in a batch of its own, as in a handshake."""
    return [batch for message in messages for batch in to_daemon([message])]


CHALLENGE, WELCOME = Challenge(1, bytes(32)), Welcome(b"")
MALFORMED = pb.SchedulerBatch(facts=[pb.SchedulerFact(task_info=pb.TaskInfo(task="sha256:x"))])

ODD = {
    "a welcome without a challenge": (batches(WELCOME), "broke the handshake: expected Challenge"),
    "a message before the welcome": (
        batches(CHALLENGE, m.Settings()),
        "broke the handshake: expected Welcome",
    ),
    "another version": (batches(Challenge(0, bytes(32))), "speaks version 0 of the Attach stream"),
    "a malformed message": ([*batches(CHALLENGE, WELCOME), MALFORMED], "malformed digest 'sha256:x'"),
    "a second challenge": (batches(CHALLENGE, WELCOME, CHALLENGE), "a second Challenge"),
}


@pytest.fixture
async def servers() -> AsyncIterator[list[grpc.aio.Server]]:
    started: list[grpc.aio.Server] = []
    yield started
    for server in started:
        await server.stop(0)


@pytest.mark.parametrize("odd", ODD)
async def test_a_scheduler_that_breaks_the_rules_is_lost_with_its_reason(
    servers: list[grpc.aio.Server], odd: str
) -> None:
    said, reason = ODD[odd]
    server, address = await OddScheduler(*said).serve()
    servers.append(server)
    async with Daemon("a", [address]).running() as daemon:
        await daemon.until(lambda it: bool(it.losses()))
        assert reason in daemon.losses()[0]
        assert daemon.messages() == []


async def test_a_scheduler_that_ends_the_stream_is_lost(servers: list[grpc.aio.Server]) -> None:
    server, address = await OddScheduler(*batches(CHALLENGE, WELCOME), then_wait=False).serve()
    servers.append(server)
    async with Daemon("a", [address]).running() as daemon:
        await daemon.until(lambda it: len(it.losses()) == 2)
        assert daemon.losses()[0] == f"the scheduler at {address} ended the stream: it gave no reason"
        assert daemon.attachments() == 2, "it is lost once for each time that it was there"


async def test_a_scheduler_that_says_nothing_is_given_up(servers: list[grpc.aio.Server]) -> None:
    server, address = await OddScheduler().serve()
    servers.append(server)
    events: list[LinkEvent] = []
    lost = asyncio.Event()
    config = SchedulerLinkConfig((address,), connect_timeout_s=0.1)

    def emit(event: LinkEvent) -> None:
        events.append(event)
        lost.set()

    client = SchedulerClient(config, HostId("a"), b"", emit)
    client.start()
    await asyncio.wait_for(lost.wait(), 10)
    await client.close()
    assert events == [SchedulerLost(f"the scheduler at {address} did not answer within 0.1 s")]


async def test_a_scheduler_that_does_not_read_is_given_up(servers: list[grpc.aio.Server]) -> None:
    server, address = await OddScheduler(*batches(CHALLENGE, WELCOME)).serve()
    servers.append(server)
    async with Daemon("a", [address]).running() as daemon:
        await daemon.until(lambda it: it.client.attached)
        for _ in range(MESSAGES_MAX + 2):
            daemon.client.tell(m.Completed(TASK))
        assert not daemon.client.attached
        await daemon.until(lambda it: bool(it.losses()))
        assert daemon.losses() == [f"{MESSAGES_MAX} messages wait and the scheduler does not read them"]


async def test_a_fault_of_ours_is_reported_and_we_attach_again(servers: list[grpc.aio.Server]) -> None:
    server, address = await OddScheduler(*batches(CHALLENGE, WELCOME)).serve()
    servers.append(server)
    reported: list[str] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda loop, context: reported.append(repr(context["exception"])))
    events: list[LinkEvent] = []
    twice = asyncio.Event()

    def emit(event: LinkEvent) -> None:
        events.append(event)
        if events == [SchedulerAttached()]:
            raise ValueError("a fault")
        if event == SchedulerAttached():
            twice.set()

    client = SchedulerClient(SchedulerLinkConfig((address,)), HostId("a"), b"", emit)
    client.start()
    await asyncio.wait_for(twice.wait(), 10)
    await client.close()
    assert events == [SchedulerAttached(), SchedulerLost("a fault of our own: a fault"), SchedulerAttached()]
    assert reported == ["ValueError('a fault')"]


async def test_a_link_that_never_started_can_be_closed() -> None:
    client = SchedulerClient(SchedulerLinkConfig(), HostId("a"), b"", lambda event: None)
    client.tell(m.Completed(TASK))
    await client.close()
    assert not client.attached
