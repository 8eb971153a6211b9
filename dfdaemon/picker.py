"""Which piece to ask for next, and whom. This is the place to change the policy.

All of it is here, as pure functions of bitmaps (bit i is piece i), and none of it acts: Download asks, then does.
1. What a new reader, or one that got nothing for long, waits for goes first. Not every reader's next piece: readers
   of one image are at the same place on all hosts, and if all ask for the same pieces, nobody has anything to give.
2. Else a piece that few of our parents have, the rarest first, wherever it lies: what has just left the
   origin must spread, or hosts have nothing to give each other. So must what has just come into our zone:
   parents in other zones do not count. Ties fall by dice.
3. Else the rarest among WINDOW pieces from the first that nobody is bringing: near enough to the order in which
   readers want them. Where nobody offers any of these, the rarest of all: a link that waits is lost.
4. Of the parents that have it: the own zone's before others', those that send us least now, then by dice.
5. A parent gets one request at a time, unless a round trip takes so long that its link would idle between pieces.
"""

from collections.abc import Iterable, Sequence
from typing import Protocol, TypeVar

from dfdaemon.rarity import Rarity
from swarm.dice import Dice

WINDOW = 96
"""Pieces that all have are taken near the order in which readers want them: a late joiner's prefix grows at once."""
RARE_PART = 3
"""Few are a third. Without this rule hosts took what lay in their window, half of what the origin sent stayed where it
was, and a herd of 100 took 1.20 x the fluid bound; with it 1.08 (simulated, docs/decisions/0008)."""
URGENT_PIECES = 2
"""Pieces from an urgent reader's place that go first: the next is on its way while one is sent on."""
DEPTH_MAX = 4
"""Requests at one parent at once, however long its round trips."""


class Candidate(Protocol):
    """What the picker must know of a parent that may be asked now."""

    @property
    def bits(self) -> int:
        """What it holds."""

    @property
    def is_near(self) -> bool:
        """Whether it is in our zone."""

    @property
    def open_requests(self) -> int:
        """What we asked it for and did not get yet, for all blobs."""


C = TypeVar("C", bound=Candidate)


def window_of(missing: int) -> int:
    """Return the bitmap of WINDOW places from the first missing piece."""
    first = missing & -missing
    return (first << WINDOW) - first


def urgent_of(missing: int, place: int) -> int:
    """Return the missing pieces among the URGENT_PIECES from where a reader waits."""
    return missing & (((1 << URGENT_PIECES) - 1) << place)


def pick_piece(
    wanted: int, offered: int, places: Iterable[int], rarity: Rarity, parents: int, dice: Dice
) -> int | None:
    """Return the piece to ask for: one of `wanted` that is in `offered`, or None.

    `wanted`: pieces that nobody is bringing; `offered`: what parents with room hold; `places`: the first piece that
    each urgent reader does not have, the most urgent first; `rarity`: what all `parents` of our zone hold.
    """
    for place in places:
        urgent = urgent_of(wanted, place) & offered
        if urgent:
            return (urgent & -urgent).bit_length() - 1
    useful = wanted & offered
    if not useful:
        return None
    choice = rarity.rarest(useful)
    if not parents or rarity.count((choice & -choice).bit_length() - 1) * RARE_PART > parents:
        near = useful & window_of(wanted)
        choice = rarity.rarest(near) if near else choice
    return one_of(choice, dice)


def pick_parent(parents: Sequence[C], index: int, dice: Dice) -> C:
    """Return the best of these parents that holds piece `index`; at least one does."""
    best: list[C] = []
    best_rank = (True, DEPTH_MAX + 1)
    for parent in parents:
        if not parent.bits >> index & 1:
            continue
        rank = (not parent.is_near, parent.open_requests)
        if rank < best_rank:
            best_rank = rank
            best = [parent]
        elif rank == best_rank:
            best.append(parent)
    return best[0] if len(best) == 1 else dice.choose(best)


def depth(round_trip_s: float, piece_s: float) -> int:
    """Return how many requests a parent should have: its link idles for a round trip between two single ones."""
    if piece_s <= 0 or round_trip_s <= piece_s / 2:
        return 1
    return min(DEPTH_MAX, 2 + int(round_trip_s / piece_s))


def one_of(bits: int, dice: Dice) -> int:
    """Return one of the pieces of a bitmap, each as likely as the next."""
    count = bits.bit_count()
    skip = dice.below(count) if count > 1 else 0
    for _ in range(skip):
        bits &= bits - 1
    return (bits & -bits).bit_length() - 1
