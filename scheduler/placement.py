"""Who takes pieces from whom: pure choices over a task's pools, none of which looks at every peer.

The graph is random, near-regular and mostly both ways. Strictly taking the hosts with the fewest children would tie
each newcomer to those just before it: a chain with a diameter of hosts / neighbours. So candidates are drawn at random
among those with room, two at a time, and the one with fewer children is taken; in a small pool the choice is exact.
"""

from scheduler.config import PlacementConfig
from scheduler.peer import Peer
from scheduler.pool import Pool
from scheduler.task import Task, Zone
from swarm import availability
from swarm.dice import Dice

COMPLETE_PARENTS = 8
"""Complete hosts that a newcomer gets: they have everything, so few suffice."""
RESCUERS = 4
"""Parents that one cry for help brings."""
RESCUE_ROOM = 4
"""Places among a host's parents that are kept free for rescues."""
RESCUE_CHILDREN_MAX = 24
"""Children of one host for one task, rescues included. With 64, hosts that found nothing because nobody had anything
yet collected forty neighbours each in a herd of 200 that wants 32 MiB, and were no faster (simulated)."""
RESCUE_LOOK = 64
"""Holders of a zone that are looked at for a rescue, from a random place on."""
RESCUE_SEARCH = 2048
"""Holders that are looked at when those did not have what is wanted."""
ZONES_LOOKED_AT = 8
"""Other zones that are tried before a host does without."""
SOURCES_LOOKED_AT = 8
"""Wanted pieces whose first holders are tried for a rescue."""
OWNER_CHILDREN_MIN = 3
"""Children of a lease owner: a piece that only one host holds must not depend on one child."""


def choose_parents(task: Task, peer: Peer, count: int, config: PlacementConfig, dice: Dice) -> list[Peer]:
    """Return up to `count` new parents for a peer: same zone first, complete ones by their share.

    When most are complete, up to COMPLETE_PARENTS complete ones are all that it gets.
    """
    late = task.complete > task.downloading
    count = min(count, COMPLETE_PARENTS) if late else count
    remote = 0 if len(task.zones) < 2 else count * config.remote_neighbours // config.neighbours
    chosen: dict[Peer, None] = {}
    if task.complete:
        share = count if late else max(1, count * task.complete // (task.complete + task.downloading))
        _fill(chosen, task, peer, "complete", min(share, COMPLETE_PARENTS), 0, dice)
    if len(chosen) < count:
        _fill(chosen, task, peer, "growing", count, remote, dice)
    return list(chosen)


def _fill(
    chosen: dict[Peer, None], task: Task, peer: Peer, kind: str, count: int, remote: int, dice: Dice
) -> None:
    """Add peers of one kind until `count` are chosen: `remote` of other zones, the rest local, then any."""
    home = task.zones.get(peer.host.info.zone)
    if home is not None:
        _draw(chosen, getattr(home, kind), peer, count - remote, dice)
    if len(chosen) >= count:
        return
    others = _other_zones(task, peer, dice)
    goal = len(chosen) + remote
    for zone in others:
        _draw(chosen, getattr(zone, kind), peer, min(goal, len(chosen) + max(1, remote // 2)), dice)
    for zone in ([home] if home is not None else []) + others:
        _draw(chosen, getattr(zone, kind), peer, count, dice)


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
    if child.host.id in parent.refused or len(child.children) >= config.parents_max:
        return False
    kept = RESCUE_ROOM if mutual >= OWNER_CHILDREN_MIN else 0
    return len(parent.parents) < max(config.neighbours, config.parents_max - kept)


def choose_rescuers(task: Task, peer: Peer, wanted: int, count: int, dice: Dice) -> list[Peer]:
    """Return up to `count` holders of wanted pieces that are no parents yet: near, fast, with few children first."""
    zone = peer.host.info.zone
    found: dict[Peer, None] = {}
    for look in (RESCUE_LOOK, RESCUE_SEARCH):
        for pool in _holders(task, zone, dice):
            _look(found, pool.some(look, dice), peer, wanted, 2 * count)
            if len(found) >= count:
                break
        if look == RESCUE_LOOK:
            _look(found, _sources(task, wanted), peer, wanted, 2 * count)
        if found:
            break
    ranked = sorted(
        found, key=lambda other: (other.host.info.zone != zone, other.host.is_slow, len(other.children))
    )
    return ranked[:count]


def _holders(task: Task, own: str, dice: Dice) -> list[Pool[Peer]]:
    names = [name for name in task.zones if name != own]
    nearest = [own] if own in task.zones else []
    return [task.zones[name].holders for name in nearest + dice.sample(names, ZONES_LOOKED_AT)]


def _sources(task: Task, wanted: int) -> list[Peer]:
    """Return who first held the lowest wanted pieces, as far as they still serve."""
    sources = []
    for _, index in zip(range(SOURCES_LOOKED_AT), availability.indexes(wanted), strict=False):
        source = task.sources.get(index)
        if source is not None and source.serves():
            sources.append(source)
    return sources


def _look(found: dict[Peer, None], candidates: list[Peer], peer: Peer, wanted: int, enough: int) -> None:
    for other in candidates:
        if other.bits & wanted and len(other.children) < RESCUE_CHILDREN_MAX and _possible(other, peer):
            found[other] = None
            if len(found) >= enough:
                return


def choose_children(task: Task, owner: Peer, config: PlacementConfig, dice: Dice) -> list[Peer]:
    """Return peers that should take from a lease owner, so that it has OWNER_CHILDREN_MIN children."""
    missing = OWNER_CHILDREN_MIN - len(owner.children)
    if missing <= 0 or not owner.serves():
        return []
    chosen: dict[Peer, None] = {}
    names = [
        owner.host.info.zone,
        *dice.sample([name for name in task.zones if name != owner.host.info.zone], 2),
    ]
    for name in names:
        zone = task.zones.get(name)
        for other in zone.growing.some(4 * OWNER_CHILDREN_MIN, dice) if zone is not None else ():
            if len(chosen) < missing and len(other.parents) < config.parents_max and _possible(owner, other):
                chosen[other] = None
    return list(chosen)
