from collections.abc import Iterator

from dfdaemon.eviction import Entry, choose
from swarm.ids import TaskId


def entry(name: str, size: int, *, active: bool = False) -> Entry:
    return Entry(TaskId(name), size, active)


def test_nothing_goes_when_nothing_is_needed() -> None:
    assert choose([entry("a", 10)], 0) == ((), 0)
    assert choose([entry("a", 10)], -5) == ((), 0)


def test_the_first_go_and_no_more_than_needed() -> None:
    entries = [entry("old", 10), entry("middle", 10), entry("new", 10)]
    assert choose(entries, 10) == (("old",), 0)
    assert choose(entries, 11) == (("old", "middle"), 0)


def test_no_more_are_looked_at_than_it_takes() -> None:
    def entries() -> Iterator[Entry]:
        yield entry("old", 10)
        raise AssertionError("a store has thousands of blobs")

    assert choose(entries(), 10) == (("old",), 0)


def test_what_is_active_never_goes() -> None:
    entries = [entry("read", 100, active=True), entry("idle", 10)]
    assert choose(entries, 10) == (("idle",), 0)
    assert choose(entries, 15) == (("idle",), 5), "and what is lacking is told"


def test_an_empty_blob_frees_nothing_and_stays() -> None:
    assert choose([entry("empty", 0), entry("full", 10)], 5) == (("full",), 0)
