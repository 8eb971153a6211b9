"""The life of a simulated process: what was under way for an earlier life never arrives."""

from collections.abc import Callable

from benchmarks.simulator.clock import Clock


class Life:
    """Whether a process runs, and which of its starts this is."""

    __slots__ = ("alive", "clock", "number")

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.alive = False
        self.number = 0

    def begin(self) -> None:
        """The process starts."""
        self.alive = True
        self.number += 1

    def end(self) -> None:
        """The process is gone."""
        self.alive = False

    def soon(self, seconds: float, action: Callable[..., None], *arguments: object) -> None:
        """Do something for this life in a while, unless it has ended by then."""
        number = self.number

        def act() -> None:
            if self.alive and self.number == number:
                action(*arguments)

        self.clock.after(seconds, act)
