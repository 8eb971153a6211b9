"""A host as the scheduler knows it: whether it can be reached, how fast it is, whether it is to be trusted."""

from dataclasses import dataclass, field
from enum import Enum

from scheduler.lease import Lease
from swarm.ids import HostId, TaskId
from swarm.messages import ActiveTask, HostInfo, Join, Parent, Role

FAILURES_TOLERATED = 1
"""Fetches that may fail in a row before others are preferred: one may be the origin's or the network's hiccup."""
SHED_MAX = 64
"""Downloads of one host that are remembered although there was no room for them."""
FETCH_BACKOFF_S = 30.0
"""How long a host whose fetches fail is passed over, as long as others may fetch."""


class HostState(Enum):
    """Whether a host can be used."""

    ATTACHED = "attached"
    QUARANTINED = "quarantined"
    LOST = "lost"
    LOST_QUARANTINED = "lost-quarantined"


class HostEvent(Enum):
    """What happens to a host."""

    ATTACH = "attach"
    LOSE = "lose"
    QUARANTINE = "quarantine"
    RELEASE = "release"


HOST_STATES = {
    (HostState.ATTACHED, HostEvent.ATTACH): HostState.ATTACHED,
    (HostState.ATTACHED, HostEvent.LOSE): HostState.LOST,
    (HostState.ATTACHED, HostEvent.QUARANTINE): HostState.QUARANTINED,
    (HostState.QUARANTINED, HostEvent.ATTACH): HostState.QUARANTINED,
    (HostState.QUARANTINED, HostEvent.LOSE): HostState.LOST_QUARANTINED,
    (HostState.QUARANTINED, HostEvent.RELEASE): HostState.ATTACHED,
    (HostState.LOST, HostEvent.ATTACH): HostState.ATTACHED,
    (HostState.LOST, HostEvent.LOSE): HostState.LOST,
    (HostState.LOST, HostEvent.QUARANTINE): HostState.LOST_QUARANTINED,
    (HostState.LOST_QUARANTINED, HostEvent.ATTACH): HostState.QUARANTINED,
    (HostState.LOST_QUARANTINED, HostEvent.LOSE): HostState.LOST_QUARANTINED,
    (HostState.LOST_QUARANTINED, HostEvent.RELEASE): HostState.LOST,
}


@dataclass(slots=True, eq=False)
class Host:
    """One machine. `upload` is its measured or declared uplink in bytes a second, 0 when unknown.

    `layers`: which of its tasks are layers of which images, and their places (scheduler/order.py).
    `shed`: downloads that there was no room for when it asked; they are let in when it calls for help and there is.
    """

    info: HostInfo
    state: HostState = HostState.LOST
    upload: int = 0
    is_slow: bool = False
    tasks: dict[TaskId, None] = field(default_factory=dict)
    held: dict[TaskId, int] = field(default_factory=dict)
    shed: dict[TaskId, Join | ActiveTask] = field(default_factory=dict)
    leases: list[Lease] = field(default_factory=list)
    layers: dict[str, dict[TaskId, int]] = field(default_factory=dict)
    failures: int = 0
    fetch_after: float = 0.0
    quarantined_until: float = 0.0

    @property
    def id(self) -> HostId:
        """The host's name in the cluster."""
        return self.info.host

    def happen(self, event: HostEvent) -> None:
        """Follow the table; a missing key is a bug."""
        self.state = HOST_STATES[self.state, event]

    def is_attached(self) -> bool:
        """Tell whether its stream is open."""
        return self.state is HostState.ATTACHED or self.state is HostState.QUARANTINED

    def is_trusted(self) -> bool:
        """Tell whether others may take pieces from it."""
        return self.state is HostState.ATTACHED

    def is_seed(self) -> bool:
        """Tell whether it is one of those that keep blobs for the others."""
        return self.info.role is Role.SEED

    def counts_alone(self) -> bool:
        """Tell whether its word about a tag needs no second host that agrees."""
        return self.is_seed() and self.is_trusted()

    def busy_leases(self) -> int:
        """Return how many of its leases take a connection now."""
        return sum(1 for lease in self.leases if lease.is_busy())

    def fetch_failed(self, now: float) -> None:
        """Pass it over for a while once it failed too often in a row."""
        self.failures += 1
        if self.failures > FAILURES_TOLERATED:
            self.pass_over(now)

    def pass_over(self, now: float) -> None:
        """Prefer others for a while from `now` on, if there are any."""
        self.fetch_after = max(self.fetch_after, now + FETCH_BACKOFF_S)

    def fetch_succeeded(self) -> None:
        """Forget earlier failures."""
        self.failures = 0
        self.fetch_after = 0.0

    def remember_shed(self, join: Join | ActiveTask) -> None:
        """There was no room for a download, and its host got no answer: it is not told to turn to the origin."""
        if len(self.shed) < SHED_MAX:
            self.shed[join.task] = join

    def as_parent(self, bits: int) -> Parent:
        """Introduce the host to a child, with what it is known to hold."""
        return Parent(self.info.host, self.info.addresses, self.info.zone, bits)
