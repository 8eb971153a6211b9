import threading

import pytest

from dfdaemon.io.store_workers import CHECK_THREADS, DISK_THREADS, StoreWorkers

TIMEOUT_S = 30.0


def test_what_waits_for_the_disk_does_not_wait_for_hashing() -> None:
    workers = StoreWorkers()
    all_at_once = threading.Barrier(DISK_THREADS + CHECK_THREADS + 1, timeout=TIMEOUT_S)
    jobs = [workers.disk.submit(all_at_once.wait) for _ in range(DISK_THREADS)]
    jobs += [workers.checking.submit(all_at_once.wait) for _ in range(CHECK_THREADS)]
    jobs.append(workers.hashing.submit(all_at_once.wait))
    assert sorted(job.result(TIMEOUT_S) for job in jobs) == list(range(DISK_THREADS + CHECK_THREADS + 1))
    workers.close()


def test_a_closed_one_starts_nothing_more() -> None:
    workers = StoreWorkers()
    finished = workers.disk.submit(lambda: "done")
    workers.close()
    assert finished.result(0) == "done"
    for executor in (workers.disk, workers.checking, workers.hashing, workers.syncing):
        with pytest.raises(RuntimeError):
            executor.submit(print)
