"""What is fetched from the origin next, and by whom: pure choices. Ranges are contiguous, early ones first."""

from collections.abc import Sequence

from scheduler.config import LeaseConfig
from scheduler.host import Host
from scheduler.lease import Lease, LeaseState
from scheduler.peer import Peer
from scheduler.registry import Ranges, Registry
from scheduler.task import Task
from swarm.dice import Dice
from swarm.messages import OriginFault
from swarm.pieces import PieceMap

OWNERS_LOOKED_AT = 32
"""Hosts that are compared for a lease, from a random place on; all seeds are compared too, up to as many."""
LEASES_PER_HOST_MAX = 4
"""Connections of one host to origins: more bring nothing on one uplink."""
HERD_S = 0.25
"""How long after a blob's first lease no host gets a second one beside its own. Most of a herd is yet to come, and what
a few hosts fetched for all, those few must spread: with 60 hosts in three zones the last were done after 1.14 x the
fluid bound, and with this after 1.10 (simulated, docs/decisions/0070)."""
PATIENCE_MAX = 8
"""Times the lease time-out that an owner may be silent where all hosts are busy."""
FRUITLESS_MAX = 4
"""Fetches in a row that brought nothing, after which the origin may count as out of order..."""
FRUITLESS_S = 8.0
"""... if they span this long: a hiccup must not send a whole cluster to the origin."""
PRIVATE_AFTER_S = 4.0
"""What nobody fetched anything of for so long, though somebody may for all, a host that stores nothing fetches for
itself: the others may have an earlier layer to fetch, or a registry that asked for a pause. Progress comes each 2 s at
least."""
HOLD_FIRST_S = 0.25
"""Pause before the third fetch in a row; it doubles up to HOLD_MAX_S. The second starts at once, elsewhere."""
HOLD_MAX_S = 4.0

SHRINK = 3
"""A lease has at most this part of what is still free: so the last ones end together, and no origin connection idles
while another has much left. Guided self-scheduling (Polychronopoulos, Kuck 1987)."""

SLOWER = 1 / 3
"""An owner with less than this part of what another connection would bring is relieved of most that it has left..."""
RELIEVED_S = 2.0
"""... if that would take it this long: every relief is one more request to the origin."""

BLAMED = frozenset({OriginFault.UNREACHABLE, OriginFault.TIMEOUT, OriginFault.CUT, OriginFault.SERVER_ERROR})
"""Faults that may be the host's: another may succeed."""
FORBIDDEN = frozenset({OriginFault.DENIED, OriginFault.NOT_FOUND, OriginFault.WRONG_CONTENT})
"""Faults after which this host may not fetch this blob any more."""


