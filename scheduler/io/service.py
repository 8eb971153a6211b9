"""Serves one daemon's Attach stream: handshake, then facts in and facts out, until one side ends."""

import asyncio
import secrets
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import grpc

from scheduler.io.loop import MachineFailed, SchedulerLoop
from scheduler.io.outbox import Outbox, StreamEnd
from swarm.errors import WireError
from swarm.facts import Note
from swarm.ids import HostId, TaskId
from swarm.io.attach_codec import FromDaemon, FromScheduler, from_daemon, to_daemon
from swarm.io.attach_proof import (
    NONCE_BYTES,
    VERSION,
    VERSION_MIN,
    Challenge,
    Proof,
    Welcome,
    daemon_mac,
    same_mac,
    scheduler_mac,
)
from swarm.io.log_lines import where
from swarm.io.telemetry import Telemetry
from swarm.messages import Hello, Leave, Role

HANDSHAKE_S = 10.0
"""From a stream's start to its Hello: a daemon takes milliseconds, a stranger shall not stay."""
BLAMELESS = (grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
"""Ends of streams that are nobody's mistake, and not worth a warning."""
LEFT = Leave(TaskId(""))
"""What a daemon says when it stops."""

Context = Any
"""A grpc.aio.ServicerContext, which is not generic at run time."""
Messages = AsyncGenerator[FromDaemon, None]


class AttachService:
    """Serves the streams of all daemons; `attach` is the handler of the method Attach."""

    def __init__(
        self,
        loop: SchedulerLoop,
        token: bytes,
        telemetry: Telemetry,
        handshake_s: float = HANDSHAKE_S,
        seed_token: bytes = b"",
    ) -> None:
        self._loop = loop
        self._token = token
        self._seed_token = seed_token
        self._telemetry = telemetry
        self._handshake_s = handshake_s

    async def attach(self, requests: object, context: Context) -> None:
        """Serve one stream from its challenge to its end."""
        host = None
        try:
            async with aclosing(_messages(context)) as messages:
                async with asyncio.timeout(self._handshake_s):
                    host, as_seed = await self._authenticate(messages, context)
                    hello = await _hello(messages, host)
                self._check_role(hello, as_seed)
                await self._serve(hello, messages, context)
        except StreamEnd as end:
            await self._end(host, end, context)
        except TimeoutError:
            reason = f"no Hello within {self._handshake_s:g} s"
            await self._end(host, StreamEnd(grpc.StatusCode.DEADLINE_EXCEEDED, reason), context)

    async def _end(self, host: HostId | None, end: StreamEnd, context: Context) -> None:
        if end.code not in BLAMELESS:
            fields = (("reason", end.reason), ("peer", context.peer()))
            self._telemetry.note(Note("stream_refused", host=host, fields=fields))
            self._telemetry.count("streams_refused_total", status=end.code.name)
        if end.code is not grpc.StatusCode.OK:
            await context.abort(end.code, end.reason)

    # --- handshake ------------------------------------------------------------------------------------

    async def _authenticate(self, messages: Messages, context: Context) -> tuple[HostId, bool]:
        """Return who it is, and whether it knows the token of seeds."""
        challenge = Challenge(VERSION, secrets.token_bytes(NONCE_BYTES))
        await _write(context, [challenge])
        proof = await anext(messages, None)
        if not isinstance(proof, Proof):
            raise _protocol("the first fact of a stream must be Proof")
        if proof.version < VERSION_MIN:
            reason = f"version {proof.version} of the Attach stream is too old: upgrade the daemon"
            raise StreamEnd(grpc.StatusCode.FAILED_PRECONDITION, reason)
        seed = bool(self._seed_token) and self._knows(self._seed_token, challenge, proof)
        if self._token and not seed and not self._knows(self._token, challenge, proof):
            has = "has another cluster token than" if proof.mac else "has no cluster token, unlike"
            reason = f"host {proof.host} {has} the scheduler: give both the same token_file"
            raise StreamEnd(grpc.StatusCode.UNAUTHENTICATED, reason)
        token = self._seed_token if seed else self._token
        await _write(context, [Welcome(scheduler_mac(token, challenge.nonce, proof.nonce, proof.host))])
        return proof.host, seed

    @staticmethod
    def _knows(token: bytes, challenge: Challenge, proof: Proof) -> bool:
        return same_mac(daemon_mac(token, challenge.nonce, proof.nonce, proof.host), proof.mac)

    def _check_role(self, hello: Hello, as_seed: bool) -> None:
        """A seed's word about tags counts for all: who only says that it is one is not let in."""
        if self._seed_token and hello.info.role is Role.SEED and not as_seed:
            reason = f"host {hello.info.host} says that it is a seed: give it the seeds' token"
            raise StreamEnd(grpc.StatusCode.PERMISSION_DENIED, f"{reason} (scheduler.seed_token_file)")

    # --- the open stream ------------------------------------------------------------------------------

    async def _serve(self, hello: Hello, messages: Messages, context: Context) -> None:
        """Exchange messages until the outbox is told to end; raises that StreamEnd."""
        host, outbox = hello.info.host, Outbox()
        loop = asyncio.get_running_loop()
        workers: list[asyncio.Task[None]] = []
        end = StreamEnd(grpc.StatusCode.CANCELLED, "the connection to the daemon broke")
        try:
            self._loop.attach(hello, outbox)
            workers.append(loop.create_task(self._read(host, messages, outbox)))
            workers.append(loop.create_task(_send(outbox, context)))
            end = await outbox.ended
            raise end
        except MachineFailed as error:
            end = _fault(error)
            raise end from error
        finally:
            for worker in workers:
                worker.cancel()
            self._loop.detach(host, outbox, end.reason)  # before any await: gRPC may cancel us in it
            await asyncio.gather(*workers, return_exceptions=True)

    async def _read(self, host: HostId, messages: Messages, outbox: Outbox) -> None:
        """Hand over what the daemon says, and say how that ended."""
        try:
            async for message in messages:
                if outbox.ended.done():
                    return
                if isinstance(message, Hello | Proof):
                    raise _protocol(f"a second {type(message).__name__}")
                self._loop.said(host, message)
                if message == LEFT:
                    self._loop.left(host)
                    break
            outbox.end(StreamEnd(grpc.StatusCode.OK, "the daemon closed its stream"))
        except StreamEnd as end:
            outbox.end(end)
        except WireError as error:
            outbox.end(_protocol(str(error)))
        except MachineFailed as error:
            outbox.end(_fault(error))
        except Exception as error:
            outbox.end(StreamEnd(grpc.StatusCode.UNAVAILABLE, f"the stream cannot be read: {where(error)}"))


async def _hello(messages: Messages, host: HostId) -> Hello:
    hello = await anext(messages, None)
    if not isinstance(hello, Hello):
        raise _protocol("after Welcome the first fact must be Hello")
    if hello.info.host != host:
        raise _protocol(f"Hello of {hello.info.host} after the Proof of {host}")
    return hello


async def _messages(context: Context) -> Messages:
    """Yield the daemon's messages until it closes its side; raises StreamEnd when they are malformed."""
    while (batch := await context.read()) is not grpc.aio.EOF:
        try:
            messages = from_daemon(batch)
        except WireError as error:
            raise _protocol(str(error)) from error
        for message in messages:
            yield message


async def _send(outbox: Outbox, context: Context) -> None:
    """Write what the outbox gets, one turn of the loop in one message."""
    try:
        while True:
            await _write(context, await outbox.take())
    except Exception as error:
        outbox.end(StreamEnd(grpc.StatusCode.UNAVAILABLE, f"the stream cannot be written: {where(error)}"))


async def _write(context: Context, messages: list[FromScheduler]) -> None:
    for batch in to_daemon(messages):
        await context.write(batch)


def _protocol(reason: str) -> StreamEnd:
    return StreamEnd(grpc.StatusCode.INVALID_ARGUMENT, reason)


def _fault(error: MachineFailed) -> StreamEnd:
    return StreamEnd(grpc.StatusCode.INTERNAL, f"a fault of the scheduler, see its log: {error}")
