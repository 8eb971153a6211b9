"""The daemon's talk with its scheduler: attached or alone, at which pace, and whom to ask when there is none.

Progress of all downloads goes in one message per Settings.progress_interval_s, or in the time that a piece takes to
come where that is longer; the first after a silence at once. Measured rates go along. News of leases do not wait for
pieces. Who calls for help in vain calls half as often.
What is told while there is no stream is lost on purpose: the next Hello tells all.
"""

from collections import OrderedDict
from enum import Enum
from typing import Protocol

from dfdaemon.commands import Command, TellScheduler
from dfdaemon.config import DaemonConfig
from dfdaemon.hosts import blend
from swarm.ids import Epoch, HostId, TaskId
from swarm.messages import (
    LeaseProgress,
    Load,
    Parent,
    Progress,
    Settings,
    Starving,
    TaskProgress,
    ToScheduler,
)

REMEMBERED_MAX = 64
"""Parents remembered for times without a scheduler."""
REMEMBERED_ASKED = 8
"""How many of them a download asks: one neighbourhood."""
INTERVAL_MIN_S, INTERVAL_MAX_S = 0.01, 60.0
"""Bounds on what Settings may ask for."""
PIECE_S_MAX = 5.0
"""Longest pause between two messages because pieces come slowly, or not: half of what a lease's owner may be silent."""


class Link(Enum):
    """How the daemon stands with its scheduler."""

    CONNECTING = "connecting"
    ATTACHED = "attached"
    ALONE = "alone"


class Reporter(Protocol):
    """A download that has progress to tell."""

    @property
    def task(self) -> TaskId:
        """Its blob."""

    def progress(self) -> TaskProgress:
        """Return what it holds now, and records not told before."""


class Session:
    """Talks to the scheduler for all downloads."""

    def __init__(self, config: DaemonConfig, out: list[Command]) -> None:
        self.link = Link.CONNECTING
        self.settings = Settings()
        self.connect_timeout_s = config.scheduler.connect_timeout_s + 1.0
        """How long to wait for the first word about a scheduler before a download counts as alone."""
        self.lost_at = float("-inf")
        """Since when there has been no scheduler, if one is configured that might come back."""
        self._has_scheduler = bool(config.scheduler.addresses)
        self._out = out
        self._changed: dict[TaskId, Reporter] = {}
        self._leases: dict[tuple[TaskId, Epoch], LeaseProgress] = {}
        self._load: Load | None = None
        self._told_at = float("-inf")
        self._starving_s = 0.0
        """Pause after the last call for help, if nothing came since."""
        self._piece_s = 0.0
        """Seconds from request to arrival of a piece, lately; 0: not known."""
        self.next_starving_at = 0.0
        """When the scheduler may hear again that a download starves."""
        self._remembered: OrderedDict[HostId, Parent] = OrderedDict()

    @property
    def is_attached(self) -> bool:
        """Whether a scheduler hears us."""
        return self.link is Link.ATTACHED

    def attach(self) -> None:
        """A stream is open. Hello is the machine's to send, first."""
        self.link = Link.ATTACHED
        self._leases.clear()
        self._load = None
        self._told_at = float("-inf")
        self._starving_s = 0.0

    def lose(self, now: float) -> None:
        """There is no scheduler now."""
        if self.link is not Link.ALONE and self._has_scheduler:
            self.lost_at = now
        self.link = Link.ALONE
        self._changed.clear()
        self._leases.clear()
        self._load = None

    def adopt(self, settings: Settings) -> None:
        """Behave as the scheduler asks, within bounds."""
        self.settings = Settings(
            min(INTERVAL_MAX_S, max(INTERVAL_MIN_S, settings.progress_interval_s)),
            min(INTERVAL_MAX_S, max(INTERVAL_MIN_S, settings.starving_interval_s)),
            settings.leases_imports,
        )

    def tell(self, message: ToScheduler) -> None:
        """Send a message, if anybody hears it."""
        if self.link is Link.ATTACHED:
            self._out.append(TellScheduler(message))

    # --- pacing -----------------------------------------------------------------------------------------------

    def changed(self, reporter: Reporter) -> None:
        """A download has something to tell with the next Progress."""
        if self.link is Link.ATTACHED:
            self._changed[reporter.task] = reporter

    def lease_moved(self, progress: LeaseProgress) -> None:
        """A lease is alive; the latest word of it goes with the next Progress."""
        if self.link is Link.ATTACHED:
            self._leases[progress.task, progress.epoch] = progress

    def measured(self, load: Load) -> None:
        """Our rates are known anew; the latest go with the next Progress."""
        if self.link is Link.ATTACHED:
            self._load = load

    def piece_came(self, waited_s: float) -> None:
        """A piece came from a parent, so long after it was asked for."""
        self._piece_s = blend(self._piece_s, waited_s)
        self._starving_s = 0.0

    def forget(self, task: TaskId) -> None:
        """A download is over: nothing more of it is told."""
        self._changed.pop(task, None)
        for key in [key for key in self._leases if key[0] == task]:
            del self._leases[key]

    def flush(self, now: float) -> None:
        """Tell everything that waits."""
        if not self._waits:
            return
        if self._changed:
            self.tell(Progress(tuple(reporter.progress() for reporter in self._changed.values())))
            self._changed.clear()
        for progress in self._leases.values():
            self.tell(progress)
        self._leases.clear()
        if self._load is not None:
            self.tell(self._load)
            self._load = None
        self._told_at = now

    def settle(self, now: float) -> None:
        """Tell what waits, if it is time."""
        if now >= self._due_at():
            self.flush(now)

    @property
    def _waits(self) -> bool:
        return bool(self._changed or self._leases or self._load is not None)

    def _due_at(self) -> float:
        interval_s = self.settings.progress_interval_s
        return self._told_at + (interval_s if self._leases else self._at_pace(interval_s))

    def _at_pace(self, interval_s: float) -> float:
        """Return the pause between two messages: what is told more often than pieces come says no more."""
        return max(interval_s, min(PIECE_S_MAX, self._piece_s))

    def wakeup_at(self) -> float:
        """Return when to call settle."""
        return self._due_at() if self._waits else float("inf")

    def starve(self, task: TaskId, wanted: int, now: float) -> float:
        """Tell that a download starves, unless that was told of any too recently. Returns when it may be told next."""
        if now >= self.next_starving_at:
            self.tell(Starving(task, wanted))
            self._starving_s = max(
                self._at_pace(self.settings.starving_interval_s), min(PIECE_S_MAX, 2 * self._starving_s)
            )
            self.next_starving_at = now + self._starving_s
        return self.next_starving_at

    # --- for times without a scheduler --------------------------------------------------------------------------

    def remember(self, parent: Parent) -> None:
        """A parent answered: it may be worth asking another time."""
        self._remembered[parent.host] = parent
        self._remembered.move_to_end(parent.host)
        if len(self._remembered) > REMEMBERED_MAX:
            self._remembered.popitem(last=False)

    def remembered(self) -> list[Parent]:
        """Return the parents to ask, the most recent first."""
        return list(reversed(self._remembered.values()))[:REMEMBERED_ASKED]

    def validate(self) -> None:
        """Assert the bounds, and that nothing waits to be told to nobody."""
        assert len(self._remembered) <= REMEMBERED_MAX, "too many hosts are remembered"
        if self.link is not Link.ATTACHED:
            assert not self._changed, "progress waits without a scheduler"
            assert not self._leases, "news of leases waits without a scheduler"
            assert self._load is None, "rates wait without a scheduler"