def lease_pieces(pieces: PieceMap, free: int, config: LeaseConfig, is_brief: bool = False) -> int:
    """Return how many pieces the next lease of a blob has, when `free` ones are left; `is_brief`: as few as may be."""
    least = -(-config.bytes_min // pieces.piece_bytes)
    if is_brief:
        return max(1, least)
    usual = -(-pieces.size // config.parts // pieces.piece_bytes)
    return max(1, least, min(usual, free // SHRINK))


def next_range(
    free: int,
    preferred: int,
    pieces: PieceMap,
    config: LeaseConfig,
    is_brief: bool = False,
    leaves_crumbs: bool = True,
) -> tuple[int, int]:
    """Return the first range [start, end) of free pieces, from the first preferred one if there is any.

    `leaves_crumbs`: behind it less may be left than the smallest lease has; else that is taken, too.
    """
    first = free & preferred or free
    start = (first & -first).bit_length() - 1
    blocked = ~(free >> start)
    run = (blocked & -blocked).bit_length() - 1
    count = lease_pieces(pieces, free.bit_count(), config, is_brief)
    if not leaves_crumbs and run - count < lease_pieces(pieces, 0, config, is_brief=True):
        count = run
    return start, start + min(run, count)


def relieved_end(lease: Lease, pieces: PieceMap, registry: Registry) -> int:
    """Return where a lease should end so that its registry's idle connections help; as before if it is not slow.

    It is when all others are nearly done: its owner keeps what it can fetch while the rest comes at the full rate,
    and the piece in flight.
    """
    left = lease.end - lease.next_piece
    rate, best = lease.rate, registry.best_rate
    if left < 2 or not 0 < rate < SLOWER * best / (1 + registry.busy()):
        return lease.end
    takes_s = pieces.span_bytes(lease.next_piece, lease.end) / rate
    alone = lease.private or lease.inline or lease.no_range or lease.state is not LeaseState.STARTED
    if alone or takes_s < RELIEVED_S:
        return lease.end
    return lease.next_piece + 1 + int((left - 1) * rate / (rate + best))


def able_owners(task: Task, registries: frozenset[str], now: float, dice: Dice) -> list[Peer]:
    """Return some of those who can fetch now through one of the `registries`; all of them where they are few."""
    seeds = task.seed_fetchers.some(OWNERS_LOOKED_AT, dice)
    others = task.fetchers.some(OWNERS_LOOKED_AT, dice)
    able = [peer for peer in (*seeds, *others) if may_lease(task, peer, registries, now)]
    if not able:
        everyone = (*task.seed_fetchers, *task.fetchers)
        able = [peer for peer in everyone if may_lease(task, peer, registries, now)]
    return able


def best_owner(task: Task, able: Sequence[Peer], now: float) -> Peer:
    """Return who of these fetches next.

    Not those whose fetches just failed, as long as there are others; then whoever has the fewest leases, fast hosts
    before slow ones, seeds first, zones in turn.
    """
    zones: dict[str, int] = {}
    for lease in task.leases:
        owner = task.peers.get(lease.host)
        if owner is not None and lease.is_busy():
            zones[owner.host.info.zone] = zones.get(owner.host.info.zone, 0) + 1
    return min(able, key=lambda peer: _reluctance(peer.host, zones, now))


def _reluctance(host: Host, zones: dict[str, int], now: float) -> tuple[bool, int, int, bool, bool, int]:
    waits = host.fetch_after > now
    return (
        waits,
        host.failures,
        host.busy_leases(),
        host.is_slow,
        not host.is_seed(),
        zones.get(host.info.zone, 0),
    )


def is_open(task: Task, registry: Registry, now: float) -> bool:
    """Tell whether another lease of a task may start at a registry now; until Range is known, one at a time."""
    if task.is_tiny():
        return not registry.is_blocked(now)
    if registry.honours(now) is not Ranges.HONOURED and task.leased:
        return False
    return registry.has_room(now, connections_more(task, now))


def connections_more(task: Task, now: float) -> int:
    """Return how many connections there are for a layer that waited for earlier ones too long."""
    return int(task.is_layer and not task.may_wait(now))


def may_lease(task: Task, peer: Peer, registries: frozenset[str], now: float) -> bool:
    """Tell whether a peer can take a lease now: it may fetch, and the origin has answered its last one.

    In the first moments of a blob its last one must be about to end, too.
    """
    able = peer.may_fetch and peer.is_downloading() and peer.host.is_trusted()
    if not able or peer.registry not in registries or any(lease.is_unanswered() for lease in peer.leases):
        return False
    if is_young(task, now) and any(lease.is_busy() for lease in peer.leases):
        return False
    return task.is_tiny() or peer.host.busy_leases() < LEASES_PER_HOST_MAX + connections_more(task, now)


def is_young(task: Task, now: float) -> bool:
    """Tell whether a blob was leased for the first time so lately that most of a herd may be yet to come."""
    return task.leased_at is not None and now < task.leased_at + HERD_S


def hold_s(failures: int) -> float:
    """Return how long a task waits after so many fetches in a row that brought nothing."""
    return 0.0 if failures < 2 else min(HOLD_MAX_S, HOLD_FIRST_S * float(1 << min(failures - 2, 8)))
