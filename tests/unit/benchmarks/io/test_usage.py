import os
import time

from benchmarks.io.usage import cpu_s, rss_bytes


def test_a_process_that_works_uses_the_processor() -> None:
    before_s, worked_until = cpu_s(os.getpid()), time.process_time() + 0.05
    while time.process_time() < worked_until:
        pass
    assert 0 < cpu_s(os.getpid()) - before_s < 10


def test_memory_that_is_touched_counts() -> None:
    before_bytes = rss_bytes(os.getpid())
    block = bytearray(b"x") * (64 << 20)
    assert rss_bytes(os.getpid()) - before_bytes > len(block) // 2
