"""Which hosts compute a blob's own digest for all others, and what they found: the table of one task.

The first hosts that come are made verifiers, and one of each further zone. A root counts as proven when so many of
them told the same; one word against it, and nobody is spared any more.
"""

from dataclasses import dataclass

from swarm.ids import HostId
from swarm.roots import NO_ROOT

VERIFIERS = 5
"""Hosts that hash a blob: the votes needed, and two that may be slow or die."""
VOTES_NEEDED = 3
"""Verifiers that must tell the same root; two compromised hosts, or one that is broken, prove nothing."""
ZONES_NEEDED = 3
"""Zones that the votes must come from, as far as there are verifiers in so many."""
VERIFIERS_MAX = 16
"""Verifiers remembered of one task, silent ones among them."""
SILENT_S = 60.0
"""A verifier that told nothing for so long may never do: others are made verifiers besides it."""


@dataclass(slots=True)
class Verifier:
    """A host that computes the blob's own digest; `root` is what it told."""

    zone: str
    since: float
    root: bytes = NO_ROOT


class Verification:
    """The verifiers of one blob, and the root that enough of them told."""

    __slots__ = ("is_disputed", "root", "verifiers")

    def __init__(self) -> None:
        self.verifiers: dict[HostId, Verifier] = {}
        self.root = NO_ROOT
        """What is proven."""
        self.is_disputed = False
        """Verifiers told different roots."""

    def designate(self, host: HostId, zone: str, now: float) -> bool:
        """Make a host a verifier if one more is needed; tell whether it is one."""
        if host in self.verifiers:
            return True
        if len(self.verifiers) >= VERIFIERS_MAX or not (self._needs_more(now) or self._widens(zone)):
            return False
        self.verifiers[host] = Verifier(zone, now)
        return True

    def _needs_more(self, now: float) -> bool:
        hopeful = sum(bool(one.root) or now - one.since < SILENT_S for one in self.verifiers.values())
        return hopeful < VERIFIERS

    def _widens(self, zone: str) -> bool:
        zones = {one.zone for one in self.verifiers.values()}
        return zone not in zones and len(zones) < ZONES_NEEDED

    def vote(self, host: HostId, root: bytes) -> bool:
        """Take the word of a host; tell whether that changed what is proven, or disputed."""
        verifier = self.verifiers.get(host)
        if verifier is None:
            return False
        verifier.root = root
        return self._judge()

    def leave(self, host: HostId) -> bool:
        """A host is gone. What it told stays; if it still had to tell, it is no verifier any more: tell whether."""
        verifier = self.verifiers.get(host)
        if verifier is None or verifier.root:
            return False
        del self.verifiers[host]
        self._judge()  # no vote of its zone is waited for any more
        return True

    def discredit(self, host: HostId) -> bool:
        """What a host told counts no more; tell whether that changed what is proven, or disputed."""
        return self.verifiers.pop(host, None) is not None and self._judge()

    def _judge(self) -> bool:
        before = self.root, self.is_disputed
        votes = [one for one in self.verifiers.values() if one.root]
        self.is_disputed = len({one.root for one in votes}) > 1
        proven = not self.is_disputed and len(votes) >= VOTES_NEEDED and self._spread(votes)
        self.root = votes[0].root if proven else NO_ROOT
        return before != (self.root, self.is_disputed)

    def _spread(self, votes: list[Verifier]) -> bool:
        zones = {one.zone for one in self.verifiers.values()}
        return len({one.zone for one in votes}) >= min(ZONES_NEEDED, len(zones))

    def validate(self) -> None:
        """Assert all invariants."""
        assert len(self.verifiers) <= VERIFIERS_MAX, "too many verifiers"
        told = {one.root for one in self.verifiers.values() if one.root}
        assert self.is_disputed == (len(told) > 1), "roots differ, and nobody minds"
        assert not (self.is_disputed and self.root), "a root is proven against somebody's word"
        assert not self.root or not told or told == {self.root}, "another root is proven than was told"
