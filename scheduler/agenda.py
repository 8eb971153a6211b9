"""What is due when. Deadlines are mostly renewed before they come, so a due entry is a question, not an answer."""

import heapq
from collections.abc import Hashable, Iterator
from math import inf
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class Agenda(Generic[K]):
    """At most one entry a key: the earliest asked for. Whoever is due looks at its own deadlines, and asks again."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, K]] = []
        self._due: dict[K, float] = {}
        self._count = 0

    def wake(self, key: K, at: float) -> None:
        """Make a key due at `at`, unless it is due earlier anyway."""
        if at >= self._due.get(key, inf):
            return
        self._due[key] = at
        self._count += 1
        heapq.heappush(self._heap, (at, self._count, key))

    def forget(self, key: K) -> None:
        """Drop a key; its heap entry is skipped when it comes up."""
        self._due.pop(key, None)

    def next_at(self) -> float:
        """Return when the next key is due; infinity when none is."""
        while self._heap and self._due.get(self._heap[0][2]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else inf

    def due(self, now: float) -> Iterator[K]:
        """Yield the keys that are due and remove them; a key that asks again for a time past is due at once."""
        while self.next_at() <= now:
            key = heapq.heappop(self._heap)[2]
            del self._due[key]
            yield key

    def __len__(self) -> int:
        return len(self._due)
