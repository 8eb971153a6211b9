"""A set from which one can draw at random in constant time: where placement finds hosts among ten thousand."""

from collections.abc import Iterator
from typing import Generic, TypeVar

from swarm.dice import Dice

T = TypeVar("T")


class Pool(Generic[T]):
    """Members in a list with their positions beside it: put, discard and draw cost the same at any size."""

    __slots__ = ("_places", "items")

    def __init__(self) -> None:
        self.items: list[T] = []
        self._places: dict[T, int] = {}

    def put(self, item: T) -> None:
        """Add a member; nothing happens when it is one."""
        if item not in self._places:
            self._places[item] = len(self.items)
            self.items.append(item)

    def discard(self, item: T) -> None:
        """Remove a member, if it is one; the last takes its place."""
        place = self._places.pop(item, None)
        if place is None:
            return
        last = self.items.pop()
        if place < len(self.items):
            self.items[place] = last
            self._places[last] = place

    def keep(self, item: T, member: bool) -> None:
        """Make an item a member, or not one."""
        if member:
            self.put(item)
        else:
            self.discard(item)

    def draw(self, dice: Dice) -> T:
        """Return one member, each as likely as the next; the pool must not be empty."""
        return self.items[dice.throw() % len(self.items)]

    def some(self, count: int, dice: Dice) -> list[T]:
        """Return up to `count` neighbours in the list, from a random place on."""
        if len(self.items) <= count:
            return list(self.items)
        start = dice.throw() % len(self.items)
        return self.items[start : start + count] + self.items[: max(0, start + count - len(self.items))]

    def __len__(self) -> int:
        return len(self.items)

    def __contains__(self, item: T) -> bool:
        return item in self._places

    def __iter__(self) -> Iterator[T]:
        return iter(self.items)
