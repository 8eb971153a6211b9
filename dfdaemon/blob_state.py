"""What both sides of a download, the peers' and the origin's, know and change: the pieces of one blob."""

from dfdaemon.commands import Command, CommitPiece
from dfdaemon.events import BlobWanted
from dfdaemon.means import Means
from dfdaemon.piece_table import PieceTable, Stage
from dfdaemon.proof import Proof
from dfdaemon.readers import Readers
from dfdaemon.ring import Ring
from swarm import availability
from swarm.facts import Note
from swarm.ids import HostId
from swarm.layers import PAUSE_S, Layer
from swarm.messages import ActiveTask, HeldLease, Join, PieceRecord, PieceRejected, TaskProgress
from swarm.pieces import PieceMap

READ_SHARE = 8
"""When this part of a blob was read in parts, the rest follows: lazy readers fetch it in the background, bit by bit,
and as a whole it leaves the origin once."""
HASHED_ALONE_BYTES_MAX = 1 << 20
"""A blob up to this size is hashed in a millisecond: that is less than to talk about it."""
ASK_S = 1.0
"""Pause after the scheduler was asked for the piece digests that it knows; doubles."""
REJECTED_MAX = 256
"""Hosts remembered that gave wrong pieces of one blob; more than that is a lost cluster."""


