from dfdaemon.eviction import Entry, choose
from swarm.ids import TaskId


def entry(name: str, size: int, last_used: float, *, active: bool = False, last: bool = False) -> Entry:
    return Entry(TaskId(name), size, last_used, active, last)


def test_nothing_goes_when_nothing_is_needed() -> None:
    assert choose([entry("a", 10, 1.0)], 0) == ()
    assert choose([entry("a", 10, 1.0)], -5) == ()


def test_the_least_recently_used_goes_first_and_no_more_than_needed() -> None:
    entries = [entry("new", 10, 3.0), entry("old", 10, 1.0), entry("middle", 10, 2.0)]
    assert choose(entries, 10) == ("old",)
    assert choose(entries, 11) == ("old", "middle")


def test_what_is_active_never_goes() -> None:
    entries = [entry("read", 100, 1.0, active=True), entry("idle", 10, 2.0)]
    assert choose(entries, 10) == ("idle",)
    assert choose(entries, 11) is None


def test_the_last_known_copy_goes_last() -> None:
    entries = [entry("rare", 10, 1.0, last=True), entry("old", 10, 2.0), entry("new", 10, 3.0)]
    assert choose(entries, 20) == ("old", "new")
    assert choose(entries, 30) == ("old", "new", "rare")


def test_nothing_goes_when_all_of_it_would_not_be_enough() -> None:
    assert choose([entry("a", 10, 1.0), entry("b", 10, 2.0)], 21) is None
    assert choose([], 1) is None


def test_an_empty_blob_frees_nothing_and_stays() -> None:
    assert choose([entry("empty", 0, 1.0), entry("full", 10, 2.0)], 5) == ("full",)
