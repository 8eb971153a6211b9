"""Who takes pieces from whom: pure choices over a task's pools, none of which looks at every peer.

The graph is random, near-regular and mostly both ways. Strictly taking the hosts with the fewest children would tie
each newcomer to those just before it: a chain with a diameter of hosts / neighbours. So candidates are drawn at random
among those with room, two at a time, and the one with fewer children is taken; in a small pool the choice is exact.
"""

from scheduler.config import PlacementConfig
from scheduler.peer import Peer
from scheduler.pool import Pool
from scheduler.task import Task
from scheduler.zone import Zone
from swarm import availability
from swarm.dice import Dice

COMPLETE_PARENTS = 8
"""Complete hosts that a newcomer gets: they have everything, so few suffice."""
RESCUERS = 4
"""Parents that one cry for help brings."""
RESCUE_ROOM = 4
"""Places among a host's parents that are kept free for rescues."""
RESCUE_CHILDREN = 3
"""Children of one host for one task, rescues included, as a multiple of neighbours. With 64 children, hosts that found
nothing because nobody had anything yet collected forty parents in a herd of 200 that wants 32 MiB, and were no faster
(simulated)."""
RESCUE_LOOK = 64
"""Holders of a zone that are looked at for a rescue, from a random place on."""
RESCUE_SEARCH = 2048
"""Holders that are looked at when those did not have what is wanted."""
SEARCHES_PER_S = 100
"""Such searches, of half a millisecond each. Who is not helped asks again in a second; without a bound a herd of 10,000
with nothing to give yet would want five processors for them."""
ZONES_LOOKED_AT = 8
"""Other zones that are tried before a host does without."""
SOURCES_LOOKED_AT = 8
"""Wanted pieces whose first holders are tried for a rescue."""
SOURCES = 2
"""Hosts of other zones that a peer can take what it imports from: one may be busy, or go."""
SOURCES_ROOM = 8
"""Places among a host's parents for such sources, beyond those for placement and rescues."""
OWNER_CHILDREN_MIN = 3
"""Children in its own zone of a lease owner, or importer: what one host alone holds must not depend on one child."""


