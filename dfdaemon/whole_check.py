"""When all pieces are there: whether they are the blob that its digest names, and what to do if they are not.

The digest is computed here, or, with `verify = "first-nodes"`, by a few hosts whose word is waited for:

| what the scheduler said                           | what happens when all pieces are there                 |
|---------------------------------------------------|--------------------------------------------------------|
| nothing, or there is none; we are to compute it   | the digest is computed                                 |
| others compute it                                 | their word is waited for, for some seconds at most     |
| a root is proven, and our pieces have it          | the blob is complete                                   |
| a root is proven, and our pieces have another one | the digest is computed, and tells who is wrong         |
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
from swarm.messages import LeaseFailed, OriginFault, TaskInfo
from swarm.roots import NO_ROOT, BlobProved, Proven, root_of

CHECKS_MAX = 2
"""Times that a blob may turn out wrong: once a host lied; after that the origin's content is wrong."""
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
        self.runs = False
        """The digest is being computed."""
        self.until = NEVER
        """When the word of others is waited for no longer."""
        self._spared = False
        self._root = NO_ROOT
        self._follows = not blob.shares_check

    # --- who computes it ------------------------------------------------------------------------------------------

    @property
    def follows(self) -> bool:
        """Whether the digest is computed behind the download."""
        return self._follows

    def informed(self, message: TaskInfo) -> None:
        """The scheduler says whether others compute the digest; one of an earlier version does not know."""
        self._spared = message.is_spared and self._blob.shares_check
        if not self._spared:
            self._follow()

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
            self._follow()

    def _follow(self) -> None:
        if not self._follows and self._blob.ring is None:
            self._follows = True
            self._blob.do(FollowBlob(self._blob.task))

    def is_proven(self, now: float) -> bool:
        """All pieces are there: tell whether others vouch for them. If not, wait for that, or compute the digest."""
        if self._root and self._root == self._own_root():
            return True
        if not self._waits(now):
            self.runs, self.until = True, NEVER
            self._blob.do(CheckBlob(self._blob.task))
        return False

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

    # --- what it showed -------------------------------------------------------------------------------------------

    def matched(self) -> None:
        """The digest is right: the scheduler hears which pieces have it, unless it knows."""
        if self._blob.shares_check and not self._root:
            self._blob.means.session.tell(BlobProved(self._blob.task, self._own_root()))

    def failed(self, now: float) -> bool:
        """The digest does not match. Drops what only hearsay vouches for; False when nothing can be done."""
        blob = self._blob
        self._failed += 1
        from_peers = blob.table.verified & ~blob.proof.fetched
        doubtful = from_peers & ~blob.proof.trusted_bits or from_peers
        blob.do(Note("blob_mismatch", blob.task, fields=(("doubtful", doubtful.bit_count()),)))
        if not doubtful or self._failed >= CHECKS_MAX:
            self._blame_the_origin()
            return False
        self._drop(doubtful)
        self._origin.fetch_own(doubtful, now)
        return True

    def _drop(self, doubtful: int) -> None:
        """Forget pieces, but not who gave them: the origin's bytes will tell who lied."""
        blob = self._blob
        blob.do(DropPieces(blob.task, doubtful))
        for index in availability.indexes(doubtful):
            for host in self._peers.parents.givers_of(index):
                blob.proof.suspect(index, host)
            blob.proof.drop(index)
        blob.free(doubtful, Stage.VERIFIED)
        self._peers.parents.untake(doubtful)

    def _blame_the_origin(self) -> None:
        """All pieces are what the origin gave, and wrong: keep none of them."""
        blob = self._blob
        session = blob.means.session
        for epoch in sorted({record.epoch for record in blob.proof.records.values()} - {UNGRANTED}):
            session.tell(LeaseFailed(blob.task, epoch, 0, OriginFault.WRONG_CONTENT))
        blob.do(DropPieces(blob.task, blob.table.verified))
        for index in availability.indexes(blob.table.verified):
            blob.proof.drop(index)
        blob.free(blob.table.verified, Stage.VERIFIED)
