"""The blob store against a table in memory, through restarts and crashes that damage bytes and tear records."""

import asyncio
import os
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from dfdaemon.config import StoreConfig
from dfdaemon.io import blob_store
from dfdaemon.io.blob_store import BlobStore
from dfdaemon.io.store_workers import StoreWorkers
from swarm.errors import StoreError, StoreFull
from swarm.ids import TaskId
from tests.support.blobs import Sample, content_of, take_piece

T = TypeVar("T")
SAMPLES = [Sample(1, 700_000), Sample(2, 600_000), Sample(3, 1_100_000), Sample(4, 9)]
ROOM = 1_800_000
"""The three large ones do not fit together."""
samples = st.sampled_from(SAMPLES)


class StoreMachine(RuleBasedStateMachine):
    """`held`: the pieces of each blob that the store may have; `complete`: the blobs that were marked so."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.usual, blob_store.FOLLOW_BYTES = blob_store.FOLLOW_BYTES, 1
        self.workers = StoreWorkers()
        self.folder = tempfile.TemporaryDirectory()
        self.held: dict[TaskId, set[int]] = {}
        self.complete: set[TaskId] = set()
        self.pinned: set[TaskId] = set()
        self.now = 1e9

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(asyncio.wait_for(work, 30))

    def evicted(self, task: TaskId) -> None:
        assert task not in self.pinned, "what is in use is never evicted"
        del self.held[task]
        self.complete.discard(task)

    @initialize()
    def start(self) -> None:
        config = StoreConfig(self.folder.name, quota_bytes=ROOM, free_bytes_min=0)
        self.store = BlobStore(config, "xxh3", self.evicted, workers=self.workers, clock=lambda: self.now)

    def is_open(self, sample: Sample) -> bool:
        """Whether open() would find it as it is; what a crash left is opened, and so verified, before its use."""
        stored = self.store.get(sample.task)
        return stored is not None and stored.verified

    def stop(self) -> None:
        self.run(self.store.close())
        self.pinned.clear()

    @rule(sample=samples)
    def open(self, sample: Sample) -> None:
        self.now += 1
        try:
            stored = self.run(self.store.open(sample.task, sample.size))
        except StoreFull:
            others = sum(s.size for s in SAMPLES if s.task in self.pinned and s.task in self.held)
            assert sample.task not in self.held
            assert others + sample.size > ROOM, "there was room"
            return
        held = self.held.setdefault(sample.task, set())
        assert stored.verified
        assert {record.index for record in stored.records} == held
        assert stored.complete == (sample.task in self.complete)

    @rule(sample=samples, data=st.data())
    def take(self, sample: Sample, data: st.DataObject) -> None:
        index = data.draw(st.integers(0, sample.pieces.count - 1))
        if self.is_open(sample) and sample.task not in self.complete:
            take_piece(self.store, sample, index)
            self.held[sample.task].add(index)

    @rule(sample=samples)
    def finish(self, sample: Sample) -> None:
        if not self.is_open(sample):
            return
        if len(self.held[sample.task]) < sample.pieces.count:
            try:
                self.run(self.store.check(sample.task))
            except StoreError:
                return
            raise AssertionError("a blob in part has no digest")
        assert self.run(self.store.check(sample.task))
        self.store.complete(sample.task)
        self.complete.add(sample.task)

    @rule(sample=samples, bits=st.integers(1, 7))
    def drop(self, sample: Sample, bits: int) -> None:
        if not self.is_open(sample):
            return
        self.store.drop(sample.task, bits)
        held = self.held.get(sample.task, set())
        wrong = {index for index in held if bits >> index & 1}
        held -= wrong
        if wrong:
            self.complete.discard(sample.task)

    @rule()
    def put(self) -> None:
        tiny = SAMPLES[-1]
        try:
            self.run(self.store.put(tiny.task, tiny.content))
        except StoreFull:
            assert tiny.task not in self.held
            return
        self.held[tiny.task] = {0}
        self.complete.add(tiny.task)

    @rule(sample=samples)
    def remove(self, sample: Sample) -> None:
        self.run(self.store.remove(sample.task))
        self.held.pop(sample.task, None)
        self.complete.discard(sample.task)

    @rule(sample=samples)
    def pin(self, sample: Sample) -> None:
        if sample.task not in self.pinned:
            self.store.pin(sample.task)
            self.pinned.add(sample.task)

    @precondition(lambda self: self.pinned)
    @rule(data=st.data())
    def unpin(self, data: st.DataObject) -> None:
        task = data.draw(st.sampled_from(sorted(self.pinned)))
        self.pinned.discard(task)
        self.store.unpin(task)

    @rule()
    def restart(self) -> None:
        verified = {blob.task: blob.verified for blob in self.store.inventory()}
        self.stop()
        self.start()
        assert {blob.task: blob.verified for blob in self.store.inventory()} == verified
        assert self.store.problems == []

    @rule(data=st.data())
    def crash(self, data: st.DataObject) -> None:
        """Bytes of pieces never reached the disk, and the last record was torn."""
        self.stop()
        (Path(self.folder.name) / "clean").unlink(missing_ok=True)
        for sample in SAMPLES:
            held = self.held.get(sample.task, set())
            for index in data.draw(st.sets(st.sampled_from(sorted(held)))) if held else ():
                (path,) = Path(self.folder.name).glob(f"blobs/*/*/{sample.digest.hex}/data")
                with open(path, "r+b") as file:
                    file.seek(sample.pieces.start(index))
                    file.write(bytes(7))
                held.discard(index)
                self.complete.discard(sample.task)
        self.start()

    @rule(sample=samples, cut=st.integers(1, 31))
    def tear(self, sample: Sample, cut: int) -> None:
        """The machine dies while the last record of a blob is written."""
        self.stop()
        (Path(self.folder.name) / "clean").unlink(missing_ok=True)
        for path in Path(self.folder.name).glob(f"blobs/*/*/{sample.digest.hex}/state"):
            header, _, records = path.read_bytes().partition(b"\n")
            if records:
                os.truncate(path, len(header) + 1 + len(records) - cut)
        self.start()
        found = self.store.get(sample.task)
        if found is not None:
            held = self.held[sample.task]
            lost = held - {record.index for record in found.records}
            assert len(lost) <= 1
            assert not found.complete or sample.task in self.complete
            held -= lost
            if not found.complete:
                self.complete.discard(sample.task)

    @invariant()
    def tells_the_truth(self) -> None:
        if not hasattr(self, "store"):
            return
        assert self.store.usage_bytes() == sum(s.size for s in SAMPLES if s.task in self.held) <= ROOM
        for sample in SAMPLES:
            stored = self.store.get(sample.task)
            assert (stored is not None) == (sample.task in self.held)
            if stored is None or not stored.verified:
                continue
            assert {record.index for record in stored.records} == self.held[sample.task]
            assert stored.complete == (sample.task in self.complete)
            if stored.records:
                content = content_of(self.store, sample)
                for record in stored.records:
                    span = slice(sample.pieces.start(record.index), sample.pieces.end(record.index))
                    assert content[span] == sample.bytes_of(record.index), "what is recorded is right"

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.stop()
        blob_store.FOLLOW_BYTES = self.usual
        self.workers.close()
        self.loop.close()
        self.folder.cleanup()


TestBlobStore = StoreMachine.TestCase
TestBlobStore.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
