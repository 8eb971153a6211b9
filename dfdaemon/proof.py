"""What a piece's bytes must hash to, and how well that is known.

*Trusted* digests come from our own fetches of the origin, or through the scheduler from the owners of leases. What
parents claim is hearsay: taken where nothing contradicts it, since the blob's own digest decides in the end.
"""

from collections.abc import Iterable

from swarm.ids import HostId
from swarm.messages import PieceRecord


class Proof:
    """The digests of one blob's pieces. Tables hold at most one entry per piece, votes only where claims differ."""

    __slots__ = ("_heard", "_suspects", "_trusted", "_votes", "fetched", "records")

    def __init__(self, count: int) -> None:
        """`count`: the blob's pieces."""
        self.records: dict[int, PieceRecord] = {}
        """Records of the pieces that we hold, or are writing."""
        self.fetched = 0
        """Pieces held that we fetched from the origin ourselves."""
        self._trusted: dict[int, bytes] = {}
        self._heard: list[tuple[bytes, HostId | None] | None] = [None] * count
        """What was claimed of each piece first, and by whom; of one that we hold, what it is."""
        self._votes: dict[int, dict[bytes, set[HostId]]] = {}
        self._suspects: dict[int, tuple[HostId, bytes]] = {}

    @property
    def trusted_bits(self) -> int:
        """Pieces whose digest is trusted."""
        return sum(1 << index for index in self._trusted)

    def trust(self, records: Iterable[PieceRecord]) -> None:
        """Take over digests from whoever must know them."""
        for record in records:
            self._trusted[record.index] = record.digest

    def distrust(self, bits: int) -> None:
        """Take these digests for no better than claims."""
        self._trusted = {index: digest for index, digest in self._trusted.items() if not bits >> index & 1}

    def hear(self, host: HostId, records: Iterable[PieceRecord]) -> bool:
        """A parent says that it holds these. Returns whether it contradicts what we hold, or heard."""
        heard = self._heard
        contradicts = False
        for record in records:
            known = heard[record.index]
            if known is None:
                heard[record.index] = (record.digest, host)
            elif known[0] != record.digest:
                contradicts = True
                if known[1] is not None:
                    self._dispute(record.index, known[0], known[1], record.digest, host)
        return contradicts

    def is_contested(self, claimed: PieceRecord) -> bool:
        """Whether others claim another digest of a piece that arrived, and nobody who must know it told us."""
        known = self._heard[claimed.index]
        if known is None or known[1] is None or claimed.index in self._trusted:
            return False
        return known[0] != claimed.digest

    def trusted(self, index: int) -> bytes | None:
        """Return the digest that a piece must have, if that is known."""
        return self._trusted.get(index)

    def contradicted(self) -> int:
        """Return the pieces that we hold from others, and that are not what those who must know say."""
        bits = 0
        for index, digest in self._trusted.items():
            held = self.records.get(index)
            if held is not None and held.digest != digest and not self.fetched >> index & 1:
                bits |= 1 << index
        return bits

    def _dispute(self, index: int, known: bytes, first: HostId, digest: bytes, host: HostId) -> None:
        """Let a host vote for a digest; it has one vote for each piece."""
        votes = self._votes.setdefault(index, {known: {first}})
        for other in [other for other, hosts in votes.items() if host in hosts and other != digest]:
            votes[other].discard(host)
            if not votes[other]:
                del votes[other]
        votes.setdefault(digest, set()).add(host)

    def expected(self, claimed: PieceRecord) -> bytes:
        """Return the digest that this piece must have, all considered: the claimed one unless we know better."""
        index = claimed.index
        trusted = self._trusted.get(index)
        if trusted is not None:
            return trusted
        votes = self._votes.get(index)
        if votes:
            best = max(votes, key=lambda digest: len(votes[digest]))
            if len(votes[best]) >= 2 and len(votes[best]) > len(votes.get(claimed.digest, ())):
                return best
        return claimed.digest

    def hold(self, record: PieceRecord, from_origin: bool) -> None:
        """A piece's bytes are accepted under this record."""
        index = record.index
        self.records[index] = record
        self._heard[index] = (record.digest, None)
        self._votes.pop(index, None)
        if from_origin:
            self.fetched |= 1 << index
            self._trusted[index] = record.digest

    def drop(self, index: int) -> None:
        """A piece that we held is gone."""
        self.records.pop(index, None)
        self._heard[index] = None
        self.fetched &= ~(1 << index)

    def suspect(self, index: int, host: HostId) -> None:
        """Remember what a parent gave us for a piece that may be wrong, until the truth is known."""
        self._suspects[index] = (host, self.records[index].digest)

    def convict(self, record: PieceRecord) -> tuple[HostId, bytes] | None:
        """The origin gave us this piece: return who had given us other bytes for it, and their digest."""
        suspect = self._suspects.pop(record.index, None)
        return suspect if suspect is not None and suspect[1] != record.digest else None
