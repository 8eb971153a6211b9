"""The daemon's link and the scheduler's service, over real gRPC on loopback, keep their promises to each other."""

import asyncio
import contextlib
from contextlib import AsyncExitStack

import grpc
import pytest

from scheduler.commands import Command, Send, SendInline
from scheduler.config import LeaseConfig, SchedulerConfig
from scheduler.events import (
    Event,
    HostAttached,
    HostLost,
    HostSaid,
    InlineArrived,
    InlineForgotten,
)
from scheduler.machine import SchedulerMachine
from swarm import messages as m
from swarm.dice import Dice
from swarm.digest import Digest
from swarm.ids import Epoch, HostId, TaskId
from swarm.io.attach_codec import from_scheduler, to_scheduler
from swarm.io.attach_proof import Challenge, Proof, Welcome
from swarm.rpc import attach_pb2 as pb
from swarm.rpc import attach_pb2_grpc as rpc
from tests.support.attach import Daemon, Scheduler, ScriptedMachine
from tests.support.processes import free_port
from tests.support.throttle import ThrottleProxy

CONTENT = b"a tiny blob"
TASK = Digest.of(CONTENT).task
OTHER = Digest.of(b"another").task
JOIN = m.Join(TASK, len(CONTENT), "docker.io", True)
TOKEN = b"a token of many bytes"
SEED_TOKEN = b"a token of seeds"
DEATHS = 20
"""Streams that end and break at once: which of the two the scheduler sees first is chance."""


def answer_joins(event: Event) -> list[Command]:
    """A machine that acknowledges."""
    match event:
        case HostAttached(hello):
            return [Send(hello.info.host, m.Settings())]
        case HostSaid(host, m.Join(task, size)):
            return [Send(host, m.TaskInfo(task, size))]
    return []


async def test_hello_reaches_the_machine_and_its_answer_the_daemon() -> None:
    machine = ScriptedMachine(answer_joins)
    held = (m.HeldBlob(TASK, 5),)
    hello = m.Hello(
        m.HostInfo(HostId("a"), (m.Address("10.0.0.1", 4002),), "zone", role=m.Role.SEED), held=held
    )
    async with (
        Scheduler(machine).running() as address,
        Daemon("a", [address], hello=hello).running() as daemon,
    ):
        await daemon.heard(m.Settings())
        assert machine.events == [HostAttached(hello)]
        assert daemon.client.attached
        assert daemon.losses() == []


async def test_the_time_from_join_to_answer_is_measured() -> None:
    async with (
        Scheduler(ScriptedMachine(answer_joins)).running() as address,
        Daemon("a", [address]).running() as daemon,
    ):
        await daemon.heard(m.Settings())
        daemon.client.tell(JOIN)
        await daemon.heard(m.TaskInfo(TASK, len(CONTENT)))
        assert len(daemon.answers) == 1
        assert daemon.answers[0] > 0


async def test_many_messages_of_one_turn_keep_their_order() -> None:
    machine = ScriptedMachine(answer_joins)
    tasks = [Digest.of(str(number).encode()).task for number in range(2000)]
    async with Scheduler(machine).running() as address, Daemon("a", [address]).running() as daemon:
        await daemon.heard(m.Settings())
        for task in tasks:
            daemon.client.tell(m.Join(task, 7, "docker.io", False))
        await daemon.until(lambda it: len(it.messages()) == 1 + len(tasks))
        assert daemon.messages()[1:] == [m.TaskInfo(task, 7) for task in tasks]


async def test_what_is_told_before_hello_is_dropped() -> None:
    machine = ScriptedMachine(answer_joins)
    async with Scheduler(machine).running() as address:
        daemon = Daemon("a", [address])
        daemon.client.tell(JOIN)
        async with daemon.running():
            await daemon.heard(m.Settings())
            daemon.client.tell(m.Completed(TASK))
            await machine.happened(HostSaid(HostId("a"), m.Completed(TASK)))
        assert machine.said("a") == [m.Completed(TASK)]


