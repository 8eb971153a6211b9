"""Both ends of an Attach stream in one process: a scheduler with a machine of the test, and a daemon's link."""

import asyncio
import io
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from dfdaemon.config import SchedulerLinkConfig
from dfdaemon.events import SchedulerAttached, SchedulerLost, SchedulerSaid
from dfdaemon.io.scheduler_client import LinkEvent, SchedulerClient
from dfdaemon.io.scheduler_tls import LinkTls
from scheduler.commands import Command
from scheduler.config import SchedulerConfig
from scheduler.events import Event, HostAttached, HostLost, HostSaid
from scheduler.io.inline_cache import InlineCache
from scheduler.io.loop import Machine, SchedulerLoop
from scheduler.io.server import AttachServer
from scheduler.io.server_tls import ServerTls
from scheduler.io.service import AttachService
from scheduler.io.state_store import MemoryStore, StateStore
from swarm.ids import HostId
from swarm.io.channel import KEEPALIVE_S
from swarm.io.telemetry import Telemetry
from swarm.messages import Address, Hello, HostInfo, ToDaemon, ToScheduler

WAIT_S = 10.0


class ScriptedMachine:
    """Remembers events, and answers each as the test says."""

    def __init__(self, answer: Callable[[Event], list[Command]] = lambda event: []) -> None:
        self.events: list[Event] = []
        self.answer = answer
        self.wakeup = math.inf
        self._changed = asyncio.Event()

    def handle(self, event: Event, now: float) -> list[Command]:
        self.events.append(event)
        self._changed.set()
        return self.answer(event)

    def wakeup_at(self) -> float:
        return self.wakeup

    async def happened(self, event: Event) -> None:
        """Wait until the machine has seen this event."""
        async with asyncio.timeout(WAIT_S):
            while event not in self.events:
                self._changed.clear()
                await self._changed.wait()

    def said(self, host: str) -> list[ToScheduler]:
        """What the machine heard from a host."""
        return [event.message for event in self.events if isinstance(event, HostSaid) and event.host == host]

    def lost(self) -> list[HostId]:
        return [event.host for event in self.events if isinstance(event, HostLost)]

    def attached(self) -> list[HostId]:
        return [event.hello.info.host for event in self.events if isinstance(event, HostAttached)]


class Scheduler:
    """A scheduler's I/O around a machine, on a port of its own."""

    def __init__(
        self,
        machine: Machine,
        token: bytes = b"",
        inline_bytes: int = 1 << 20,
        handshake_s: float = 10.0,
        seed_token: bytes = b"",
        tls: SchedulerConfig | None = None,
    ) -> None:
        """`tls`: settings of an address with TLS, which is then the one to attach at."""
        self.log = io.StringIO()
        self.telemetry = Telemetry("scheduler", stream=self.log)
        self.loop = SchedulerLoop(machine, self.store(), InlineCache(inline_bytes), self.telemetry)
        self.service = AttachService(self.loop, token, self.telemetry, handshake_s, seed_token)
        self.address = "127.0.0.1:0"
        loop = asyncio.get_running_loop()
        self._tls = tls and ServerTls(tls, lambda note: loop.call_soon_threadsafe(self.telemetry.note, note))

    def store(self) -> StateStore:
        return MemoryStore()

    @asynccontextmanager
    async def running(self, keepalive_s: float = KEEPALIVE_S) -> AsyncIterator[str]:
        """Serve; gives the address. The next time it is the same one."""
        server = AttachServer(self.address, self.service, keepalive_s, "127.0.0.1:0", self._tls)
        self.address = await server.start()
        try:
            yield server.tls_address or self.address
        finally:
            await self.loop.close()
            await server.stop()


class Daemon:
    """A daemon's link, with what it heard."""

    def __init__(
        self,
        host: str,
        addresses: list[str],
        token: bytes = b"",
        hello: Hello | None = None,
        tls: LinkTls | None = None,
    ) -> None:
        self.hello = hello or Hello(HostInfo(HostId(host), (Address("10.0.0.1", 4002),)))
        self.events: list[LinkEvent] = []
        self.answers: list[float] = []
        self._changed = asyncio.Event()
        config = SchedulerLinkConfig(tuple(addresses), connect_timeout_s=5.0, retry_max_s=0.2)
        self.client = SchedulerClient(config, HostId(host), token, self._emit, self.answers.append, tls)

    def _emit(self, event: LinkEvent) -> None:
        self.events.append(event)
        if isinstance(event, SchedulerAttached):
            self.client.tell(self.hello)
        self._changed.set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Daemon"]:
        self.client.start()
        try:
            yield self
        finally:
            await self.client.close()

    async def until(self, holds: Callable[["Daemon"], bool]) -> None:
        """Wait until what was heard satisfies a condition."""
        async with asyncio.timeout(WAIT_S):
            while not holds(self):
                self._changed.clear()
                await self._changed.wait()

    async def heard(self, message: ToDaemon) -> None:
        await self.until(lambda daemon: message in daemon.messages())

    def messages(self) -> list[ToDaemon]:
        return [event.message for event in self.events if isinstance(event, SchedulerSaid)]

    def losses(self) -> list[str]:
        return [event.reason for event in self.events if isinstance(event, SchedulerLost)]

    def attachments(self) -> int:
        return sum(isinstance(event, SchedulerAttached) for event in self.events)
