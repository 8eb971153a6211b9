"""When all pieces are there: whether they are the blob that its digest names, and what to do if they are not.

The digest is computed here, or, with `verify = "first-nodes"`, by a few hosts whose word is waited for:

| what the scheduler said                           | what happens when all pieces are there                 |
|---------------------------------------------------|--------------------------------------------------------|
| nothing, or there is none; we are to compute it   | the digest is computed                                 |
| others compute it                                 | their word is waited for, for some seconds at most     |
| a root is proven, and our pieces have it          | the blob is complete                                   |
| a root is proven, and our pieces have another one | the digest is computed, and tells who is wrong         |

If the digest is wrong, the scheduler is asked which piece digests the owners of leases told it. Pieces that differ are
dropped, reported, and taken again from whoever has them right. Only if none differs, or nobody answers, all that only
hearsay vouches for is fetched from the origin.
"""

from dfdaemon.blob_state import BlobState
from dfdaemon.commands import CheckBlob, DropPieces, FollowBlob
from dfdaemon.origin_side import OriginSide
from dfdaemon.peer_side import PeerSide
from dfdaemon.piece_table import Stage
from dfdaemon.session import Link
from swarm import availability
from swarm.facts import Note
from swarm.ids import UNGRANTED
from swarm.messages import LeaseFailed, OriginFault, PieceRejected, TaskInfo
from swarm.roots import NO_ROOT, BlobProved, Proven, root_of

CHECKS_MAX = 2
"""Times that a blob may turn out wrong: once a host lied; after that the origin's content is wrong."""
CURES_MAX = 8
"""Times that the scheduler's piece digests may explain why a blob is wrong; then they are of no use."""
ANSWER_S = 2.0
"""How long to wait for those: the scheduler answers at once, unless a herd asks."""
REPORTED_MAX = 512
"""Wrong pieces found at a time that are reported: of each the scheduler must know whether we made it."""
NEVER = float("inf")
HASH_BYTES_PER_S = 500e6
"""sha256 on a slow core, or a busy one."""
PATIENCE_MIN_S, PATIENCE_MAX_S = 1.0, 5.0
"""A herd becomes whole within about a second; a client must not wait for long for what this node can do itself."""
PATIENCE_SHARE = 0.5
"""Of the time that the download took: where all are slow, those who hash are, too."""


def patience_s(size: int, took_s: float) -> float:
    """Return how long to wait for others to prove a blob: as long as hashing it may take, within bounds."""
    return min(PATIENCE_MAX_S, max(PATIENCE_MIN_S, size / HASH_BYTES_PER_S, took_s * PATIENCE_SHARE))


