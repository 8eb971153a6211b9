"""Who asks twice within minutes has the blob hashed first, once."""

from dfdaemon.asked_again import AGAIN_S, BLOBS_MAX, HASHED_S, AskedAgain
from swarm.ids import TaskId

BLOB, OTHER = TaskId("sha256:aa"), TaskId("sha256:bb")


def test_the_second_time_within_minutes_counts() -> None:
    asked = AskedAgain()
    assert not asked.is_due(BLOB, 0)
    assert not asked.is_due(OTHER, 1)
    assert asked.is_due(BLOB, AGAIN_S - 1)


def test_who_comes_much_later_asks_for_the_first_time() -> None:
    asked = AskedAgain()
    assert not asked.is_due(BLOB, 0)
    assert not asked.is_due(BLOB, AGAIN_S)


def test_many_clients_cost_one_reading_until_some_time_has_passed() -> None:
    asked = AskedAgain()
    assert [asked.is_due(BLOB, second) for second in range(50)] == [False, True] + [False] * 48
    assert not asked.is_due(BLOB, HASHED_S)
    assert asked.is_due(BLOB, HASHED_S + 1)


def test_the_blob_that_was_asked_for_least_recently_is_forgotten() -> None:
    asked = AskedAgain()
    for number in range(BLOBS_MAX):
        asked.is_due(TaskId(str(number)), 0)
    assert asked.is_due(TaskId("0"), 1)
    asked.is_due(BLOB, 1)
    assert not asked.is_due(TaskId("1"), 1)
    assert len(asked._blobs) == BLOBS_MAX
