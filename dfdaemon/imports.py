"""Which pieces hosts of other zones may be asked for: what crosses from zone to zone does so once.

The scheduler names the pieces that we import (Imports), all others come from our own zone. That is not for those who
want a part only, or store nothing: they import for nobody, and the scheduler does not know what they want.
Without a scheduler nobody shares the work out, so each host that has nothing else to ask for imports those pieces that
fall to it among its neighbours (dfdaemon/shares.py), as far as they do not hold them. Where nothing moves for long,
whatever may have happened, all is asked for: a pull must not hang.
"""

from dfdaemon import shares
from dfdaemon.blob_state import BlobState
from dfdaemon.parents import ParentTable
from swarm import availability

ALONE_S, ALONE_JITTER_S = 2.0, 2.0
"""Without a scheduler, how long nothing may move before other zones are asked for anything."""
ATTACHED_S, ATTACHED_JITTER_S = 15.0, 5.0
"""The same with one: longer than it takes to give what is to be imported to another host."""


class ImportLease:
    """What one download may take from other zones."""

    def __init__(self, blob: BlobState, parents: ParentTable) -> None:
        self.granted = 0
        """What the scheduler wants us to import."""
        self._blob = blob
        self._parents = parents
        self._freed = 0
        """What we import unasked."""

    def grant(self, bits: int) -> None:
        """The scheduler says what we import; it does so, so nothing else needs to be."""
        self.granted = bits & self._blob.table.everything
        self._freed = 0

    def far(self, wanted: int) -> int:
        """Return which of these pieces hosts of other zones may be asked for."""
        blob = self._blob
        if not blob.means.session.settings.leases_imports or blob.is_part or blob.ring is not None:
            return wanted
        return wanted & (self.granted | self._freed)

    def is_last(self, index: int) -> bool:
        """Tell whether piece `index`, which has just been asked for, is the last one of our import lease."""
        return bool(self.granted >> index & 1) and not self.granted & self._blob.table.missing

    def loosen(self, now: float) -> bool:
        """We have nobody to ask: import more if the scheduler will not see to it. Returns whether there is more."""
        blob = self._blob
        wanted = blob.wanted()
        bits = self._parents.offered(near=False) & wanted & ~self.far(wanted)
        if bits and now - blob.moved_at < self._patience():
            bits = self._share(bits & ~self._parents.offered(near=True))
        self._freed |= bits
        return bool(bits)

    def _patience(self) -> float:
        share = self._blob.means.dice.share()
        if self._blob.means.session.is_attached:
            return ATTACHED_S + ATTACHED_JITTER_S * share
        return ALONE_S + ALONE_JITTER_S * share

    def _share(self, bits: int) -> int:
        """Return what of these pieces falls to us where no scheduler says it."""
        if self._blob.means.session.is_attached:
            return availability.NONE
        me, others = self._blob.means.info.host, [peer.name for peer in self._parents if peer.is_near]
        return sum(1 << index for index in availability.indexes(bits) if shares.is_ours(index, me, others))
