from scheduler.io.state_store import MemoryStore
from swarm.ids import Epoch, TaskId
from swarm.messages import PieceRecord


def task(number: int) -> TaskId:
    return TaskId(f"sha256:{number:064x}")


def records(count: int) -> tuple[PieceRecord, ...]:
    return tuple(PieceRecord(index, bytes(16), Epoch(1)) for index in range(count))


async def known(store: MemoryStore, count: int) -> list[int]:
    """Which of the tasks 0 to count - 1 have an epoch or records. Looking is using, so this is the end of a test."""
    loaded = [await store.load_task(task(number)) for number in range(count)]
    return [number for number, it in enumerate(loaded) if it.epoch or it.records]


async def test_the_least_recently_used_task_is_forgotten() -> None:
    store = MemoryStore(tasks_max=2)
    await store.save_epoch(task(0), Epoch(1))
    await store.save_epoch(task(1), Epoch(1))
    await store.load_task(task(0))
    await store.save_epoch(task(2), Epoch(1))
    assert await known(store, 3) == [0, 2]


async def test_records_are_bounded_over_all_tasks() -> None:
    store = MemoryStore(records_max=10)
    await store.save_records(task(0), records(4))
    await store.save_records(task(0), records(4))
    await store.save_records(task(1), records(6))
    assert await known(store, 2) == [0, 1]
    await store.save_records(task(2), records(1))
    assert await known(store, 3) == [1, 2]


async def test_the_task_in_hand_is_kept_even_when_it_is_large() -> None:
    store = MemoryStore(records_max=3)
    await store.save_records(task(0), records(2))
    await store.save_records(task(1), records(5))
    assert await known(store, 2) == [1]