async def test_the_real_machine_leases_to_one_and_sends_the_other_to_it() -> None:
    machine = SchedulerMachine(SchedulerConfig(lease=LeaseConfig(recovery_s=0.0)), Dice(1))
    blob = m.Join(TASK, 64 << 20, "docker.io", True)
    async with Scheduler(machine).running() as address, AsyncExitStack() as stack:
        owner, other = [
            await stack.enter_async_context(Daemon(host, [address]).running()) for host in ("owner", "other")
        ]
        for daemon in (owner, other):
            await daemon.until(lambda it: it.client.attached)
        owner.client.tell(blob)
        await owner.until(lambda it: any(isinstance(message, m.Lease) for message in it.messages()))
        other.client.tell(blob)
        await other.until(lambda it: any(isinstance(message, m.Parents) for message in it.messages()))
        assert m.TaskInfo(TASK, blob.size) in owner.messages()
        assert m.TaskInfo(TASK, blob.size) in other.messages()
        parents = [message for message in other.messages() if isinstance(message, m.Parents)]
        assert [parent.host for parent in parents[0].parents] == ["owner"]
        assert parents[0].parents[0].addresses == (m.Address("10.0.0.1", 4002),)
    machine.validate()


# --- the cluster token ----------------------------------------------------------------------------------------


async def test_the_same_token_on_both_sides_attaches() -> None:
    machine = ScriptedMachine(answer_joins)
    async with (
        Scheduler(machine, TOKEN).running() as address,
        Daemon("a", [address], TOKEN).running() as daemon,
    ):
        await daemon.heard(m.Settings())


@pytest.mark.parametrize(
    ("ours", "theirs", "reason"),
    [
        (b"a different token here", TOKEN, "host a has another cluster token than the scheduler"),
        (b"", TOKEN, "host a has no cluster token, unlike the scheduler"),
        (TOKEN, b"", "does not know the cluster token"),
    ],
)
async def test_different_tokens_do_not_attach_and_say_so(ours: bytes, theirs: bytes, reason: str) -> None:
    machine = ScriptedMachine(answer_joins)
    scheduler = Scheduler(machine, theirs)
    async with scheduler.running() as address, Daemon("a", [address], ours).running() as daemon:
        await daemon.until(lambda it: bool(it.losses()))
        assert reason in daemon.losses()[0]
        assert "token_file" in daemon.losses()[0]
        assert daemon.attachments() == 0
    assert machine.events == []
    assert "token of many" not in scheduler.log.getvalue() + daemon.losses()[0]


@pytest.mark.parametrize(
    ("role", "shown", "taken"),
    [
        (m.Role.SEED, SEED_TOKEN, True),
        (m.Role.SEED, TOKEN, False),
        (m.Role.NORMAL, TOKEN, True),
        (m.Role.NORMAL, SEED_TOKEN, True),
    ],
)
async def test_where_seeds_have_a_token_of_their_own_only_they_are_seeds(
    role: m.Role, shown: bytes, taken: bool
) -> None:
    machine = ScriptedMachine(answer_joins)
    scheduler = Scheduler(machine, TOKEN, seed_token=SEED_TOKEN)
    hello = m.Hello(m.HostInfo(HostId("a"), (m.Address("10.0.0.1", 4002),), role=role))
    async with scheduler.running() as address, Daemon("a", [address], shown, hello).running() as daemon:
        if taken:
            await daemon.heard(m.Settings())
        else:
            await daemon.until(lambda it: bool(it.losses()))
            assert "host a says that it is a seed" in daemon.losses()[0]
            assert machine.events == []
    assert "token of seeds" not in scheduler.log.getvalue()


async def test_a_recorded_proof_is_worth_nothing_on_another_stream() -> None:
    scheduler = Scheduler(ScriptedMachine(), TOKEN)
    async with scheduler.running() as address, grpc.aio.insecure_channel(address) as channel:
        recorded = Proof(1, HostId("a"), bytes(32), bytes(range(32)))
        for _ in range(2):
            call = rpc.SchedulerStub(channel).Attach()
            await call.read()
            for batch in to_scheduler([recorded]):
                await call.write(batch)
            assert await call.code() == grpc.StatusCode.UNAUTHENTICATED


