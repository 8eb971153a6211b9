"""The parents of one download: who they are, what each holds, and whether it may be asked."""

from collections.abc import Iterable, Iterator

from dfdaemon.hosts import Host, HostBook
from dfdaemon.rarity import Rarity
from swarm.ids import HostId
from swarm.messages import Parent

PARENTS_MAX = 40
"""Parents of one download: 8 that it joined with, those that came later and chose it, rescues, and imports."""
CALLS_MAX = 3
"""Attempts at a subscription in a row before a parent is given up."""
CALL_PAUSE_S = 1.0
"""Pause before a lost parent is called again; doubles."""
UNREACHED_MIN = 8
"""Failed connections that prove something, whatever the number of parents: a few fail wherever a thousand hosts start
together, and all others only need time."""
BANNED_MAX = 256
"""Hosts remembered that gave wrong pieces; more than that is a lost cluster."""


class Peer:
    """One parent's part in one download."""

    __slots__ = ("answered", "away", "bits", "call_at", "calls", "host", "is_near", "said", "taken")

    def __init__(self, said: Parent, host: Host, is_near: bool) -> None:
        self.said = said
        self.host = host
        self.is_near = is_near
        self.bits = 0
        """What it told us that it holds; nothing before it answered."""
        self.taken = 0
        """Pieces that we hold from it."""
        self.answered = False
        """It told what it holds, and the connection is not lost since."""
        self.away = False
        """The connection is lost; it is called again at `call_at`."""
        self.calls = 0
        """Calls in a row that it did not answer."""
        self.call_at = float("inf")

    @property
    def name(self) -> HostId:
        """Its host."""
        return self.said.host

    @property
    def open_requests(self) -> int:
        """What the host was asked for and has not given yet, for all blobs."""
        return self.host.open_requests


