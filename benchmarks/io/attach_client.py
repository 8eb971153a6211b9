"""The control plane of one daemon, without the daemon: it attaches, joins, and tells what a download would tell.

It writes with the production codec and reads no more than it must, so that the machine's cores are the scheduler's.
"""

import asyncio
import secrets
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc

from swarm import availability
from swarm.dice import Dice
from swarm.ids import Epoch, HostId, TaskId
from swarm.io.attach_codec import FromDaemon, from_scheduler, to_scheduler
from swarm.io.attach_proof import NONCE_BYTES, VERSION, Proof, daemon_mac
from swarm.messages import (
    Address,
    Completed,
    Hello,
    HostInfo,
    Join,
    LeaseProgress,
    Load,
    PieceRecord,
    Progress,
    Starving,
    TaskProgress,
    ToScheduler,
)
from swarm.pieces import PieceMap
from swarm.rpc import attach_pb2 as pb
from swarm.rpc import attach_pb2_grpc as rpc

REGISTRY = "registry.bench"
STARVING_PER_PROGRESS = 0.14
"""As in a simulated cold herd of 300 hosts, where 3,479 messages of progress went with 491 cries for help."""
NO_TOKEN = b""
RECORD_BYTES = 16
"""Of a piece digest, xxh3-128."""


@dataclass(frozen=True, slots=True)
class Blob:
    """What is downloaded, and how long that takes a daemon from its Join on."""

    task: TaskId
    size: int
    download_s: float


@dataclass(slots=True)
class Traffic:
    """What the daemons of one process said and heard, in facts by their name."""

    sent: Counter[str] = field(default_factory=Counter)
    heard: Counter[str] = field(default_factory=Counter)


class AttachedDaemon:
    """One stream. `open`, then `download` as often as wanted."""

    def __init__(self, number: int, channel: grpc.aio.Channel, traffic: Traffic) -> None:
        self._host = HostId(f"node-{number}")
        self._address = Address(f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}", 4002)
        self._traffic = traffic
        self._stub = rpc.SchedulerStub(channel)
        self._call: Any = None
        self._interval_s = 1.0
        self._dice = Dice(number)
        self._leases: list[pb.Lease] = []
        self._answered: asyncio.Future[float] | None = None
        self._settled = asyncio.Event()
        self._reading: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Attach; returns when the scheduler has taken the Hello."""
        self._call = self._stub.Attach()
        (challenge,) = from_scheduler(await self._call.read())
        nonce = secrets.token_bytes(NONCE_BYTES)
        mac = daemon_mac(NO_TOKEN, challenge.nonce, nonce, self._host)  # type: ignore[union-attr]
        await self._write([Proof(VERSION, self._host, nonce, mac)])
        await self._call.read()
        await self._tell([Hello(HostInfo(self._host, (self._address,)))])
        self._reading = asyncio.get_running_loop().create_task(self._read())
        await self._settled.wait()

    async def join(self, blob: Blob) -> float:
        """Ask for a blob; returns the seconds until the scheduler answered."""
        self._leases.clear()
        self._answered = asyncio.get_running_loop().create_future()
        began = time.monotonic()
        await self._tell([Join(blob.task, blob.size, REGISTRY, may_fetch=True)])
        return await self._answered - began

    async def download(self, blob: Blob) -> None:
        """Tell what a download tells, until it is complete."""
        await self._progress(blob, time.monotonic())
        await self._tell([Completed(blob.task)])

    async def _progress(self, blob: Blob, began: float) -> None:
        """Tell the progress at the scheduler's pace: what a lease brings at once, the rest as time goes by."""
        pieces = PieceMap.of(blob.size)
        fetched, at = availability.NONE, began + self._interval_s * self._dice.share()
        while (left_s := began + blob.download_s - time.monotonic()) > 0:
            await asyncio.sleep(min(left_s, max(0.0, at - time.monotonic())))
            at += self._interval_s
            share = min(1.0, (time.monotonic() - began) / blob.download_s)
            bits = availability.span(0, int(share * pieces.count))
            records: list[PieceRecord] = []
            messages: list[ToScheduler] = []
            for lease in self._take_leases(blob):
                fetched |= availability.span(lease.start, lease.end)
                records += [_record(index, lease.epoch) for index in range(lease.start, lease.end)]
                messages.append(LeaseProgress(blob.task, Epoch(lease.epoch), lease.end, 0))
            held = TaskProgress(blob.task, bits | fetched, tuple(records))
            messages += [Progress((held,)), Load(100_000_000, 100_000_000, 3)]
            if self._dice.share() < STARVING_PER_PROGRESS and bits != availability.full(pieces.count):
                messages.append(Starving(blob.task, availability.full(pieces.count) & ~bits & ~fetched))
            await self._tell(messages)

    def _take_leases(self, blob: Blob) -> list[pb.Lease]:
        mine = [lease for lease in self._leases if lease.task == blob.task]
        self._leases.clear()
        return mine

    async def _tell(self, messages: list[ToScheduler]) -> None:
        for message in messages:
            self._traffic.sent[type(message).__name__] += 1
        await self._write(messages)

    async def _write(self, messages: Sequence[FromDaemon]) -> None:
        for batch in to_scheduler(messages):
            await self._call.write(batch)

    async def _read(self) -> None:
        """Note what the scheduler says; decode only what this daemon acts on."""
        heard = self._traffic.heard
        while isinstance(batch := await self._call.read(), pb.SchedulerBatch):
            for fact in batch.facts:
                kind = fact.WhichOneof("fact")
                heard[str(kind)] += 1
                if kind == "settings":
                    self._interval_s = fact.settings.progress_interval_s
                    self._settled.set()
                elif kind == "lease":
                    self._leases.append(fact.lease)
                elif kind == "task_info" and self._answered is not None and not self._answered.done():
                    self._answered.set_result(time.monotonic())

    async def close(self) -> None:
        """End the stream."""
        if self._reading is not None:
            self._reading.cancel()
        self._call.cancel()


def _record(index: int, epoch: int) -> PieceRecord:
    return PieceRecord(index, index.to_bytes(RECORD_BYTES, "little"), Epoch(epoch))