# --- the end of streams ---------------------------------------------------------------------------------------


async def test_a_stream_that_breaks_is_a_lost_host() -> None:
    machine = ScriptedMachine(answer_joins)
    async with Scheduler(machine).running() as address:
        async with Daemon("a", [address]).running() as daemon:
            await daemon.heard(m.Settings())
        await machine.happened(HostLost(HostId("a")))
    assert machine.lost() == ["a"]


async def test_a_daemon_that_says_its_last_word_and_dies_is_a_lost_host() -> None:
    """gRPC tells the end of what is read, and cancels the handler while that ends: both, in one turn or two."""
    machine = ScriptedMachine(answer_joins)
    async with Scheduler(machine).running() as address:
        for number in range(DEATHS):
            host = f"host{number}"
            async with grpc.aio.insecure_channel(address) as channel:
                stream = RawStream(channel)
                await stream.shake_hands(host)
                await stream.say(hello(host))
                await machine.happened(HostAttached(hello(host)))
                await stream.call.done_writing()
                stream.call.cancel()
            await machine.happened(HostLost(HostId(host)))


async def test_a_host_that_falls_silent_is_lost() -> None:
    machine = ScriptedMachine(answer_joins)
    async with Scheduler(machine).running(keepalive_s=0.5) as address:
        host, _, port = address.rpartition(":")
        async with (
            ThrottleProxy((host, int(port))) as proxy,
            Daemon("a", [proxy.address]).running() as daemon,
        ):
            await daemon.heard(m.Settings())
            proxy.pause()  # the connection stays open, and nothing comes back
            await machine.happened(HostLost(HostId("a")))
            proxy.resume()
            await daemon.until(lambda it: bool(it.losses()))


async def test_a_host_that_leaves_is_not_lost() -> None:
    machine = ScriptedMachine(answer_joins)
    scheduler = Scheduler(machine)
    async with scheduler.running() as address:
        async with Daemon("a", [address]).running() as daemon:
            await daemon.heard(m.Settings())
            daemon.client.tell(m.Leave(TaskId("")))
        assert machine.said("a") == [m.Leave(TaskId(""))]
        assert scheduler.loop.streams == {}
    assert machine.lost() == []
    assert daemon.losses() == []


async def test_a_second_stream_of_a_host_replaces_the_first() -> None:
    machine = ScriptedMachine(answer_joins)
    async with (
        Scheduler(machine).running() as address,
        Daemon("a", [address]).running() as first,
    ):
        await first.heard(m.Settings())
        async with Daemon("a", [address]).running() as second:
            await second.heard(m.Settings())
            await first.until(lambda it: bool(it.losses()))
            assert "attached again" in first.losses()[0]
            assert machine.attached()[:2] == ["a", "a"]
            assert machine.lost() == []
            await first.client.close()


async def test_a_scheduler_that_stops_is_lost_once_and_found_again() -> None:
    scheduler = Scheduler(ScriptedMachine(answer_joins))
    async with AsyncExitStack() as stack:
        async with scheduler.running() as address:
            daemon = await stack.enter_async_context(Daemon("a", [address]).running())
            await daemon.heard(m.Settings())
        await daemon.until(lambda it: bool(it.losses()))
        assert not daemon.client.attached
        again = Scheduler(ScriptedMachine(answer_joins))
        again.address = scheduler.address
        async with again.running():
            await daemon.until(lambda it: it.attachments() == 2 and len(it.messages()) == 2)
        assert len(daemon.losses()) >= 1
        assert "the scheduler stops" in daemon.losses()[0]


async def test_an_unreachable_scheduler_is_told_once() -> None:
    async with Daemon("a", [f"127.0.0.1:{free_port()}"]).running() as daemon:
        await daemon.until(lambda it: bool(it.losses()))
        assert "cannot be used" in daemon.losses()[0]
        port = free_port()
    scheduler = Scheduler(ScriptedMachine(answer_joins))
    scheduler.address = f"127.0.0.1:{port}"
    async with Daemon("a", [scheduler.address]).running() as late:
        await late.until(lambda it: bool(it.losses()))
        async with scheduler.running():
            await late.heard(m.Settings())
            assert len(late.losses()) == 1


