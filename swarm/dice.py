"""Randomness as a value: the same seed gives the same throws, in production as in the simulator."""

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")

_MASK = (1 << 64) - 1


class Dice:
    """SplitMix64 (Steele, Lea, Flood 2014): small, fast, good enough for ties and jitter, not for secrets."""

    __slots__ = ("_state",)

    def __init__(self, seed: int) -> None:
        self._state = seed & _MASK

    def throw(self) -> int:
        """Return the next 64-bit number."""
        self._state = (self._state + 0x9E3779B97F4A7C15) & _MASK
        mixed = self._state
        mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & _MASK
        return mixed ^ (mixed >> 31)

    def below(self, end: int) -> int:
        """Return a number in [0, end); end must be positive."""
        assert end > 0, "a die needs at least one face"
        return self.throw() % end

    def share(self) -> float:
        """Return a number in [0, 1)."""
        return (self.throw() >> 11) / (1 << 53)

    def choose(self, items: Sequence[T]) -> T:
        """Return one of the items, each as likely as the next."""
        return items[self.below(len(items))]

    def sample(self, items: Sequence[T], count: int) -> list[T]:
        """Return up to `count` different items in random order (partial Fisher-Yates)."""
        pool = list(items)
        for index in range(min(count, len(pool))):
            other = index + self.below(len(pool) - index)
            pool[index], pool[other] = pool[other], pool[index]
        return pool[:count]
