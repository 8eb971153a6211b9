"""The requests of one download that are in flight: one per piece, at most one hedge more, and when to look at them."""

from collections.abc import Iterator
from heapq import heappop, heappush
from math import ceil

from dfdaemon.hosts import HostBook
from dfdaemon.parents import Peer
from swarm.ids import HostId

HEDGE_AGE = 3.0
"""A request this many times older than that parent's mean is worth a second copy from another."""
HEDGE_AGE_LAST = 2.0
"""The same when every piece is on its way: the last ones decide when all is done."""
HEDGE_AFTER_S = 0.05
"""No request is hedged sooner: below that is noise."""
HEDGE_SHARE = 0.02
"""Share of the blob that hedges may add in all; one hedge is always allowed."""
HEDGES_BYTES_MAX = 32 << 20
"""Hedges at once beside the first: their bytes arrive in memory, until the piece is decided."""
DEADLINE_AGE = 8.0
"""A request this many times older than expected is taken back, or than what is typical: where that is long, a host that
was quick once may well take as long as the others."""
DEADLINE_S = 1.0
"""No request is taken back sooner."""
DEADLINE_UNKNOWN_S = 10.0
"""Nor before this while no piece ever came: in a crowd the first one takes so long, and who says nothing at all is
noticed by the connection."""
FIRST_REQUESTS = 2
"""A download that holds nothing begins another request only while fewer than so many are in flight in all. In a herd
whoever comes last finds the slots of parents full of requests of hosts that hold nothing, and can give nothing yet."""
PIECES_PER_REQUEST = 4
"""For so many pieces that it holds, one more may be in flight."""
LOOK_GRID_S = 0.05
"""Looks at requests are put on this grid, so that a timer serves several of them."""


class Request:
    """One piece asked of one parent."""

    __slots__ = (
        "cancelled",
        "deadline",
        "hedge_at",
        "index",
        "is_open",
        "peer",
        "scratch",
        "share",
        "started",
    )

    def __init__(self, peer: Peer, index: int, scratch: bool, started: float, share: float) -> None:
        self.peer = peer
        self.index = index
        self.scratch = scratch
        """It is a hedge: its bytes go to scratch space."""
        self.started = started
        self.share = share
        """What it took of the budget."""
        self.hedge_at = 0.0
        self.deadline = 0.0
        self.cancelled = False
        self.is_open = True


class Transfers:
    """Requests by piece; hedges apart."""

    def __init__(self, book: HostBook, size: int) -> None:
        self.requests: dict[int, Request] = {}
        self.hedges: dict[int, Request] = {}
        self._book = book
        self._hedge_bytes_left = int(size * HEDGE_SHARE)
        self._hedges_sent = 0
        self._looks: list[tuple[float, int, Request]] = []
        self._order = 0

    def __len__(self) -> int:
        return len(self.requests) + len(self.hedges)

    def __iter__(self) -> Iterator[Request]:
        yield from self.requests.values()
        yield from self.hedges.values()

    def may_start(self, held: int, in_flight: int) -> bool:
        """Tell whether a download that holds so many pieces may ask for another; `in_flight`: of all downloads."""
        return not len(self) or in_flight < FIRST_REQUESTS + held // PIECES_PER_REQUEST

    def start(self, request: Request, length: int, last: bool) -> None:
        """A request was sent; `last`: no piece is left to ask for."""
        table = self.hedges if request.scratch else self.requests
        assert request.index not in table, f"piece {request.index} is asked for twice"
        table[request.index] = request
        expected = self._book.expected_s(request.peer.host, length)
        age = HEDGE_AGE_LAST if last else HEDGE_AGE
        request.hedge_at = request.started + max(HEDGE_AFTER_S, age * expected)
        typical = self._book.typical_pace * length
        least = DEADLINE_S if typical else DEADLINE_UNKNOWN_S
        slow = DEADLINE_AGE * max(expected, typical)
        request.deadline = request.started + self._book.patience * max(least, slow)
        hedged = not request.scratch and self._can_pay(length)
        self._look_at(request, min(request.hedge_at, request.deadline) if hedged else request.deadline)
        if request.scratch:
            self._hedge_bytes_left -= length
            self._hedges_sent += 1

    def find(self, host: HostId, index: int, scratch: bool) -> Request | None:
        """Return the request of a piece at a host."""
        request = (self.hedges if scratch else self.requests).get(index)
        return request if request is not None and request.peer.name == host else None

    def end(self, request: Request) -> None:
        """A request is over."""
        request.is_open = False
        del (self.hedges if request.scratch else self.requests)[request.index]

    def of_host(self, host: HostId) -> list[Request]:
        """Return the requests at a host."""
        return [request for request in self if request.peer.name == host]

    def may_hedge(self, index: int, length: int) -> bool:
        """Tell whether a second copy of a piece may be asked for."""
        if index in self.hedges or (self.hedges and (len(self.hedges) + 1) * length > HEDGES_BYTES_MAX):
            return False
        return self._can_pay(length)

    def _can_pay(self, length: int) -> bool:
        return not self._hedges_sent or self._hedge_bytes_left >= length

    def refund(self, request: Request, length: int) -> None:
        """A request was refused: if it was a hedge, it cost nothing, and another may be sent."""
        if not request.scratch:
            return
        were_spent = not self._can_pay(length)
        self._hedge_bytes_left += length
        self._hedges_sent -= 1
        if were_spent:
            for other in self.requests.values():
                self._look_at(other, min(other.hedge_at, other.deadline))

    def look_again(self, request: Request, length: int, now: float) -> None:
        """Nothing could be done about an old request: look again a little later, at its deadline at the latest.

        Only then, when there is nothing left for hedges.
        """
        age = max(HEDGE_AFTER_S, now - request.started)
        soon = now + age / 2 if self._can_pay(length) else request.deadline
        self._look_at(request, min(request.deadline, soon) if request.deadline > now else now + age)

    def _look_at(self, request: Request, at: float) -> None:
        self._order += 1
        heappush(self._looks, (ceil(at / LOOK_GRID_S) * LOOK_GRID_S, self._order, request))

    def due(self, now: float) -> list[Request]:
        """Return the requests in flight that are to be looked at now."""
        due = []
        while self._looks and self._looks[0][0] <= now:
            request = heappop(self._looks)[2]
            if request.is_open and not request.cancelled:
                due.append(request)
        return due

    def wakeup_at(self) -> float:
        """Return when to look at a request."""
        looks = self._looks
        while looks and not looks[0][2].is_open:
            heappop(looks)
        return looks[0][0] if looks else float("inf")
