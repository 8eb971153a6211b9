import os
import time

from benchmarks.io.usage import cpu_s, exact_cpu_s, forget_peak, peak_bytes, pin, rss_bytes


def test_a_process_that_works_uses_the_processor() -> None:
    before_s, worked_until = cpu_s(os.getpid()), time.process_time() + 0.05
    while time.process_time() < worked_until:
        pass
    assert 0 < cpu_s(os.getpid()) - before_s < 10


def test_memory_that_is_touched_counts() -> None:
    before_bytes = rss_bytes(os.getpid())
    block = bytearray(b"x") * (64 << 20)
    assert rss_bytes(os.getpid()) - before_bytes > len(block) // 2


def test_the_threads_of_a_process_are_counted_to_the_microsecond() -> None:
    before_s, worked_until = exact_cpu_s(os.getpid()), time.process_time() + 0.01
    while time.process_time() < worked_until:
        pass
    assert 0.009 < exact_cpu_s(os.getpid()) - before_s < 10


def test_a_process_can_be_held_to_one_core() -> None:
    pid, cores = os.getpid(), os.sched_getaffinity(0)
    try:
        pin(pid, {min(cores)})
        assert os.sched_getaffinity(0) == {min(cores)}
    finally:
        pin(pid, cores)


def test_a_peak_stays_until_it_is_forgotten() -> None:
    block = bytearray(b"x") * (64 << 20)
    del block
    peak = peak_bytes(os.getpid())
    assert peak > 64 << 20
    forget_peak(os.getpid())
    assert peak_bytes(os.getpid()) < peak - (32 << 20)