class ParentTable:
    """Parents by host, and how rare pieces are in our zone: another zone's copies spread nothing in ours."""

    def __init__(self, zone: str, book: HostBook) -> None:
        self.rarity = Rarity()
        self._zone = zone
        self._book = book
        self._peers: dict[HostId, Peer] = {}
        self._banned: set[HostId] = set()
        self._taken: dict[HostId, int] = {}
        self.call_at = float("inf")
        """When a lost parent is to be called again."""
        self.near = 0
        """How many are in our zone."""
        self._lost = 0
        """Connections that failed since a parent answered."""

    def __iter__(self) -> Iterator[Peer]:
        return iter(self._peers.values())

    def __len__(self) -> int:
        return len(self._peers)

    @property
    def are_out_of_reach(self) -> bool:
        """Whether no parent answers, and as many connections failed as there are parents, or UNREACHED_MIN."""
        enough = max(1, min(UNREACHED_MIN, len(self._peers)))
        return self._lost >= enough and not any(peer.answered for peer in self._peers.values())

    def get(self, host: HostId) -> Peer | None:
        """Return a parent by its host."""
        return self._peers.get(host)

    def add(self, said: Parent, useless: Iterable[Peer] = ()) -> Peer | None:
        """Take in a parent that is to be called; None when it is known, banned, or there is no room.

        `useless`: those of the parents that may make room for it.
        """
        known = self._peers.get(said.host)
        if said.host in self._banned or (known is not None and not known.away):
            return None
        if known is None and len(self._peers) >= PARENTS_MAX:
            victim = next(iter(useless), None)
            if victim is None:
                return None
            self.remove(victim)
        if known is not None:
            self.remove(known)
        peer = Peer(said, self._book.get(said.host), said.zone == self._zone)
        self.near += peer.is_near
        peer.taken = self._taken.pop(said.host, 0)
        self._peers[said.host] = peer
        return peer

    def answered(self, peer: Peer) -> None:
        """A parent can be reached."""
        peer.answered, peer.away = True, False
        peer.calls, peer.call_at = 0, float("inf")
        self._lost = 0

    def holds(self, peer: Peer, bits: int) -> int:
        """A parent told all that it holds; returns what is new. It has answered, so it is not away."""
        gained, lost = bits & ~peer.bits, peer.bits & ~bits
        if gained and peer.is_near:
            self.rarity.add(gained)
        if lost and peer.is_near:
            self.rarity.remove(lost)
        peer.bits = bits
        return gained

    def remove(self, peer: Peer) -> None:
        """Forget a parent, but not what it gave us."""
        self.holds(peer, 0)
        if peer.taken:
            self._taken[peer.name] = peer.taken
        del self._peers[peer.name]
        self.near -= peer.is_near

    def ban(self, peer: Peer) -> None:
        """Never take anything from this parent again."""
        self.remove(peer)
        if len(self._banned) < BANNED_MAX:
            self._banned.add(peer.name)

    def pardon(self, host: HostId) -> None:
        """Let this host be a parent again."""
        self._banned.discard(host)

    def is_banned(self, host: HostId) -> bool:
        """Whether nothing of this host counts any more."""
        return host in self._banned

    def lose(self, peer: Peer, jitter: float, now: float) -> bool:
        """The connection to a parent failed. Returns whether it will be called again."""
        self.holds(peer, 0)
        peer.answered = False
        self._lost += 1
        if peer.calls >= CALLS_MAX:
            self.remove(peer)
            return False
        peer.away = True
        peer.call_at = now + CALL_PAUSE_S * 2**peer.calls * (0.75 + jitter / 2)
        self.call_at = min(self.call_at, peer.call_at)
        return True

    def due_calls(self, now: float) -> list[Peer]:
        """Return the lost parents whose time has come, as called."""
        due = [peer for peer in self._peers.values() if peer.call_at <= now]
        for peer in due:
            peer.calls += 1
            peer.call_at = float("inf")
            peer.away = False
        self.call_at = min((peer.call_at for peer in self._peers.values()), default=float("inf"))
        return due

    def offered(self, near: bool | None = None) -> int:
        """Return the bitmap of all that parents hold: all of them, or those in our zone, or those in others."""
        bits = 0
        for peer in self._peers.values():
            if near is None or peer.is_near is near:
                bits |= peer.bits
        return bits

    def with_room(self, near: int, far: int, length: int, now: float) -> tuple[list[Peer], int]:
        """Return the parents that may be asked for a piece of `length` bytes now, and the bitmap of what they offer.

        Of `near`, if a parent is in our zone, or of `far`.
        """
        found, offered = [], 0
        for peer in self._peers.values():
            if peer.host.has_room(length, now):  # most are busy: this costs less than a look at bitmaps
                useful = peer.bits & (near if peer.is_near else far)
                if useful:
                    found.append(peer)
                    offered |= useful
        return found, offered

    def givers_of(self, index: int) -> list[HostId]:
        """Return who gave us a piece."""
        here = [peer.name for peer in self._peers.values() if peer.taken >> index & 1]
        return here + [host for host, bits in self._taken.items() if bits >> index & 1]

    def untake(self, bits: int, asks_again: bool = True) -> None:
        """Pieces are gone: nobody gave them to us. `asks_again`: those who did may be asked for them again."""
        for peer in self._peers.values():
            if not asks_again:
                self.holds(peer, peer.bits & ~(peer.taken & bits))
            peer.taken &= ~bits
        for host in list(self._taken):
            self._taken[host] &= ~bits

    def validate(self, count: int) -> None:
        """Assert the bounds, and that rarity counts what parents hold."""
        assert len(self._peers) <= PARENTS_MAX, "too many parents"
        assert self.near == sum(peer.is_near for peer in self._peers.values()), "near parents are miscounted"
        for index in range(count):
            holders = sum(peer.bits >> index & 1 for peer in self._peers.values() if peer.is_near)
            assert self.rarity.count(index) == holders, f"piece {index} has {holders} holders"
        for peer in self._peers.values():
            assert not peer.bits >> count, f"{peer.name} holds a piece that does not exist"
            assert peer.name not in self._banned, f"{peer.name} is banned"
