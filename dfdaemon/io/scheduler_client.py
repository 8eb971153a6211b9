"""The daemon's link to the scheduler: attaches, carries messages, and attaches again for as long as it runs."""

import asyncio
from collections.abc import Callable
from random import SystemRandom
from time import monotonic

from dfdaemon.config import SchedulerLinkConfig
from dfdaemon.events import SchedulerAttached, SchedulerLost, SchedulerSaid
from dfdaemon.io.attach_stream import AttachStream
from dfdaemon.io.scheduler_tls import LinkTls
from swarm.errors import SchedulerError
from swarm.ids import HostId, TaskId
from swarm.io.attach_codec import FromDaemon, FromScheduler
from swarm.io.attach_proof import Challenge, Welcome
from swarm.messages import Hello, Join, TaskInfo, ToScheduler

RETRY_MIN_S = 0.1
"""First pause after a loss: a scheduler that restarts is back within a second."""
STABLE_S = 10.0
"""An attachment that held for so long was good: the pauses begin small again."""
MESSAGES_MAX = 20_000
"""Messages that wait for a scheduler that does not read; more mean that the stream is dead."""
JOINS_MAX = 1_024
"""Joins whose answer is timed at once; more are not measured."""
FINISH_S = 2.0
"""For the last messages, Leave among them, to reach the scheduler when the daemon stops."""
NO_SCHEDULER = "no scheduler configured"

LinkEvent = SchedulerAttached | SchedulerLost | SchedulerSaid
"""What the link tells the daemon."""


