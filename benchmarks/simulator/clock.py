"""Virtual time: what happens when, in order, without waiting."""

import heapq
from collections.abc import Callable

Action = Callable[..., object]


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


class Clock:
    """The simulator's only notion of time, in seconds from 0."""

    def __init__(self) -> None:
        self.now = 0.0
        self._alarms: list[tuple[float, int, Alarm]] = []
        self._order = 0

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
        heapq.heappush(self._alarms, (alarm.at, self._order, alarm))

    def run(self, until: float, done: Callable[[], bool]) -> None:
        """Let time pass until nothing is left to do, `done()` holds, or `until` is reached."""
        while self._alarms and not done():
            at, _, alarm = self._alarms[0]
            if at > until:
                self.now = until
                return
            heapq.heappop(self._alarms)
            if alarm.action is not None:
                self.now = at
                alarm.ring()