async def test_no_scheduler_configured_is_told_once() -> None:
    async with Daemon("a", []).running() as daemon:
        await daemon.until(lambda it: bool(it.losses()))
        assert daemon.losses() == ["no scheduler configured"]


async def test_the_next_address_is_tried_when_one_is_dead() -> None:
    scheduler = Scheduler(ScriptedMachine(answer_joins))
    async with (
        scheduler.running() as address,
        Daemon("a", [f"127.0.0.1:{free_port()}", address]).running() as daemon,
    ):
        await daemon.heard(m.Settings())
        assert daemon.losses() == []


# --- tiny blobs -----------------------------------------------------------------------------------------------


async def test_an_inline_blob_goes_to_those_who_wait() -> None:
    def pass_on(event: Event) -> list[Command]:
        match event:
            case InlineArrived(_, task):
                return [SendInline((HostId("b"),), task)]
        return answer_joins(event)

    machine = ScriptedMachine(pass_on)
    async with (
        Scheduler(machine).running() as address,
        Daemon("a", [address]).running() as owner,
        Daemon("b", [address]).running() as waiting,
    ):
        await owner.heard(m.Settings())
        await waiting.heard(m.Settings())
        owner.client.tell(m.InlineContent(TASK, CONTENT))
        await waiting.heard(m.Inline(TASK, CONTENT))
        assert InlineArrived(HostId("a"), TASK) in machine.events


async def test_inline_blobs_are_forgotten_when_there_are_too_many() -> None:
    machine = ScriptedMachine(answer_joins)
    contents = [b"x" * 600, b"y" * 600]
    first, second = (Digest.of(content).task for content in contents)
    async with (
        Scheduler(machine, inline_bytes=1000).running() as address,
        Daemon("a", [address]).running() as daemon,
    ):
        await daemon.heard(m.Settings())
        for content in contents:
            daemon.client.tell(m.InlineContent(Digest.of(content).task, content))
        await machine.happened(InlineForgotten(first))
        host = HostId("a")
        assert machine.events[1:] == [
            InlineArrived(host, first),
            InlineArrived(host, second),
            InlineForgotten(first),
        ]


# --- daemons that break the rules -----------------------------------------------------------------------------


