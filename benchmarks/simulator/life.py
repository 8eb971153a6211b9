"""The life of a simulated process: what was under way for an earlier life never arrives."""

from collections.abc import Callable

from benchmarks.simulator.clock import Alarm, Clock


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
        self.clock.set(_Errand(self, seconds, action, arguments))


class _Errand(Alarm):
    """Something to do in one life. There are some ten for each piece: no closure, and nothing else besides."""

    __slots__ = ("arguments", "life", "number")

    def __init__(
        self, life: Life, seconds: float, action: Callable[..., None], arguments: tuple[object, ...]
    ) -> None:
        super().__init__(life.clock.now + seconds, action)
        self.arguments = arguments
        self.life = life
        self.number = life.number

    def ring(self) -> None:
        """Do it, unless that life is over."""
        if self.action is not None and self.life.alive and self.life.number == self.number:
            self.action(*self.arguments)
