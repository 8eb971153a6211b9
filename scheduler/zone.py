"""One zone's part in a task: its peers, what they hold together, and what they are bringing in from other zones."""

from scheduler.peer import Peer, PeerState
from scheduler.pool import Pool

PATIENCE_MAX = 8
"""Times the lease time-out that importers may bring nothing where links between zones are slow."""


class Zone:
    """The peers of one zone that placement, rescue and imports draw from: kept by Task.file, never searched through.

    `held`: the union of what its serving peers hold; `importing`: of their `Peer.importing`, of which no two overlap.
    `patience`: times the lease time-out that importers may bring nothing; doubles with each that was too slow.
    """

    __slots__ = ("complete", "growing", "held", "holders", "importing", "patience", "takers")

    def __init__(self) -> None:
        self.growing: Pool[Peer] = Pool()
        """Downloading peers with room for another child."""
        self.complete: Pool[Peer] = Pool()
        """Complete peers with room for another child."""
        self.holders: Pool[Peer] = Pool()
        """Peers that hold something and serve it."""
        self.takers: Pool[Peer] = Pool()
        """Downloading peers that serve what they take, and so may import."""
        self.held = 0
        self.importing = 0
        self.patience = 1

    def file(self, peer: Peer, children_max: int) -> None:
        """Put a peer into the pools that fit its state, and take it out of the others."""
        serves = peer.serves()
        if serves:
            self.held |= peer.bits
        has_room = serves and len(peer.children) < children_max
        takes = serves and peer.is_downloading()
        self.growing.keep(peer, has_room and takes)
        self.complete.keep(peer, has_room and peer.state is PeerState.COMPLETE)
        self.holders.keep(peer, serves and peer.bits != 0)
        self.takers.keep(peer, takes)
        if peer.importing and not takes:
            self.release(peer)

    def unfile(self, peer: Peer) -> None:
        """Take a peer that is gone out of all pools, and with it what only it held."""
        for pool in self.pools():
            pool.discard(peer)
        self.release(peer)
        self.lose(peer.bits)

    def pools(self) -> tuple[Pool[Peer], ...]:
        """Return all pools."""
        return self.growing, self.complete, self.holders, self.takers

    def is_empty(self) -> bool:
        """Tell whether nobody of this zone holds or takes anything."""
        return not (len(self.complete) or len(self.holders) or len(self.takers))

    def lose(self, bits: int) -> None:
        """Clear from `held` those of these pieces that no peer here holds. Ends as soon as all are found."""
        doubtful = bits & self.held
        for peer in self.holders:
            if not doubtful:
                return
            doubtful &= ~peer.bits
        self.held &= ~doubtful

    # --- imports -------------------------------------------------------------------------------------------

    def assign(self, peer: Peer, bits: int) -> None:
        """A peer is to bring these pieces in."""
        assert not bits & self.importing, "two hosts of a zone import the same piece"
        peer.importing |= bits
        self.importing |= bits

    def arrived(self, peer: Peer) -> None:
        """A peer holds more: that much less is to be brought in."""
        done = peer.importing & peer.bits
        peer.importing ^= done
        self.importing ^= done

    def release(self, peer: Peer) -> None:
        """A peer is to bring in nothing any more."""
        self.importing ^= peer.importing
        peer.importing = 0
