"""What to do when all pieces are there, and together they are not the blob that its digest names."""

from dfdaemon.blob_state import BlobState
from dfdaemon.commands import DropPieces
from dfdaemon.origin_side import OriginSide
from dfdaemon.peer_side import PeerSide
from dfdaemon.piece_table import Stage
from swarm import availability
from swarm.facts import Note
from swarm.ids import UNGRANTED
from swarm.messages import LeaseFailed, OriginFault

CHECKS_MAX = 2
"""Times that a blob may turn out wrong: once a host lied; after that the origin's content is wrong."""


class WholeCheck:
    """Finds the pieces that may be wrong, and has them fetched again."""

    def __init__(self, blob: BlobState, peers: PeerSide, origin: OriginSide) -> None:
        self._blob = blob
        self._peers = peers
        self._origin = origin
        self._failed = 0

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