class RawStream:
    """A daemon without our code: says what it likes."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.call = rpc.SchedulerStub(channel).Attach()

    async def say(self, *messages: object) -> None:
        for batch in to_scheduler(messages):  # type: ignore[arg-type]
            await self.call.write(batch)

    async def read(self) -> list[object]:
        batch = await self.call.read()
        assert isinstance(batch, pb.SchedulerBatch)
        return list(from_scheduler(batch))

    async def shake_hands(self, host: str) -> None:
        assert isinstance((await self.read())[0], Challenge)
        await self.say(Proof(1, HostId(host), bytes(32), b""))
        assert await self.read() == [Welcome(b"")]

    async def refused(self) -> tuple[grpc.StatusCode, str]:
        async with asyncio.timeout(10):
            with contextlib.suppress(grpc.aio.AioRpcError):  # the status comes after the last message
                while await self.call.read() is not grpc.aio.EOF:
                    pass
            return await self.call.code(), await self.call.details() or ""


def hello(host: str) -> m.Hello:
    return m.Hello(m.HostInfo(HostId(host), ()))


BREACHES = {
    "a malformed digest": (m.Completed(TaskId("sha256:short")), "malformed digest"),
    "a second hello": (hello("bad"), "a second Hello"),
    "an inline blob with another digest": (m.InlineContent(OTHER, CONTENT), "has the digest"),
    "a bitmap that is too long": (m.Join(TASK, 10, "docker.io", True, bits=2), "bitmap"),
    "a lease beyond the largest blob": (m.LeaseProgress(TASK, Epoch(1), 1 << 20, 0), "piece 1048576"),
}


@pytest.mark.parametrize("breach", BREACHES)
async def test_a_breach_ends_that_stream_only(breach: str) -> None:
    message, reason = BREACHES[breach]
    machine = ScriptedMachine(answer_joins)
    async with (
        Scheduler(machine).running() as address,
        Daemon("good", [address]).running() as good,
        grpc.aio.insecure_channel(address) as channel,
    ):
        await good.heard(m.Settings())
        bad = RawStream(channel)
        await bad.shake_hands("bad")
        await bad.say(hello("bad"))
        await machine.happened(HostAttached(hello("bad")))
        await bad.say(message)
        code, details = await bad.refused()
        assert code == grpc.StatusCode.INVALID_ARGUMENT
        assert reason in details
        await machine.happened(HostLost(HostId("bad")))
        good.client.tell(JOIN)
        await good.heard(m.TaskInfo(TASK, len(CONTENT)))
        assert machine.said("bad") == []


async def test_nothing_but_hello_may_follow_the_handshake() -> None:
    machine = ScriptedMachine(answer_joins)
    async with Scheduler(machine).running() as address, grpc.aio.insecure_channel(address) as channel:
        eager, liar, mute = RawStream(channel), RawStream(channel), RawStream(channel)
        await eager.say(JOIN)
        assert "must be Proof" in (await eager.refused())[1]
        await liar.shake_hands("a")
        await liar.say(hello("b"))
        assert "Hello of b after the Proof of a" in (await liar.refused())[1]
        await mute.shake_hands("a")
        await mute.call.done_writing()
        assert "must be Hello" in (await mute.refused())[1]
        assert machine.events == []


async def test_a_stranger_that_says_nothing_is_sent_away() -> None:
    scheduler = Scheduler(ScriptedMachine(), handshake_s=0.05)
    async with scheduler.running() as address, grpc.aio.insecure_channel(address) as channel:
        assert await RawStream(channel).refused() == (
            grpc.StatusCode.DEADLINE_EXCEEDED,
            "no Hello within 0.05 s",
        )


async def test_facts_of_a_newer_version_are_ignored() -> None:
    machine = ScriptedMachine(answer_joins)
    async with Scheduler(machine).running() as address, grpc.aio.insecure_channel(address) as channel:
        stream = RawStream(channel)
        await stream.shake_hands("new")
        unknown = b"\x0a\x06\xfa\x3e\x03abc"  # facts[0] = { field 1007: "abc" }
        await stream.say(hello("new"))
        await stream.call.write(pb.DaemonBatch.FromString(unknown))
        await stream.say(JOIN)
        await machine.happened(HostSaid(HostId("new"), JOIN))
        stream.call.cancel()


async def test_a_daemon_that_does_not_read_must_attach_again() -> None:
    def flood(event: Event) -> list[Command]:
        match event:
            case HostSaid(host, m.Completed()):
                return [Send(host, m.Inline(TASK, bytes(100_000)))] * 11_000
        return answer_joins(event)

    machine = ScriptedMachine(flood)
    scheduler = Scheduler(machine)
    async with scheduler.running() as address, grpc.aio.insecure_channel(address) as channel:
        stream = RawStream(channel)
        await stream.shake_hands("slow")
        await stream.say(hello("slow"), m.Completed(TASK))
        await machine.happened(HostLost(HostId("slow")))
        code, _ = await stream.refused()
        assert code == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "RESOURCE_EXHAUSTED" in scheduler.telemetry.exposition()[0].decode()


async def test_a_fault_of_the_machine_ends_the_stream_that_met_it() -> None:
    def stumble(event: Event) -> list[Command]:
        match event:
            case HostSaid(_, m.Completed()):
                raise AssertionError("impossible")
        return answer_joins(event)

    machine = ScriptedMachine(stumble)
    scheduler = Scheduler(machine)
    async with scheduler.running() as address, Daemon("a", [address]).running() as daemon:
        await daemon.heard(m.Settings())
        daemon.client.tell(m.Completed(TASK))
        await daemon.until(lambda it: bool(it.losses()))
        assert "a fault of the scheduler" in daemon.losses()[0]
        await daemon.until(lambda it: it.attachments() == 2)
        assert "ERROR machine_failed" in scheduler.log.getvalue()
        assert "impossible" in scheduler.log.getvalue()