class WholeCheck:
    """Has the digest computed, or waits for the word of those who do; finds pieces that may be wrong."""

    def __init__(self, blob: BlobState, peers: PeerSide, origin: OriginSide) -> None:
        self._blob = blob
        self._peers = peers
        self._origin = origin
        self._failed = 0
        self._cures = 0
        self._asks = False
        """The digest is wrong, and the scheduler was asked what it knows."""
        self.is_hopeless = False
        """The digest is wrong, and there is nothing left to try."""
        self.runs = False
        """The digest is being computed."""
        self.until = NEVER
        """When the word of others, or the scheduler's answer, is waited for no longer."""
        self._spared = False
        self._root = NO_ROOT
        self._follows = not blob.shares_check

    # --- who computes it ------------------------------------------------------------------------------------------

    @property
    def follows(self) -> bool:
        """Whether the digest is computed behind the download."""
        return self._follows

    def informed(self, message: TaskInfo, now: float) -> None:
        """The scheduler says which piece digests it knows, and whether others compute the blob's own.

        One of an earlier version does not know the latter.
        """
        self._spared = message.is_spared and self._blob.shares_check
        if not self._spared:
            self._follow()
        self._blob.proof.trust(
            record for record in message.records if 0 <= record.index < self._blob.table.count
        )
        if not self._cure() and self._asks:
            self._search(now)

    def told(self, message: Proven) -> None:
        """The scheduler says what several hosts found right; or that nobody did, and it is for us to find out."""
        if not self._blob.shares_check:
            return
        self._root = message.root
        if not message.root:
            self._spared = False
            self._follow()

    def link_changed(self) -> None:
        """Without a scheduler nobody tells us."""
        if self._blob.means.session.link is Link.ALONE:
            self._spared = False
            if self._asks:
                self.until = 0.0  # nobody answers
            self._follow()

    def _follow(self) -> None:
        if not self._follows and self._blob.ring is None:
            self._follows = True
            self._blob.do(FollowBlob(self._blob.task))

    def is_proven(self, now: float) -> bool:
        """All pieces are there: tell whether others vouch for them. If not, wait for that, or compute the digest."""
        if self._asks and now >= self.until:
            self._search(now)
        elif not self._asks and not self._cure():
            if self._root and self._root == self._own_root():
                return True
            self._compute(now)
        return False

    def _compute(self, now: float) -> None:
        if not self._waits(now):
            self.runs, self.until = True, NEVER
            self._blob.do(CheckBlob(self._blob.task))

    def _waits(self, now: float) -> bool:
        if not self._spared or self._root:
            return False
        if self.until == NEVER:
            self.until = now + patience_s(self._blob.pieces.size, now - self._blob.began_at)
        self._spared = now < self.until
        return self._spared

    def _own_root(self) -> bytes:
        records = self._blob.proof.records
        return root_of(self._blob.pieces.size, (records[index].digest for index in range(len(records))))

    def settle(self, now: float) -> None:
        """Pieces that nobody has as the scheduler told: the origin tells who is right, or else the blob's own digest.

        What cannot be fetched right now will be doubted again.
        """
        doubted, self._peers.doubted = self._peers.doubted, 0
        if doubted and not self._origin.fetch_own(doubted, now) and not self._origin.can_fetch:
            self._blob.proof.distrust(doubted)

    # --- what it showed -------------------------------------------------------------------------------------------

    def matched(self) -> None:
        """The digest is right: the scheduler hears which pieces have it, unless it knows."""
        if self._blob.shares_check and not self._root:
            self._blob.means.session.tell(BlobProved(self._blob.task, self._own_root()))

    def failed(self, now: float) -> None:
        """The digest does not match: ask who must know which pieces are wrong, or find it out with the origin."""
        from_peers = self._blob.table.verified & ~self._blob.proof.fetched
        if from_peers and self._cures < CURES_MAX and self._blob.means.session.is_attached:
            self._asks, self.until = True, now + ANSWER_S
            self._blob.join()
        else:
            self._search(now)

    def _cure(self) -> bool:
        """Drop pieces that are not what the owners of leases told, and say who gave them; False if all are."""
        blob = self._blob
        wrong = blob.proof.contradicted() & blob.table.verified
        if not wrong or blob.ring is not None or self._cures >= CURES_MAX:
            return False
        self._end_asking()
        self._cures += 1
        blob.do(Note("blob_mismatch", blob.task, fields=(("doubtful", wrong.bit_count()),)))
        for index in list(availability.indexes(wrong))[:REPORTED_MAX]:
            self._report(index)
        self._drop(wrong)
        self._peers.parents.untake(wrong)
        return True

    def _report(self, index: int) -> None:
        """Say who gave us a piece; that we hold it unawares if nobody knows any more."""
        blob = self._blob
        expected = blob.proof.trusted(index)
        assert expected is not None, "a piece is contradicted by a digest that is trusted"
        actual = blob.proof.records[index].digest
        for host in self._peers.parents.givers_of(index) or [blob.means.info.host]:
            blob.reject(PieceRejected(blob.task, index, host, expected, actual, fits=True))

    def _end_asking(self) -> None:
        self._asks, self.until = False, NEVER

    def _search(self, now: float) -> None:
        """Have all that only hearsay vouches for from the origin, which tells who lied; or blame the origin."""
        self._end_asking()
        blob = self._blob
        self._failed += 1
        from_peers = blob.table.verified & ~blob.proof.fetched
        doubtful = from_peers & ~blob.proof.trusted_bits or from_peers
        blob.do(Note("blob_mismatch", blob.task, fields=(("doubtful", doubtful.bit_count()),)))
        if not doubtful or self._failed >= CHECKS_MAX:
            self._blame_the_origin()
            self.is_hopeless = True
            return
        for index in availability.indexes(doubtful):
            for host in self._peers.parents.givers_of(index):
                blob.proof.suspect(index, host)
        self._drop(doubtful)
        self._peers.parents.untake(doubtful, asks_again=False)
        self._origin.fetch_own(doubtful, now)

    def _drop(self, bits: int) -> None:
        """Have these pieces no more, and let nobody believe that we do."""
        blob = self._blob
        blob.do(DropPieces(blob.task, bits))
        for index in availability.indexes(bits):
            blob.proof.drop(index)
        blob.free(bits, Stage.VERIFIED)
        blob.means.out.extend(blob.means.offers.lost(blob.task, bits))
        blob.means.session.changed(blob)

    def _blame_the_origin(self) -> None:
        """All pieces are what the origin gave, and wrong: keep none of them."""
        blob = self._blob
        session = blob.means.session
        for epoch in sorted({record.epoch for record in blob.proof.records.values()} - {UNGRANTED}):
            session.tell(LeaseFailed(blob.task, epoch, 0, OriginFault.WRONG_CONTENT))
        self._drop(blob.table.verified)

    def validate(self) -> None:
        """Assert that answers are waited for only so long, and that the scheduler explains only so much."""
        assert not (self._asks and self.runs), "the digest is computed while it is known to be wrong"
        assert not self._asks or self.until < NEVER, "an answer is waited for without an end"
        assert self._cures <= CURES_MAX, "the scheduler explained too often"
