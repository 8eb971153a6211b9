"""What one of several hosts without a scheduler fetches next, so that together they take each byte about once.

They cannot agree, only see what the others have got. So each takes a piece at a time, one that falls to it in the
eyes of those it knows (rendezvous hashing, Thaler and Ravishankar 1998), and looks again.
"""

from collections.abc import Sequence
from zlib import crc32

from swarm import availability
from swarm.dice import Dice
from swarm.ids import HostId

RUN_MAX = 64
"""Pieces of one request: its round trip is little against them. Not more: when a scheduler is back that knows who
has the blob, they are fetched in vain."""


def next_run(bits: int, count: int, me: HostId, others: Sequence[HostId], dice: Dice) -> int:
    """Return up to `count` of these missing pieces: the first where nobody else is, else where our share is."""
    if not bits or not others:
        first = (bits & -bits).bit_length() - 1
    else:
        places = list(availability.indexes(bits))
        ours = [index for index in places if is_ours(index, me, others)]
        first = dice.choose(ours or places)
    return bits & availability.span(first, first + count) if bits else 0


def is_ours(index: int, me: HostId, others: Sequence[HostId]) -> bool:
    """Tell whether a piece falls to us among the hosts that we know."""
    mine = _draw(index, me)
    return all(mine > _draw(index, other) for other in others)


def _draw(index: int, host: HostId) -> tuple[int, HostId]:
    return crc32(f"{host}/{index}".encode()), host
