"""The side of a download that streams through a ring in memory, because the disk has no room."""

from dfdaemon.blob_state import BlobState
from dfdaemon.commands import OpenRing
from dfdaemon.origin_side import OriginSide
from dfdaemon.peer_side import PeerSide
from dfdaemon.piece_table import Stage
from dfdaemon.ring import Ring
from swarm import availability
from swarm.facts import Note


class RingSide:
    """Opens the ring, and lets it follow its lowest reader."""

    def __init__(self, blob: BlobState, peers: PeerSide, origin: OriginSide) -> None:
        self._blob = blob
        self._peers = peers
        self._origin = origin

    def open(self) -> None:
        """There is no room on disk."""
        blob = self._blob
        slots = max(1, min(blob.table.count, blob.means.ring_bytes // blob.pieces.piece_bytes))
        blob.ring = Ring(slots, blob.table)
        blob.do(OpenRing(blob.task, blob.pieces.size, slots))
        blob.do(Note("store_refused", blob.task, fields=(("slots", slots),)))

    def settle(self, now: float) -> None:
        """Follow the lowest reader; what is in flight where the ring leaves, or goes, must end first."""
        blob, ring = self._blob, self._blob.ring
        if ring is None or blob.closing or not len(blob.readers):
            return
        base = blob.readers.lowest()
        if base == ring.base and not blob.turning:
            return
        end = min(blob.table.count, base + ring.slots)
        in_flight = blob.table.at(Stage.REQUESTED) | blob.table.at(Stage.WRITTEN)
        strays = in_flight & ~availability.span(base, end)
        is_clear = self._origin.clear_for(base, end)
        self._peers.cancel(strays)
        blob.turning = bool(strays) or not is_clear
        if not blob.turning:
            ring.move_to(base)
            self._origin.ring_moved(now)
            blob.ripen()
