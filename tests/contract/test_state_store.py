"""What every store of the scheduler's shared state promises. A store that is added joins `STORES`."""

from collections.abc import AsyncIterator, Callable

import pytest

from scheduler.events import EpochSaved, TaskLoaded
from scheduler.io.state_store import MemoryStore, StateStore
from swarm.ids import Epoch, TaskId
from swarm.messages import PieceRecord
from swarm.roots import NO_ROOT

STORES: dict[str, Callable[[], StateStore]] = {"memory": MemoryStore}
TASK, OTHER = TaskId("sha256:" + "a" * 64), TaskId("sha256:" + "b" * 64)


def record(index: int, epoch: int, byte: bytes = b"x") -> PieceRecord:
    return PieceRecord(index, byte * 16, Epoch(epoch))


@pytest.fixture(params=STORES)
async def store(request: pytest.FixtureRequest) -> AsyncIterator[StateStore]:
    opened = STORES[request.param]()
    yield opened
    await opened.close()


async def test_a_task_that_nobody_saved_is_new(store: StateStore) -> None:
    assert await store.load_task(TASK) == TaskLoaded(TASK, Epoch(0))


async def test_a_saved_epoch_is_answered_and_kept(store: StateStore) -> None:
    assert await store.save_epoch(TASK, Epoch(3)) == EpochSaved(TASK, Epoch(3))
    assert await store.load_task(TASK) == TaskLoaded(TASK, Epoch(3))
    assert await store.load_task(OTHER) == TaskLoaded(OTHER, Epoch(0))


async def test_an_epoch_never_shrinks(store: StateStore) -> None:
    await store.save_epoch(TASK, Epoch(3))
    assert await store.save_epoch(TASK, Epoch(2)) == EpochSaved(TASK, Epoch(2))
    assert (await store.load_task(TASK)).epoch == 3


async def test_records_come_back_in_order(store: StateStore) -> None:
    await store.save_records(TASK, (record(5, 1), record(2, 1)))
    await store.save_records(TASK, (record(3, 2),))
    assert await store.load_task(TASK) == TaskLoaded(
        TASK, Epoch(0), (record(2, 1), record(3, 2), record(5, 1))
    )


async def test_a_newer_lease_replaces_a_record_and_an_older_does_not(store: StateStore) -> None:
    await store.save_records(TASK, (record(1, 2, b"b"),))
    await store.save_records(TASK, (record(1, 1, b"a"),))
    assert (await store.load_task(TASK)).records == (record(1, 2, b"b"),)
    await store.save_records(TASK, (record(1, 3, b"c"),))
    assert (await store.load_task(TASK)).records == (record(1, 3, b"c"),)


async def test_a_root_is_kept_until_it_is_proven_no_more(store: StateStore) -> None:
    await store.save_root(TASK, b"root")
    assert await store.load_task(TASK) == TaskLoaded(TASK, Epoch(0), root=b"root")
    assert (await store.load_task(OTHER)).root == NO_ROOT
    await store.save_root(TASK, NO_ROOT)
    assert (await store.load_task(TASK)).root == NO_ROOT
