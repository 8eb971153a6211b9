"""One blob on its way: from the first client that wants it until nobody needs the download any more.
Its phases: dfdaemon/phase.py.

Order of durability: bytes written -> piece verified -> recorded -> announced; all recorded -> blob's own digest
checked -> complete. A download is closed only when nothing writes any more.
"""

from dfdaemon import events
from dfdaemon.blob_state import BlobState
from dfdaemon.commands import CloseTask, CompleteBlob, FailReaders, OpenStore, ReleaseReaders
from dfdaemon.fallback import Fallback
from dfdaemon.inline_side import InlineSide
from dfdaemon.means import Means
from dfdaemon.origin_side import OriginSide
from dfdaemon.peer_side import PeerSide
from dfdaemon.phase import SWARMING, Phase
from dfdaemon.piece_table import Stage
from dfdaemon.ring_side import RingSide
from dfdaemon.whole_check import WholeCheck
from swarm import messages
from swarm.facts import Note
from swarm.ids import UNGRANTED, TaskId
from swarm.messages import ActiveTask, Completed, Leave, PieceRecord

NEVER = float("inf")
IDLE_S = 120.0
"""An incomplete download that nobody reads is given up after this time without progress; others may depend on it."""
LINGER_S = 1.0
"""A download that is done, and a ring, waits this long for its first or next reader."""
LOST_MAX = 8
"""Pieces in a row that the disk may not take before it counts as broken."""


