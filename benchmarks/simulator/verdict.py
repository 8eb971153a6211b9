"""What a run showed, as plain values."""

from dataclasses import dataclass

from swarm.ids import HostId


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one host fared. `seconds` from its arrival to its last complete blob; -1 when it did not finish."""

    host: HostId
    seconds: float
    uploaded_bytes: float
    origin_bytes: int
    failures: tuple[str, ...]


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

    @property
    def unfinished(self) -> tuple[Outcome, ...]:
        """The hosts that should have finished, and did not."""
        return tuple(outcome for outcome in self.outcomes if outcome.seconds < 0)

    @property
    def failures(self) -> tuple[str, ...]:
        """What clients were told of failed downloads."""
        return tuple(reason for outcome in self.outcomes for reason in outcome.failures)

    def quantile(self, share: float) -> float:
        """Return the seconds within which this share of the finished hosts had everything; 0 when none had."""
        seconds = sorted(outcome.seconds for outcome in self.outcomes if outcome.seconds >= 0)
        if not seconds:
            return 0.0
        return seconds[min(len(seconds) - 1, max(0, -int(-share * len(seconds) // 1) - 1))]
