"""Import leases: each piece crosses into a zone once, to one host there, and the others of the zone take it from that.

A host is told with Imports which pieces it is to take from other zones; all others it takes from its own. What other
zones hold can be imported, and what they are about to fetch from the origin: it crosses over as it arrives. Each host
gets little at a time, and whoever has least gets more, so that all hosts of a zone share the work.
"""

from dataclasses import dataclass

from scheduler.cluster import Cluster
from scheduler.lease import LeaseState
from scheduler.neighbours import Neighbours
from scheduler.peer import Peer
from scheduler.task import Task, TaskState
from scheduler.zone import PATIENCE_MAX, Zone
from swarm import availability
from swarm.dice import Dice
from swarm.messages import Imports

PIECES_MIN = 8
"""Fewest pieces that a host is given at once, where there are as many: one message for a piece would be too much."""
PIECES_MAX = 64
"""Most pieces that one host is given at once, if it is alone; several get as many together, so that those who come a
little later find work."""
SHRINK = 6
"""A host gets at most this part of its share of what is missing in its zone, so that all end together."""
AHEAD = 16
"""Pieces of an origin lease that may be imported before they arrive: what comes between two reports of its owner."""
IMPORTERS_LOOKED_AT = 32
"""Hosts of a zone that are compared for an import, drawn at random."""
AGAIN_S = 30.0
"""How long a host that did not bring what it was to import is passed over, as long as others can."""


@dataclass(frozen=True, slots=True)
class Fetch:
    """What an origin lease brings into its owner's zone: `bits` in all, `soon` those that come next."""

    zone: str
    bits: int
    soon: int


