from scheduler.io.inline_cache import InlineCache
from swarm.ids import TaskId

A, B, C = (TaskId(f"sha256:{letter * 64}") for letter in "abc")


def test_the_least_recently_sent_go_first() -> None:
    cache = InlineCache(10)
    cache.put(A, b"aaaa")
    cache.put(B, b"bbbb")
    assert cache.get(A) == b"aaaa"
    cache.put(C, b"cccc")
    assert cache.evict() == [B]
    assert (cache.get(A), cache.get(B), cache.get(C)) == (b"aaaa", None, b"cccc")
    assert cache.usage_bytes == 8


def test_what_is_put_again_counts_once() -> None:
    cache = InlineCache(10)
    for _ in range(5):
        cache.put(A, b"aaaa")
    assert cache.usage_bytes == 4
    assert cache.evict() == []


def test_a_blob_beyond_the_limit_is_held_until_it_was_sent() -> None:
    cache = InlineCache(0)
    cache.put(A, b"aaaa")
    assert cache.get(A) == b"aaaa"
    assert cache.evict() == [A]
    assert (cache.get(A), cache.usage_bytes) == (None, 0)
