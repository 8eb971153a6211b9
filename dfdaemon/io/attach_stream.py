"""One attempt at a scheduler: connects, proves the cluster token both ways, and carries messages until it breaks."""

import asyncio
import secrets
from collections.abc import Awaitable
from typing import TypeVar

import grpc

from swarm.errors import SchedulerError
from swarm.ids import HostId
from swarm.io.attach_codec import FromDaemon, FromScheduler, from_scheduler, to_scheduler
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
from swarm.io.channel import client_options
from swarm.rpc import attach_pb2 as pb
from swarm.rpc import attach_pb2_grpc as rpc

NO_REASON = "it gave no reason"
WRITE_FAILED = "Internal error from Core"
"""What grpc.aio knows of a stream that ended while we wrote: the other side's status is lost."""

T = TypeVar("T")


class AttachStream:
    """A stream to one scheduler. Every method raises SchedulerError, which says which scheduler and why."""

    def __init__(self, address: str, credentials: grpc.ChannelCredentials | None = None) -> None:
        """Connect, with TLS if there are credentials."""
        self._address = address
        options = client_options()
        self._channel = (
            grpc.aio.insecure_channel(address, options=options)
            if credentials is None
            else grpc.aio.secure_channel(address, credentials, options=options)
        )
        self._call = rpc.SchedulerStub(self._channel).Attach()

    async def handshake(self, host: HostId, token: bytes) -> None:
        """Prove the token, and have it proven by the scheduler."""
        challenge = await self._expect(Challenge)
        if challenge.version < VERSION_MIN:
            raise self._error(f"speaks version {challenge.version} of the Attach stream: upgrade it")
        nonce = secrets.token_bytes(NONCE_BYTES)
        mac = daemon_mac(token, challenge.nonce, nonce, host)
        await self.write([Proof(VERSION, host, nonce, mac)])
        welcome = await self._expect(Welcome)
        if token and not same_mac(welcome.mac, scheduler_mac(token, challenge.nonce, nonce, host)):
            raise self._error("does not know the cluster token: give it the same token_file")

    async def read(self) -> list[FromScheduler]:
        """Wait for messages."""
        batch = await self._guard(self._call.read())
        if not isinstance(batch, pb.SchedulerBatch):
            raise self._error(f"ended the stream: {await self._guard(self._call.details()) or NO_REASON}")
        return from_scheduler(batch)

    async def write(self, messages: list[FromDaemon]) -> None:
        """Send messages in order. A stream that has ended takes nothing, and says why to `read` only."""
        for batch in to_scheduler(messages):
            try:
                await self._call.write(batch)
            except (grpc.aio.AioRpcError, grpc.aio.UsageError, asyncio.InvalidStateError):
                return

    async def finish(self) -> None:
        """Say that nothing more will be written, and wait until the scheduler has read everything."""
        await self._guard(self._call.done_writing())
        await self._guard(self._call.code())

    async def close(self) -> None:
        """Let go of the connection; never raises."""
        self._call.cancel()
        await self._channel.close()
        # An error's traceback holds this object; without these its socket would stay until a garbage collection.
        del self._call, self._channel

    async def _expect(self, kind: type[T]) -> T:
        messages = await self.read()
        if len(messages) != 1 or not isinstance(messages[0], kind):
            raise self._error(f"broke the handshake: expected {kind.__name__}")
        return messages[0]

    async def _guard(self, call: Awaitable[T]) -> T:
        """Await something of gRPC, whose errors are mapped here."""
        try:
            return await call
        except grpc.aio.AioRpcError as error:
            if error.details() == WRITE_FAILED:
                raise self._error(f"ended the stream: {NO_REASON}") from error
            raise self._error(f"cannot be used: {error.details() or error.code().name}") from error
        except (grpc.aio.UsageError, asyncio.InvalidStateError) as error:
            raise self._error(f"ended the stream: {await self._call.details() or error}") from error

    def _error(self, what: str) -> SchedulerError:
        return SchedulerError(f"the scheduler at {self._address} {what}")