class Importing:
    """All import leases of all tasks."""

    def __init__(self, cluster: Cluster, neighbours: Neighbours) -> None:
        self._cluster = cluster
        self._neighbours = neighbours

    # --- granting ------------------------------------------------------------------------------------------

    def serve(self, task: Task, wanted: int = 0, first: Peer | None = None) -> None:
        """Have every zone import what only others have: `wanted` before the rest, and by the peer `first`."""
        inline = task.is_tiny() and (task.inline_held or task.leases)
        if len(task.zones) < 2 or task.state is not TaskState.ACTIVE or inline:
            return
        fetches = self._fetches(task)
        for name, zone in list(task.zones.items()):
            if not len(zone.takers):
                continue
            open_bits = task.all_bits() & ~(zone.held | zone.importing)
            coming = task.held & ~task.unsure
            for fetch in fetches:
                if fetch.zone == name:
                    open_bits &= ~fetch.bits
                else:
                    coming |= fetch.soon
            if open_bits & coming:
                self._share_out(task, zone, open_bits, open_bits & coming, (wanted, first))

    def _fetches(self, task: Task) -> list[Fetch]:
        found = []
        for lease in task.public_leases():
            soon = availability.NONE
            if lease.host in task.peers and lease.state in (LeaseState.GRANTED, LeaseState.STARTED):
                steps = -(-(lease.next_piece - lease.start + AHEAD) * 2 // AHEAD)
                end = min(lease.end, lease.start + steps * AHEAD // 2)
                soon = availability.span(lease.next_piece, end)
            found.append(Fetch(self._cluster.hosts[lease.host].info.zone, lease.bits(), soon))
        return found

    def _share_out(
        self, task: Task, zone: Zone, missing: int, importable: int, starving: tuple[int, Peer | None]
    ) -> None:
        """Give what can be imported into a zone to its hosts, as far as they take it."""
        wanted, first = starving
        unit = unit_pieces(missing.bit_count(), len(zone.takers))
        chosen: dict[Peer, int] = {}
        while importable:
            preferred = importable & wanted
            if first is not None and preferred and first in zone.takers and may_import(first, unit):
                peer: Peer | None = first
            else:
                peer, preferred = choose_importer(zone, unit, self._cluster.now, self._cluster.dice), 0
            if peer is None:
                break
            start, end = next(availability.runs(preferred or importable))
            bits = availability.span(start, min(end, start + unit))
            importable &= ~bits
            if not peer.importing:
                self._renew(task, zone, peer)
            zone.assign(peer, bits)
            chosen[peer] = chosen.get(peer, 0) | bits
        for peer, bits in chosen.items():
            self._neighbours.give_sources(task, peer, bits)
            self._cluster.send(peer.host, Imports(task.id, peer.importing))
            self._neighbours.give_children(task, peer)

    def _renew(self, task: Task, zone: Zone, peer: Peer) -> None:
        peer.import_deadline = self._cluster.now + zone.patience * self._cluster.config.lease.timeout_s
        self._cluster.agenda.wake(("task", task.id), peer.import_deadline)

    # --- following -----------------------------------------------------------------------------------------

    def arrived(self, task: Task, peer: Peer) -> None:
        """A peer holds some of what it was to import: it may get more."""
        zone = task.zone(peer.host.info.zone)
        zone.patience = max(1, zone.patience // 2)
        peer.import_after = 0.0
        self._renew(task, zone, peer)
        self.serve(task)

    def end(self, task: Task, peer: Peer) -> None:
        """A peer joins once more, and imports nothing until it is welcome: it must not go on as if it did."""
        if peer.importing:
            task.zone(peer.host.info.zone).release(peer)
            self._cluster.send(peer.host, Imports(task.id, availability.NONE))

    def sources_changed(self, task: Task, bits: int) -> None:
        """Others hold or fetch these pieces now: who is to import some of them must know whom to ask."""
        for zone in task.zones.values():
            if zone.importing & bits:
                for peer in list(zone.takers):
                    if peer.importing & bits:
                        self._neighbours.give_sources(task, peer, peer.importing & bits)

    def expire(self, task: Task) -> None:
        """Take back imports that bring nothing though there is something to bring, and give them to others."""
        expired = False
        for name, zone in task.zones.items():
            if zone.importing:
                elsewhere = availability.NONE
                for other, there in task.zones.items():
                    elsewhere |= there.held if other != name else 0
                for peer in zone.takers:
                    expired |= bool(peer.importing) and self._expire(task, zone, peer, elsewhere)
        if expired:
            self.serve(task)

    def _expire(self, task: Task, zone: Zone, peer: Peer, elsewhere: int) -> bool:
        cluster = self._cluster
        late = peer.import_deadline <= cluster.now
        if not late or not peer.importing & elsewhere:
            if late:
                self._renew(task, zone, peer)
            cluster.agenda.wake(("task", task.id), peer.import_deadline)
            return False
        zone.patience = min(PATIENCE_MAX, 2 * zone.patience)
        cluster.note("import_expired", task, peer.host, pieces=peer.importing.bit_count())
        peer.import_after = cluster.now + AGAIN_S
        zone.release(peer)
        cluster.send(peer.host, Imports(task.id, availability.NONE))
        return True


def unit_pieces(missing: int, takers: int) -> int:
    """Return how many pieces a host of a zone with so many takers imports at a time, when so many are missing."""
    return max(PIECES_MIN, min(PIECES_MAX, missing // SHRINK) // takers)


def may_import(peer: Peer, unit: int) -> bool:
    """Tell whether a peer can take more: what it has to import may be over before it is told of more."""
    return peer.importing.bit_count() <= unit


def choose_importer(zone: Zone, unit: int, now: float, dice: Dice) -> Peer | None:
    """Return who imports next; None when all have enough to do.

    Not those who did not bring what they were to, as long as there are others, even if these have enough to do. Hosts
    that may not fetch (some want only a part of the blob) and slow ones come last; then whoever brings the least, from
    the origin too.
    """
    for peers in (dice.sample(zone.takers.some(IMPORTERS_LOOKED_AT, dice), IMPORTERS_LOOKED_AT), zone.takers):
        good = [peer for peer in peers if peer.import_after <= now] or peers
        able = [peer for peer in good if may_import(peer, unit)]
        if able:
            return min(able, key=lambda peer: _reluctance(peer, unit))
    return None


def _reluctance(peer: Peer, unit: int) -> tuple[bool, bool, int]:
    busy = peer.importing.bit_count() + unit * peer.host.busy_leases()
    return not peer.may_fetch, peer.host.is_slow, busy
