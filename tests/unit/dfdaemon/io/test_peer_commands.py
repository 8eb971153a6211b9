"""What the machine asks of other hosts, on a real store: every command is answered, whatever the disk says."""

import errno
import io
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from dfdaemon import commands, events
from dfdaemon.config import SchedulerLinkConfig, StoreConfig
from dfdaemon.events import PeerFault
from dfdaemon.io.active_blob import ActiveBlob, ActiveBlobs
from dfdaemon.io.blob_store import BlobStore
from dfdaemon.io.jobs import Jobs
from dfdaemon.io.ledger import Account
from dfdaemon.io.peer_commands import PeerCommands
from dfdaemon.io.scheduler_client import SchedulerClient
from swarm.digest import Digest
from swarm.io.telemetry import Telemetry
from swarm.pieces import MIB
from tests.support.peers import CHILD, PARENT, Blob, Ends, two_ends

BLOB = Blob(2 * MIB + 5)


class Bench:
    """The commands of a parent's machine on a store of one blob, and what they posted."""

    def __init__(self, folder: Path, ends: Ends) -> None:
        self.store = BlobStore(StoreConfig(str(folder), free_bytes_min=0), "xxh3", lambda task: None)
        self.blobs = ActiveBlobs()
        self.jobs = Jobs()
        self.events: list[events.Event] = []
        scheduler = SchedulerClient(SchedulerLinkConfig(), PARENT, b"", lambda event: None)
        telemetry = Telemetry("daemon", stream=io.StringIO())
        self.commands = PeerCommands(
            self.store,
            self.blobs,
            ends.client,
            ends.server,
            scheduler,
            self.jobs,
            telemetry,
            self.events.append,
        )
        self.table = self.commands.table()

    async def activate(self) -> ActiveBlob:
        """Begin with the blob, as the driver does."""
        await self.store.open(BLOB.task, BLOB.pieces.size)
        blob = ActiveBlob(BLOB.task, Digest.parse(BLOB.task), BLOB.pieces, "", Account(BLOB.pieces.size))
        blob.file = self.store.file(BLOB.task)
        self.blobs.active[BLOB.task] = blob
        return blob


@asynccontextmanager
async def bench_at(folder: Path, ends: Ends) -> AsyncIterator[Bench]:
    made = Bench(folder, ends)
    try:
        yield made
    finally:
        await made.jobs.close()
        made.blobs.close()
        await made.store.close()


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with two_ends() as ends, bench_at(tmp_path / "store", ends) as made:
        yield made


HEDGE = commands.RequestPiece(CHILD, BLOB.task, 1, scratch=True)
HEDGE_FAILED = events.PieceFailed(CHILD, BLOB.task, 1, PeerFault.CANCELLED, scratch=True)


async def test_a_second_copy_of_a_blob_that_left_the_disk_is_answered(bench: Bench) -> None:
    await bench.activate()
    await bench.store.remove(BLOB.task)
    bench.table[commands.RequestPiece](HEDGE)
    assert bench.events == [HEDGE_FAILED]


async def test_a_second_copy_without_a_descriptor_for_it_is_answered(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(name: str, flags: int) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    blob = await bench.activate()
    monkeypatch.setattr(os, "memfd_create", full)
    bench.table[commands.RequestPiece](HEDGE)
    assert bench.events == [HEDGE_FAILED]
    assert not blob.scratch
