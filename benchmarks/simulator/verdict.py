"""What a run showed, as plain values."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from benchmarks.report import quantile
from swarm.ids import HostId


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one host fared. `seconds` from its arrival to its last complete blob; -1 when it did not finish.

    `limit_s`: what a host with such a link can do at best. `pieces`: from parents, `rescued`: of them from
    parents that a rescue brought, `hedged`: of them second copies.
    """

    host: HostId
    group: str
    seconds: float
    limit_s: float
    uploaded_bytes: float
    origin_bytes: int
    failures: tuple[str, ...]
    pieces: int = 0
    rescued: int = 0
    hedged: int = 0


@dataclass(frozen=True, slots=True)
class Sample:
    """What had gone over the wire by a time."""

    at: float
    origin_bytes: int
    peer_bytes: int
    cross_zone_bytes: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a run showed. `died`: hosts that were killed and did not come back; they have no outcome.

    `lost_bytes_ratio`: what the origin had sent that died with its only holders; it must send that much again.
    `transcript`: a digest of all events of all machines, with their times; empty unless it was asked for.
    """

    outcomes: tuple[Outcome, ...]
    died: tuple[HostId, ...]
    limit_s: float
    origin_bytes_ratio: float
    lost_bytes_ratio: float
    origin_requests: int
    messages: dict[str, int]
    notes: dict[str, int]
    seconds: float
    transcript: str = ""
    origin_refused: int = 0
    peer_bytes_ratio: float = 0.0
    cross_zone_bytes_ratio: float = 0.0
    samples: Sequence[Sample] = field(default=())

    @property
    def unfinished(self) -> tuple[Outcome, ...]:
        """The hosts that should have finished, and did not."""
        return tuple(outcome for outcome in self.outcomes if outcome.seconds < 0)

    @property
    def failures(self) -> tuple[str, ...]:
        """What clients were told of failed downloads."""
        return tuple(reason for outcome in self.outcomes for reason in outcome.failures)

    @property
    def failed(self) -> int:
        """How many hosts did not finish, or have a client that was told of a failure."""
        return sum(outcome.seconds < 0 or bool(outcome.failures) for outcome in self.outcomes)

    @property
    def groups(self) -> tuple[str, ...]:
        """The groups of hosts, in order of their first."""
        return tuple(dict.fromkeys(outcome.group for outcome in self.outcomes))

    def of(self, group: str) -> tuple[Outcome, ...]:
        """Return the hosts of a group that finished; of all, when the name is empty."""
        return tuple(
            outcome for outcome in self.outcomes if outcome.seconds >= 0 and group in ("", outcome.group)
        )

    def quantile(self, share: float, group: str = "") -> float:
        """Return the seconds within which this share of a group's finished hosts had everything; 0 if none."""
        return quantile([outcome.seconds for outcome in self.of(group)], share)