class SchedulerClient:
    """Keeps one stream to one of the configured schedulers. All calls on the event loop's thread.

    `emit` hears SchedulerAttached when a scheduler took us (Hello must be told then, first), SchedulerSaid for each
    message, and SchedulerLost once when there is no scheduler any more, or none at the start. `on_answer` gets the
    seconds from each Join to its TaskInfo.
    """

    def __init__(
        self,
        config: SchedulerLinkConfig,
        host: HostId,
        token: bytes,
        emit: Callable[[LinkEvent], None],
        on_answer: Callable[[float], None] = lambda seconds: None,
        tls: LinkTls | None = None,
    ) -> None:
        self.attached = False
        """Whether Hello was told on a stream that lives."""
        self.reason = "the daemon has just started"
        """Why there is no scheduler now, if there is none."""
        self._config = config
        self._host = host
        self._token = token
        self._emit = emit
        self._on_answer = on_answer
        self._tls = tls
        self._dice = SystemRandom()
        self._running: asyncio.Task[None] | None = None
        self._closing = False
        self._lost_told = False
        self._broken: asyncio.Future[str] | None = None
        """Open while a stream is: resolved when it must be given up."""
        self._waiting: list[FromDaemon] = []
        self._filled = asyncio.Event()
        self._joins: dict[TaskId, float] = {}

    def start(self) -> None:
        """Begin to attach, in the background; events come from the next turn of the loop on."""
        self._running = asyncio.get_running_loop().create_task(self._run())

    def tell(self, message: ToScheduler) -> None:
        """Send a message; all of one turn of the loop travel together. Before Hello all others are dropped."""
        if isinstance(message, Hello):
            self.attached = self._broken is not None
        if not self.attached:
            return
        if len(self._waiting) >= MESSAGES_MAX:
            self._give_up(f"{MESSAGES_MAX} messages wait and the scheduler does not read them")
            return
        if isinstance(message, Join) and len(self._joins) < JOINS_MAX:
            self._joins[message.task] = monotonic()
        self._waiting.append(message)
        self._filled.set()

    async def close(self) -> None:
        """Deliver what was told, within FINISH_S, and let go of the stream. Emits nothing any more."""
        self._closing = True
        if self._running is None:
            return
        if self.attached:
            self._filled.set()
            await asyncio.wait((self._running,), timeout=FINISH_S)
        self._running.cancel()
        await asyncio.gather(self._running, return_exceptions=True)

    # --- attaching ------------------------------------------------------------------------------------

    async def _run(self) -> None:
        if not self._config.addresses:
            self._tell_lost(NO_SCHEDULER)
            return
        pause = RETRY_MIN_S
        while not self._closing:
            began = monotonic()
            self._tell_lost(await self._try_all())
            is_stable = monotonic() - began > STABLE_S
            pause = RETRY_MIN_S if is_stable else min(2 * pause, self._config.retry_max_s)
            await asyncio.sleep(pause * self._dice.uniform(0.5, 1.0))

    def _tell_lost(self, reason: str) -> None:
        """Say that there is no scheduler, once until there was one again."""
        self.reason = reason
        if not self._lost_told and not self._closing:
            self._lost_told = True
            self._emit(SchedulerLost(reason))

    async def _try_all(self) -> str:
        """Attach to the first scheduler that takes us, until that ends. Returns why there is none now."""
        reasons = []
        for address in self._config.addresses:
            was_open, reason = await self._attach(address)
            reasons.append(reason)
            if was_open:
                break
        return "; ".join(reasons)

    async def _attach(self, address: str) -> tuple[bool, str]:
        """Attach to one scheduler, until that ends. Returns whether it took us, and why it ended."""
        was_open, stream = False, None
        try:
            stream = AttachStream(address, self._tls.credentials() if self._tls is not None else None)
            async with asyncio.timeout(self._config.connect_timeout_s):
                await stream.handshake(self._host, self._token)
            was_open = True
            return True, await self._exchange(stream)
        except SchedulerError as error:
            return was_open, str(error)
        except TimeoutError:
            return (
                False,
                f"the scheduler at {address} did not answer within {self._config.connect_timeout_s:g} s",
            )
        except Exception as error:  # ours: told to the loop's handler, since the daemon must attach again
            context = {
                "message": "a fault in the link to the scheduler; please report it",
                "exception": error,
            }
            asyncio.get_running_loop().call_exception_handler(context)
            return was_open, f"a fault of our own: {error}"
        finally:
            self._drop()
            if stream is not None:
                await stream.close()

    # --- an open stream -------------------------------------------------------------------------------

    async def _exchange(self, stream: AttachStream) -> str:
        """Carry messages both ways until that ends; returns why, or raises it."""
        loop = asyncio.get_running_loop()
        self._broken = loop.create_future()
        self._lost_told = False
        self._emit(SchedulerAttached())
        workers = (loop.create_task(self._read(stream)), loop.create_task(self._write(stream)))
        try:
            await asyncio.wait((*workers, self._broken), return_when=asyncio.FIRST_COMPLETED)
            for worker in workers:
                if worker.done():
                    worker.result()
            return self._broken.result() if self._broken.done() else "the daemon stops"
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)

    async def _read(self, stream: AttachStream) -> None:
        while True:
            for message in await stream.read():
                self._said(message)

    def _said(self, message: FromScheduler) -> None:
        if isinstance(message, Challenge | Welcome):
            raise SchedulerError(f"the scheduler sent a second {type(message).__name__}")
        if isinstance(message, TaskInfo):
            told_at = self._joins.pop(message.task, None)
            if told_at is not None:
                self._on_answer(monotonic() - told_at)
        self._emit(SchedulerSaid(message))

    async def _write(self, stream: AttachStream) -> None:
        """Send what is told; when the daemon stops, also wait until it was read."""
        while True:
            await self._filled.wait()
            self._filled.clear()
            messages, self._waiting = self._waiting, []
            await stream.write(messages)
            if self._closing and not self._waiting:
                await stream.finish()
                return

    def _give_up(self, reason: str) -> None:
        self.attached = False
        if self._broken is not None and not self._broken.done():
            self._broken.set_result(reason)

    def _drop(self) -> None:
        """Forget what belongs to a stream that is over; the next one begins with Hello."""
        self.attached = False
        self._broken = None
        self._waiting.clear()
        self._filled.clear()
        self._joins.clear()
