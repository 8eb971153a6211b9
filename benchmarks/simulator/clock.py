"""Virtual time: what happens when, in order, without waiting."""

import heapq
from collections.abc import Callable

Action = Callable[..., object]
SLOTS_PER_S = 2000
"""A slot has some hundred alarms in a herd of 1,000."""


class Alarm:
    """Something to do at a time."""

    __slots__ = ("action", "at")

    def __init__(self, at: float, action: Action) -> None:
        self.at = at
        self.action: Action | None = action

    def cancel(self) -> None:
        """Never ring."""
        self.action = None

    def ring(self) -> None:
        """Do it, unless it was cancelled."""
        if self.action is not None:
            self.action()


Entry = tuple[float, int, Alarm]
"""When, which of those at the same time, and what."""


class Clock:
    """The simulator's only notion of time, in seconds from 0."""

    def __init__(self) -> None:
        self.now = 0.0
        self._order = 0
        self._slot = -1
        """The span of time that `_soon` is for, and all before it; a heap."""
        self._soon: list[Entry] = []
        self._later: dict[int, list[Entry]] = {}
        """By their slots, in any order: one heap of all would be too large for the processor's cache."""
        self._slots: list[int] = []

    def after(self, seconds: float, action: Action) -> Alarm:
        """Do something in a while."""
        return self.at(self.now + seconds, action)

    def at(self, time: float, action: Action) -> Alarm:
        """Do something at a time, after what is to be done then already; what lies in the past happens now."""
        alarm = Alarm(time if time > self.now else self.now, action)
        self.set(alarm)
        return alarm

    def set(self, alarm: Alarm) -> None:
        """Let an alarm ring at its time, which is not over, after those that were set for it before."""
        self._order += 1
        entry = (alarm.at, self._order, alarm)
        slot = int(alarm.at * SLOTS_PER_S)
        if slot <= self._slot:
            heapq.heappush(self._soon, entry)
        elif slot in self._later:
            self._later[slot].append(entry)
        else:
            self._later[slot] = [entry]
            heapq.heappush(self._slots, slot)

    def run(self, until: float, done: Callable[[], bool]) -> None:
        """Let time pass until nothing is left to do, `done()` holds, or `until` is reached."""
        while (self._soon or self._open_slot()) and not done():
            at, _, alarm = self._soon[0]
            if at > until:
                self.now = until
                return
            heapq.heappop(self._soon)
            if alarm.action is not None:
                self.now = at
                alarm.ring()

    def _open_slot(self) -> bool:
        """Go on to the next slot that has alarms; return whether there is one."""
        if not self._slots:
            return False
        self._slot = heapq.heappop(self._slots)
        self._soon = self._later.pop(self._slot)
        heapq.heapify(self._soon)
        return True
