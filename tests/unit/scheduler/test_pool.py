from collections import Counter

from scheduler.pool import Pool
from swarm.dice import Dice


def test_members_come_and_go() -> None:
    pool: Pool[str] = Pool()
    for name in "abcab":
        pool.put(name)
    pool.discard("a")
    pool.discard("a")
    assert len(pool) == 2
    assert sorted(pool) == ["b", "c"]
    assert "a" not in pool
    pool.keep("d", True)
    pool.keep("b", False)
    assert sorted(pool.items) == ["c", "d"]


def test_every_member_is_drawn_about_as_often() -> None:
    pool: Pool[int] = Pool()
    for number in range(10):
        pool.put(number)
    dice = Dice(1)
    drawn = Counter(pool.draw(dice) for _ in range(5000))
    assert all(400 < drawn[number] < 600 for number in range(10))


def test_some_returns_different_members_also_around_the_end() -> None:
    pool: Pool[int] = Pool()
    for number in range(10):
        pool.put(number)
    dice = Dice(1)
    for _ in range(50):
        some = pool.some(4, dice)
        assert len(set(some)) == 4
    assert sorted(pool.some(20, dice)) == list(range(10))