class BlobState:
    """One blob on its way."""

    def __init__(self, wanted: BlobWanted, means: Means, now: float) -> None:
        self.task = wanted.task
        self.registry = wanted.registry
        self.may_fetch = wanted.may_fetch
        self.priority = wanted.priority
        self.layer = wanted.layer
        self.is_part = wanted.part
        """Nobody here wants more of it than its readers read."""
        self.means = means
        self.pieces = PieceMap.of(wanted.size)
        self.table = PieceTable(self.pieces.count)
        self.proof = Proof(self.pieces.count)
        self.readers = Readers(self.pieces)
        self.ring: Ring | None = None
        self.turning = False
        """The ring is to move, and waits until nothing is in flight where it goes."""
        self.closing = False
        """The download ends: nothing new is begun."""
        self.disk_faults = 0
        """Pieces in a row that the disk did not take."""
        self.began_at = self.moved_at = now
        """When anything arrived last."""
        self._ask_at, self._ask_pause_s = now, ASK_S
        self._unsent: list[PieceRecord] = []
        self._rejected: dict[HostId, PieceRejected] = {}
        self._misled: list[PieceRejected] = []
        """What fitted, and was wrong all the same: whoever gave it may have been misled, too."""

    def do(self, command: Command) -> None:
        """Have something done."""
        self.means.out.append(command)

    @property
    def turn(self) -> Layer | None:
        """Its place among others; none where it is read in parts, and nothing is unpacked in order."""
        return None if self.is_part else self.layer

    def waits_its_turn(self, offered: int, now: float) -> bool:
        """Tell whether it could ask for what parents offer, and does not, for the sake of an earlier layer.

        It gets something every PAUSE_S then: if it does not, it waits for something else.
        """
        recent = now - self.moved_at < 2 * PAUSE_S
        return recent and bool(offered & self.wanted()) and self.means.has_earlier(self.turn)

    def ripen(self) -> None:
        """There may be something to ask for."""
        self.means.ripe[self.task] = self.turn

    def want(self, wanted: BlobWanted) -> bool:
        """Another client wants it. Returns whether the scheduler must hear that there is more to it now."""
        more = (wanted.may_fetch and not self.may_fetch) or (self.is_part and not wanted.part)
        self.may_fetch |= wanted.may_fetch
        self.is_part &= wanted.part
        self.layer = self.layer or wanted.layer
        self.priority = min(self.priority, wanted.priority)
        return more

    @property
    def is_worth_the_rest(self) -> bool:
        """Whether so much of it was read in parts that the rest is wanted too."""
        held = self.table.verified.bit_count()
        return bool(self.table.missing) and not self.closing and held * READ_SHARE >= self.table.count

    @property
    def shares_check(self) -> bool:
        """Whether a few hosts compute its own digest for all: not of what never becomes whole here."""
        large = self.pieces.size > HASHED_ALONE_BYTES_MAX
        return self.means.first_nodes and large and self.ring is None and not self.is_part

    def wanted(self) -> int:
        """Return the pieces that may be asked for: missing, wanted, and with a place to go to."""
        if self.closing or self.turning:
            return availability.NONE
        if self.ring is not None:  # of use to its readers alone
            return self.table.missing & self.ring.window & self.readers.demand()
        return self.table.missing & self.readers.demand() if self.is_part else self.table.missing

    def write(self, record: PieceRecord, stage: Stage, source: HostId | None, scratch: bool = False) -> None:
        """A piece's bytes are right: have them recorded."""
        self.table.move(1 << record.index, stage, Stage.WRITTEN)
        self.proof.hold(record, from_origin=source is None)
        self.do(CommitPiece(self.task, record, scratch, source))

    def free(self, bits: int, stage: Stage) -> None:
        """Nobody brings these pieces any more."""
        if bits:
            self.table.move(bits, stage, Stage.MISSING)
            self.ripen()

    def drop(self, index: int, stage: Stage) -> None:
        """A piece that was held, or written, is gone."""
        self.proof.drop(index)
        self.free(1 << index, stage)

    # --- for the scheduler ------------------------------------------------------------------------------------

    def join(self) -> None:
        """Tell the scheduler that we want this blob, and what we hold of it."""
        leased = self.may_fetch and not self.is_part
        said = (self.task, self.pieces.size, self.registry, leased, self.ring is None, self.priority)
        self.means.session.tell(Join(*said, self._told_bits, self.shares_check, self.layer))

    def ask_for_records(self, now: float) -> None:
        """Claims about a piece differ: have the scheduler tell what it knows, but not all the time."""
        if now >= self._ask_at and self.means.session.is_attached:
            self._ask_at = now + self._ask_pause_s
            self._ask_pause_s *= 2
            self.join()

    def active_task(self, leases: tuple[HeldLease, ...]) -> ActiveTask:
        """Return what a scheduler that attaches must know."""
        said = (
            self.task,
            self.pieces.size,
            self.registry,
            self._told_bits,
            self.may_fetch and not self.is_part,
            self.ring is None,
        )
        return ActiveTask(*said, leases, self.shares_check, self.layer)

    @property
    def _told_bits(self) -> int:
        """What a ring holds is for us alone."""
        return self.table.verified if self.ring is None else availability.NONE

    def gained(self, record: PieceRecord) -> None:
        """A piece is verified: the scheduler hears of it, with its record if we fetched it from the origin."""
        if self.ring is None:
            if self.proof.fetched >> record.index & 1:
                self._unsent.append(record)
            self.means.session.changed(self)

    def reject(self, rejected: PieceRejected) -> None:
        """A host gave a piece that is not right: the scheduler hears of it, and so does one that comes after it."""
        if rejected.fits and len(self._misled) < REJECTED_MAX:
            self._misled.append(rejected)
        elif not rejected.fits and len(self._rejected) < REJECTED_MAX:
            self._rejected.setdefault(rejected.parent, rejected)
        self.means.session.tell(rejected)
        self.do(Note("piece_rejected", self.task, rejected.parent, (("index", rejected.index),)))

    def has_rejected(self, host: HostId) -> bool:
        """Whether this host itself gave us a piece that is not right, and made it."""
        return host in self._rejected

    def tell_again(self) -> None:
        """A scheduler that knows nothing attached: it needs the records of all that we fetched, and whom we reject.

        And with nobody to ask for pieces, we call it for help.
        """
        self.ripen()
        for rejected in [*self._rejected.values(), *self._misled]:
            self.means.session.tell(rejected)
        verified = self.table.verified & self.proof.fetched
        self._unsent = [self.proof.records[index] for index in availability.indexes(verified)]
        if self._unsent and self.ring is None:
            self.means.session.changed(self)

    def progress(self) -> TaskProgress:
        """Return what is held, and records that were not told before."""
        unsent, self._unsent = tuple(self._unsent), []
        return TaskProgress(self.task, self.table.verified, unsent)

    def validate(self) -> None:
        """Assert that stages and records agree."""
        self.table.validate()
        held = self.table.verified | self.table.at(Stage.WRITTEN)
        if self.ring is None:
            recorded = sum(1 << index for index in self.proof.records)
            assert not recorded & ~held, "records are kept of pieces held, and of no others"
        else:
            self.ring.validate()