class Download:
    """Takes the events of one task (dfdaemon/routes.py); commands go to means.out."""

    def __init__(self, wanted: events.BlobWanted, means: Means, now: float) -> None:
        self.blob = BlobState(wanted, means, now)
        self.peers = PeerSide(self.blob)
        self.origin = OriginSide(self.blob)
        self.phase = Phase.OPENING
        self._means = means
        self._fallback = Fallback(self.blob, self.peers, self.origin)
        self._failure = ""
        self._close_at = NEVER
        self.check = WholeCheck(self.blob, self.peers, self.origin)
        self._inline_side = InlineSide(self.blob)
        self._ring = RingSide(self.blob, self.peers, self.origin)
        self.blob.do(OpenStore(wanted.task, wanted.size, self.check.follows))

    @property
    def task(self) -> TaskId:
        """Its blob."""
        return self.blob.task

    @property
    def in_flight(self) -> int:
        """Requests to parents that are open."""
        return len(self.peers.transfers)

    def settle(self, now: float) -> None:
        """Do what follows from what happened, whatever it was."""
        if self.blob.disk_faults >= LOST_MAX and self.phase in SWARMING:
            self.fail(
                "the disk does not take this blob: look at store.directory and at the kernel's log", now
            )
        if self.origin.leases:
            self.origin.settle(now)
        self._ring.settle(now)
        self._inline_side.settle(now)
        self.check.settle(now)
        if self.phase is Phase.RUNNING and self.blob.ring is None and self.blob.table.is_whole:
            self.phase = Phase.CHECKING
        if self.phase is Phase.CHECKING and not self.check.runs:
            self._examine(now)
        if self.phase is Phase.CLOSING and self._is_drained():
            self.phase = Phase.CLOSED
            self.blob.do(CloseTask(self.task))

    def ask(self, now: float) -> bool:
        """Ask a parent for one piece; False when there is nothing to ask."""
        return self.phase is Phase.RUNNING and self.peers.ask(now)

    # --- clients ------------------------------------------------------------------------------------------------

    def wanted(self, event: events.BlobWanted, now: float) -> None:
        """Another client wants it: perhaps with a credential, or more urgently."""
        blob = self.blob
        if self._failure:
            blob.do(FailReaders(self.task, self._failure))
            return
        more = blob.want(event) | (event.may_fetch and self.origin.forget_refusal())
        if self.phase is Phase.CLOSING:
            self.phase = Phase.CHECKING if self.check.runs else Phase.RUNNING
            self._close_at, blob.closing = NEVER, False
            if blob.ring is None:
                self._offer()
            self._enter_swarm(now)
        elif more and self.phase is Phase.RUNNING:
            self._enter_swarm(now)

    def reader_opened(self, event: events.ReaderOpened, now: float) -> None:
        """A client begins to read."""
        self.blob.readers.open(event.reader, event.offset, event.end, now)
        self._close_at = NEVER
        self._release()
        self._fallback.reader_came(now)
        self.blob.ripen()

    def reader_closed(self, event: events.ReaderClosed, now: float) -> None:
        """A client is done, or gone: perhaps it was the last."""
        self.blob.readers.close(event.reader)
        if len(self.blob.readers) or self.phase in (Phase.OPENING, Phase.CLOSING):
            return
        if self.blob.ring is not None or self.phase is Phase.WHOLE:
            self.close(now)
        else:
            self._close_at = max(now, self.blob.moved_at) + IDLE_S

    def _release(self) -> None:
        """Let readers have what is verified, and no more."""
        verified = self.blob.table.verified
        if (verified or self.phase is Phase.WHOLE) and len(self.blob.readers):
            self.blob.do(ReleaseReaders(self.task, verified))

    # --- the store ----------------------------------------------------------------------------------------------

    def store_opened(self, event: events.StoreOpened, now: float) -> None:
        """There is room on disk, and perhaps some of the blob already."""
        for record in event.records:
            self.blob.table.move(1 << record.index, Stage.MISSING, Stage.VERIFIED)
            self.blob.proof.hold(record, from_origin=False)
        if event.complete:
            self._hold_all((), now)
            return
        self._offer()
        self.phase = Phase.RUNNING
        self._release()
        self._wait_for_readers(now)
        self._enter_swarm(now)

    def _hold_all(self, records: tuple[PieceRecord, ...], now: float) -> None:
        """All of the blob is on disk, and right."""
        blob = self.blob
        for record in records:
            blob.proof.hold(record, from_origin=False)
        blob.table.move(blob.table.missing, Stage.MISSING, Stage.VERIFIED)
        self._offer()
        self._be_whole(now)

    def _be_whole(self, now: float) -> None:
        self.phase = Phase.WHOLE
        self._release()
        self.peers.leave()
        self.origin.stop(now)
        self._fallback.at = self._close_at = NEVER
        self._wait_for_readers(now)

    def _wait_for_readers(self, now: float) -> None:
        if not len(self.blob.readers):
            patient = self.phase is Phase.RUNNING and self.blob.ring is None
            self._close_at = now + (IDLE_S if patient else LINGER_S)

    def store_refused(self, event: events.StoreRefused, now: float) -> None:
        """There is no room on disk: stream through a ring in memory."""
        if self.phase is Phase.RUNNING:
            self._inline_lost(now)
            return
        self._ring.open()
        self.blob.is_part = False
        self.phase = Phase.RUNNING
        self._wait_for_readers(now)
        self._ring.settle(now)
        self._enter_swarm(now)

    def piece_committed(self, event: events.PieceCommitted, now: float) -> None:
        """A piece is recorded: announce it."""
        blob = self.blob
        if not blob.table.is_at(event.index, Stage.WRITTEN):
            return
        blob.table.move(1 << event.index, Stage.WRITTEN, Stage.VERIFIED)
        record = blob.proof.records[event.index]
        blob.disk_faults = 0
        if self.phase is Phase.CLOSING:
            return
        self._release()
        if blob.ring is None:
            blob.gained(record)
            self._means.out.extend(self._means.offers.gained(self.task, (record,), now))
        if self.origin.leases:
            self.origin.recorded(event.index, now)
        if not len(blob.readers) and self._close_at != NEVER:
            self._close_at = now + IDLE_S

    def piece_lost(self, event: events.PieceLost, now: float) -> None:
        """A piece could not be recorded, or turned out damaged: it is missing again."""
        blob = self.blob
        if blob.table.is_at(event.index, Stage.VERIFIED):
            blob.drop(event.index, Stage.VERIFIED)
            self._take_back(1 << event.index)
            self._release()
            if self.phase is Phase.WHOLE:
                self.phase = Phase.RUNNING
                self._enter_swarm(now)
        elif blob.table.is_at(event.index, Stage.WRITTEN):
            blob.drop(event.index, Stage.WRITTEN)
            blob.disk_faults += 1

    def _take_back(self, bits: int) -> None:
        """What we hold became less: offer it no more, and let the scheduler know."""
        if self.blob.ring is None:
            self._means.out.extend(self._means.offers.lost(self.task, bits))
            self._means.session.changed(self.blob)

    def _offer(self) -> None:
        """Let other hosts take what we hold, and hear of what we gain."""
        records = tuple(self.blob.proof.records.values())
        self._means.out.extend(self._means.offers.offer(self.task, self.blob.pieces.size, records))

    # --- the whole blob -------------------------------------------------------------------------------------------

    def _examine(self, now: float) -> None:
        """All pieces were there: see whether they are the blob."""
        if self.blob.table.is_whole and self.check.is_proven(now):
            self._complete(now, proven=True)
        elif self.check.is_hopeless:
            self.fail("the origin's content does not have the digest that names it", now)
        elif not self.blob.table.is_whole:
            self._search_on(now)

    def _search_on(self, now: float) -> None:
        """A piece was lost while the digest was computed, or is wrong."""
        self.phase = Phase.RUNNING
        self._fallback.search_on(now)

    def _complete(self, now: float, proven: bool) -> None:
        self.blob.do(CompleteBlob(self.task, proven))
        self._means.session.flush(now)
        self._means.session.tell(Completed(self.task))
        self._be_whole(now)

    def blob_checked(self, event: events.BlobChecked, now: float) -> None:
        """The blob's own digest was computed."""
        self.check.runs = False
        if self.phase is not Phase.CHECKING:
            return
        if not self.blob.table.is_whole:
            self._search_on(now)
        elif event.matches is None:
            self.fail("its file cannot be read, so its digest cannot be computed: check the disk", now)
        elif event.matches:
            self.check.matched()
            self._complete(now, proven=False)
        else:
            self.check.failed(now)

    # --- the scheduler --------------------------------------------------------------------------------------------

    def _enter_swarm(self, now: float) -> None:
        self.blob.join()
        self.check.link_changed()
        self._fallback.begin(now)
        self.blob.ripen()

    def active_task(self) -> ActiveTask | None:
        """Return what a scheduler that attaches must know; None when there is nothing to it."""
        return self.blob.active_task(self.origin.held()) if self.phase in SWARMING else None

    def link_changed(self, now: float) -> None:
        """A scheduler is there, and was told of us; or there is none any more, or never was."""
        if self.phase in SWARMING:
            self.check.link_changed()
            self._fallback.link_changed(now)
            self.blob.tell_again()
            self.settle(now)

    def info_said(self, message: messages.TaskInfo, now: float) -> None:
        """The scheduler acknowledges us."""
        if message.size not in (self.blob.pieces.size, -1):
            self._leave_swarm(message.size, now)
        else:
            self.check.informed(message, now)

    def _leave_swarm(self, size: int, now: float) -> None:
        """The cluster knows this blob with another size: one of us is wrong, and only the origin knows who."""
        told = f"the cluster knows this blob with {size} bytes, the client with {self.blob.pieces.size}"
        self.blob.do(Note("size_disputed", self.task, fields=(("reason", told),)))
        self.peers.leave()
        self._means.session.tell(Leave(self.task))
        if self._fallback.no_source(messages.OriginFault.SIZE_MISMATCH, now):
            self.fail(told, now)

    def lease_granted(self, message: messages.Lease, now: float) -> None:
        """We are to fetch a range from the origin."""
        self.origin.grant(message, now)

    def no_source_said(self, message: messages.NoSource, now: float) -> None:
        """The scheduler has nobody to help us."""
        hopeless = self._fallback.no_source(message.fault, now)
        if hopeless:
            self.fail(hopeless, now)

    def inline_said(self, message: messages.Inline, now: float) -> None:
        """A tiny blob, whole. There is no room for it where there is a ring: the origin must give it again."""
        if self.blob.ring is None:
            self._inline_side.take(message.content)
        elif not self.origin.can_fetch:
            self.fail("the disk has no room, and no credential of this host lets it ask the origin", now)
        else:
            self._fallback.search_on(now)

    def inline_written(self, event: events.InlineWritten, now: float) -> None:
        """A tiny blob is whole in the store."""
        if self._inline_side.end() and self.phase is Phase.RUNNING:
            self._hold_all(event.records, now)
            self._means.session.tell(Completed(self.task))

    def _inline_lost(self, now: float) -> None:
        """A tiny blob that came with the scheduler's answer was wrong, or not written: ask the origin."""
        if self._inline_side.end():
            self._fallback.search_on(now)

    # --- the origin -----------------------------------------------------------------------------------------------

    def origin_ended(self, event: events.OriginEnded, now: float) -> None:
        """A fetch is over."""
        self.origin.ended(event, now)
        if self.phase is Phase.RUNNING and (event.epoch == UNGRANTED or not self._means.session.is_attached):
            self._fallback.own_ended(now)

    # --- the end --------------------------------------------------------------------------------------------------

    def fail(self, reason: str, now: float) -> None:
        """The download cannot go on: readers go elsewhere."""
        self._failure = reason
        self.blob.do(Note("download_failed", self.task, fields=(("reason", reason),)))
        self.blob.do(FailReaders(self.task, reason))
        self.close(now)

    def close(self, now: float) -> None:
        """Nobody needs the download any more: end everything that moves. A whole blob stays, and stays offered."""
        was_whole = self.phase is Phase.WHOLE
        self.phase = Phase.CLOSING
        self._close_at = self._fallback.at = NEVER
        self.blob.closing = True
        self.peers.leave()
        self.origin.stop(now)
        self._means.session.forget(self.task)
        if not was_whole:
            self._means.session.tell(Leave(self.task))
            self._means.out.extend(self._means.offers.forget(self.task))

    def _is_drained(self) -> bool:
        """Whether nothing writes any more."""
        return not (
            self.in_flight or self.origin.leases or self.blob.table.at(Stage.WRITTEN) or self.check.runs
        )

    # --- time -----------------------------------------------------------------------------------------------------

    def wakeup_at(self) -> float:
        """Return when to call `due`."""
        if self.phase is Phase.WHOLE and not self.in_flight:
            return self._close_at
        at = min(self.peers.wakeup_at(), self._close_at)  # two at a time: mypyc makes a comparison of it
        at = min(at, self._inline_side.until)
        if self.phase is Phase.RUNNING:
            at = min(at, self._fallback.at)
        elif self.phase is Phase.CHECKING:
            at = min(at, self.check.until)
        return at if self.blob.ring is None else min(at, self.origin.wakeup_at())

    def due(self, now: float) -> None:
        """Do what time asks for."""
        self.peers.due(now)
        self.origin.due(now)
        if self._inline_side.until <= now:
            self._inline_lost(now)
        if self._close_at <= now:
            self.close(now)
        hopeless = self._fallback.due(now) if self.phase is Phase.RUNNING else ""
        if hopeless:
            self.fail(hopeless, now)
        self.settle(now)

    def validate(self) -> None:
        """Assert all invariants; O(pieces)."""
        self.blob.validate()
        self.peers.validate()
        self.origin.validate()
        self.check.validate()
        if self.phase is Phase.WHOLE:
            assert self.blob.table.is_whole, "a whole blob misses pieces"
            assert self.blob.ring is None, "a ring holds no whole blob"
        assert (self.phase in (Phase.CLOSING, Phase.CLOSED)) == self.blob.closing, "closing, and not closing"