def choose_parents(task: Task, peer: Peer, count: int, config: PlacementConfig, dice: Dice) -> list[Peer]:
    """Return up to `count` new parents of a peer's own zone, complete ones by their share, and a few of others.

    Where its zone is too small, as many of others as there are to be had. When most are complete, up to
    COMPLETE_PARENTS are all that it gets, complete ones first.
    """
    late = task.complete > task.downloading
    count = min(count, COMPLETE_PARENTS) if late else count
    remote = 0 if len(task.zones) < 2 else config.remote_neighbours
    chosen: dict[Peer, None] = {}
    home = task.zones.get(peer.host.info.zone)
    if home is not None:
        _fill(chosen, task, home, peer, count, dice)
        if len(chosen) < count:
            _fill(chosen, task, home, peer, count, dice)
    others = _other_zones(task, peer, dice)
    goal = max(count, len(chosen) + remote)
    for zone in others:
        _fill(chosen, task, zone, peer, min(goal, len(chosen) + max(1, remote // 2)), dice)
    for zone in others:
        _fill(chosen, task, zone, peer, goal, dice)
    return list(chosen)


def _fill(chosen: dict[Peer, None], task: Task, zone: Zone, peer: Peer, until: int, dice: Dice) -> None:
    """Add peers of a zone until `until` are chosen: complete ones by their share, the rest from those that grow."""
    count = until - len(chosen)
    if count <= 0:
        return
    share = 0
    if task.complete:
        late = task.complete > task.downloading
        share = count if late else max(1, count * task.complete // (task.complete + task.downloading))
    _draw(chosen, zone.complete, peer, len(chosen) + min(share, COMPLETE_PARENTS), dice)
    _draw(chosen, zone.growing, peer, until, dice)


def _other_zones(task: Task, peer: Peer, dice: Dice) -> list[Zone]:
    """Return some zones other than the peer's own in random order."""
    names = [name for name in task.zones if name != peer.host.info.zone]
    return [task.zones[name] for name in dice.sample(names, ZONES_LOOKED_AT)]


def _draw(chosen: dict[Peer, None], pool: Pool[Peer], peer: Peer, until: int, dice: Dice) -> None:
    """Add peers from a pool until `until` are chosen."""
    wanted = until - len(chosen)
    if wanted <= 0:
        return
    if len(pool) <= 4 * wanted:
        fits = [
            other
            for other in dice.sample(pool.items, len(pool))
            if other not in chosen and _fits(other, peer)
        ]
        fits.sort(key=_children)
        chosen.update(dict.fromkeys(fits[:wanted]))
        return
    for _ in range(4 * wanted):
        one, two = pool.draw(dice), pool.draw(dice)
        other = one if len(one.children) <= len(two.children) else two
        if other not in chosen and _fits(other, peer):
            chosen[other] = None
            if len(chosen) >= until:
                return


def _children(peer: Peer) -> int:
    return len(peer.children)


def _fits(other: Peer, peer: Peer) -> bool:
    """Tell whether placement may make `other` a parent of `peer`: a slow host is a leaf."""
    return not other.host.is_slow and _possible(other, peer)


def _possible(other: Peer, peer: Peer) -> bool:
    return other is not peer and other not in peer.parents and other.host.id not in peer.refused


def choose_familiar(task: Task, peer: Peer, elsewhere: Peer, count: int) -> list[Peer]:
    """Return up to `count` parents of the host's part in another task that fit here too: they are connected."""
    found = []
    for parent in elsewhere.parents:
        other = task.peers.get(parent.host.id)
        if other is not None and other in task.zone(other.host.info.zone).growing and _fits(other, peer):
            found.append(other)
            if len(found) >= count:
                break
    return found


def is_mutual(parent: Peer, child: Peer, mutual: int, config: PlacementConfig) -> bool:
    """Tell whether the child becomes the parent's parent too. `mutual`: how often it did in this placement.

    As long as there is room: nobody comes after the last ones to take what they hold, and an uplink without enough
    children idles. Some room is kept for rescues, though not against a newcomer's first OWNER_CHILDREN_MIN children.
    """
    if not parent.is_downloading() or child in parent.parents or not child.serves() or child.host.is_slow:
        return False
    if parent.host.info.zone != child.host.info.zone:
        return False
    near = near_parents(parent)
    if child.host.id in parent.refused or len(child.children) >= config.parents_max:
        return False
    kept = RESCUE_ROOM if mutual >= OWNER_CHILDREN_MIN else 0
    return near < max(config.neighbours, config.parents_max - kept)


def near_parents(peer: Peer) -> int:
    """Return how many of a peer's parents are in its zone."""
    zone = peer.host.info.zone
    return sum(parent.host.info.zone == zone for parent in peer.parents)


def rescue_children_max(config: PlacementConfig) -> int:
    """Return how many children a host may have and still be named for a rescue."""
    return RESCUE_CHILDREN * config.neighbours


def choose_rescuers(
    task: Task, peer: Peer, wanted: int, children_max: int, look: int, dice: Dice
) -> list[Peer]:
    """Return up to RESCUERS holders of wanted pieces that are no parents yet: near, fast, with few children first.

    None of them has `children_max` children or more. Those of other zones only for what the peer is to import, or if it
    stores nothing: then it imports for nobody. `look`: holders of each zone that are looked at.
    """
    zone = peer.host.info.zone
    far = wanted & peer.importing if peer.stores else wanted
    found: dict[Peer, None] = {}
    for name in _names(task, zone, dice) if far else [zone]:
        holders = task.zone(name).holders.some(look, dice)
        _look(found, holders, peer, wanted if name == zone else far, children_max)
        if len(found) >= RESCUERS:
            break
    sources = [other for other in _sources(task, wanted) if far or other.host.info.zone == zone]
    _look(found, sources, peer, wanted, children_max)
    ranked = sorted(
        found, key=lambda other: (other.host.info.zone != zone, other.host.is_slow, len(other.children))
    )
    return ranked[:RESCUERS]


def _names(task: Task, own: str, dice: Dice) -> list[str]:
    """Return the names of zones, the own one first."""
    names = [name for name in task.zones if name != own]
    return [own, *dice.sample(names, ZONES_LOOKED_AT)]


def _sources(task: Task, wanted: int) -> list[Peer]:
    """Return who first held the lowest wanted pieces, as far as they still serve."""
    sources = []
    for _, index in zip(range(SOURCES_LOOKED_AT), availability.indexes(wanted), strict=False):
        source = task.sources.get(index)
        if source is not None and source.serves():
            sources.append(source)
    return sources


def _look(
    found: dict[Peer, None], candidates: list[Peer], peer: Peer, wanted: int, children_max: int
) -> None:
    for other in candidates:
        if other.bits & wanted and len(other.children) < children_max and _possible(other, peer):
            found[other] = None
            if len(found) >= 2 * RESCUERS:
                return


def choose_children(task: Task, owner: Peer, config: PlacementConfig, dice: Dice) -> list[Peer]:
    """Return peers that should take from a lease owner, so that it has OWNER_CHILDREN_MIN children."""
    own = owner.host.info.zone
    missing = OWNER_CHILDREN_MIN - sum(child.host.info.zone == own for child in owner.children)
    zone = task.zones.get(own)
    if missing <= 0 or zone is None or not owner.serves():
        return []
    chosen: dict[Peer, None] = {}
    for other in zone.growing.some(4 * OWNER_CHILDREN_MIN, dice):
        if len(chosen) < missing and near_parents(other) < config.parents_max and _possible(owner, other):
            chosen[other] = None
    return list(chosen)


def choose_sources(task: Task, importer: Peer, bits: int, dice: Dice) -> list[Peer]:
    """Return new parents in other zones for a peer that is to import these pieces: who fetches them, and holders."""
    own = importer.host.info.zone
    fetching = [task.peers.get(lease.host) for lease in task.public_leases() if lease.bits() & bits]
    chosen = {
        owner: None
        for owner in fetching
        if owner is not None and owner.host.info.zone != own and owner.serves() and _possible(owner, importer)
    }
    for name, zone in task.zones.items():
        if name != own and zone.importing & bits:
            for other in zone.takers:
                if other.importing & bits and _possible(other, importer):
                    chosen[other] = None
    held = bits & task.held
    known = sum(parent.host.info.zone != own and not held & ~parent.bits for parent in importer.parents)
    if not held or known >= SOURCES:
        return list(chosen)
    found: dict[Peer, None] = {}
    for name in _names(task, own, dice)[1:]:
        _look(found, task.zones[name].holders.some(RESCUE_LOOK, dice), importer, held, 4 * SOURCES)
    if not found:
        _look(
            found,
            [peer for peer in _sources(task, held) if peer.host.info.zone != own],
            importer,
            held,
            SOURCES,
        )
    ranked = sorted(
        found, key=lambda peer: (peer.host.is_slow, (held & ~peer.bits).bit_count(), len(peer.children))
    )
    chosen.update(dict.fromkeys(ranked[: SOURCES - known]))
    return list(chosen)
