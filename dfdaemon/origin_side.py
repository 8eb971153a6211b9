"""The side of a download that takes pieces from the origin: leases, and fetches of our own.

What a lease reserves, no parent is asked for; what parents bring is not fetched. Told to the scheduler is only what
is recorded: a lease's next piece never runs ahead of the pieces that Progress says we hold.
"""

from dfdaemon.blob_state import BlobState
from dfdaemon.commands import FetchRange, RaiseLimit, StopFetch
from dfdaemon.events import OriginAdvanced, OriginEnded, OriginPieceArrived
from dfdaemon.leases import ALIVE_SHARE, LEASES_MAX, Lease
from dfdaemon.means import OWN_FETCHES_MAX
from dfdaemon.piece_table import Stage
from swarm import availability, messages
from swarm.facts import Note
from swarm.ids import UNGRANTED, Epoch
from swarm.messages import HeldLease, LeaseFailed, LeaseProgress, OriginFault, PieceRecord, PieceRejected

OWNER_SHARE = 0.8
"""An owner gives up at this part of the lease's time-out, so that never two hosts fetch the same range."""
OWN_TIMEOUT_S = 20.0
"""Silence after which a fetch of our own is given up; no scheduler says how long to wait."""
OWN_TRIES_MAX = 4
"""Fetches of our own that may fail in a row before the origin counts as failed."""
OWN_PAUSE_S = 0.5
"""Pause after the first of them; doubles."""
OWN_PAUSE_MAX_S = 60.0
"""Longest pause, also when a registry asks for more: a client does not wait longer."""
FINAL_FAULTS = frozenset(
    {OriginFault.DENIED, OriginFault.NOT_FOUND, OriginFault.SIZE_MISMATCH, OriginFault.WRONG_CONTENT}
)
"""Faults that another attempt of ours would only repeat."""


class OriginSide:
    """Leases of one download, by epoch; a fetch of our own has the epoch UNGRANTED."""

    def __init__(self, blob: BlobState) -> None:
        self._blob = blob
        self._means = blob.means
        self.leases: dict[Epoch, Lease] = {}
        self.refusal = ""
        """Why the origin will not give us this blob; empty while it may."""
        self.own_at = 0.0
        """No fetch of our own before this time."""
        self._own_tries = 0
        self._no_range = False

    @property
    def is_running(self) -> bool:
        """Whether anything may arrive from the origin, or still be written."""
        return any(lease.running is not None for lease in self.leases.values())

    @property
    def fetches_own(self) -> bool:
        """Whether a fetch that nobody granted runs."""
        return UNGRANTED in self.leases

    @property
    def can_fetch(self) -> bool:
        """Whether a fetch of our own has a chance."""
        return self._blob.may_fetch and not self.refusal

    # --- beginning ------------------------------------------------------------------------------------------------

    def grant(self, said: messages.Lease, now: float) -> None:
        """The scheduler granted a lease, or lets one that we have end earlier: others fetch the rest."""
        blob = self._blob
        known = self.leases.get(said.epoch)
        if known is not None:
            self._shorten(known, said.end, now)
            return
        fault = None if self.can_fetch else OriginFault.DENIED
        good = 0 <= said.start < said.end <= blob.table.count and said.epoch != UNGRANTED
        if blob.closing or len(self.leases) >= LEASES_MAX or not good:
            fault = OriginFault.ABANDONED
        if fault is not None:
            self._means.session.tell(LeaseFailed(blob.task, said.epoch, said.start, fault))
            return
        bits = availability.span(said.start, said.end)
        timeout_s = said.timeout_s * OWNER_SHARE
        lease = Lease(
            said.epoch, said.start, said.end, bits, timeout_s, said.inline, said.no_range, told_at=now
        )
        self.leases[said.epoch] = lease
        self.settle(now)

    def _shorten(self, lease: Lease, end: int, now: float) -> None:
        """End a lease earlier. As long as its run may write beyond, nobody else does."""
        if not lease.start < end < lease.end:
            return
        lease.end = end
        lease.bits &= availability.span(lease.start, end)
        if lease.running is None:
            self._give_up_cut(lease)
        self._stop_if_past(lease)
        self.settle(now)

    def _give_up_cut(self, lease: Lease) -> None:
        given_up = lease.reserved & ~lease.bits
        lease.reserved &= lease.bits
        self._blob.free(given_up, Stage.LEASED)

    def fetch_own(self, bits: int, now: float) -> bool:
        """Fetch these missing pieces without being asked to; False when that must wait, or cannot be."""
        bits &= self._blob.table.missing
        full = self._means.own_fetches >= OWN_FETCHES_MAX or UNGRANTED in self.leases
        if not bits or full or now < self.own_at or not self.can_fetch or self._blob.closing:
            return False
        if self._no_range and not self._blob.is_part:
            bits = self._blob.table.missing  # all is sent anyway, each time from the first byte on
        start, end = (bits & -bits).bit_length() - 1, bits.bit_length()
        self.leases[UNGRANTED] = Lease(UNGRANTED, start, end, bits, OWN_TIMEOUT_S, no_range=self._no_range)
        self._means.own_fetches += 1
        self._blob.do(
            Note("origin_fetched_ungranted", self._blob.task, fields=(("pieces", bits.bit_count()),))
        )
        self.settle(now)
        return True

    def settle(self, now: float) -> None:
        """Bring all leases forward: take over what nobody brings, start runs, end what is over."""
        blob = self._blob
        for lease in list(self.leases.values()):
            if lease.fault is None and not lease.voided and not blob.closing:
                free = lease.bits & blob.table.missing
                if free:
                    blob.table.move(free, Stage.MISSING, Stage.LEASED)
                    lease.reserved |= free
                if lease.running is None and lease.reserved:
                    self._start_run(lease)
            if lease.running is None and not lease.reserved:
                self._end_if_over(lease, now)

    def _start_run(self, lease: Lease) -> None:
        blob = self._blob
        run = lease.next_run(min(blob.readers.lowest(), blob.table.count - 1))
        assert run is not None, "a lease with reserved pieces has a run"
        limit = -1
        if blob.ring is not None:
            limit = blob.ring.end
            if blob.turning or run[0] >= limit:
                return
        lease.running, lease.limit, lease.arrived_in_run, lease.stopping = run, limit, 0, False
        fetch = FetchRange(
            blob.task, lease.epoch, *run, lease.timeout_s, limit, inline=lease.inline, no_range=lease.no_range
        )
        blob.do(fetch)

    # --- news of fetches ------------------------------------------------------------------------------------------

    def advanced(self, event: OriginAdvanced, now: float) -> None:
        """Bytes of a fetch arrive."""
        lease = self.leases.get(event.epoch)
        if lease is None or lease.running is None:
            return
        self._blob.moved_at = now
        self._received(lease, event.received_bytes, now)
        self._tell_alive(lease, now)
        if not lease.answered:
            lease.answered = True
            self._means.session.flush(now)  # other leases may wait to hear that this registry honours ranges

    def _received(self, lease: Lease, in_run: int, now: float) -> None:
        total = max(lease.received_bytes, lease.received_before + in_run)
        self._means.budget.origin.add(total - lease.received_bytes, now)
        self._means.budget.received_bytes += total - lease.received_bytes
        lease.received_bytes = total

    def _tell_alive(self, lease: Lease, now: float) -> None:
        if not lease.is_own and not lease.voided and lease.fault is None:
            lease.told_at = now
            self._means.session.lease_moved(self._progress_of(lease))

    def _progress_of(self, lease: Lease) -> LeaseProgress:
        return LeaseProgress(
            self._blob.task, lease.epoch, lease.next_piece(self._done()), lease.received_bytes
        )

    def _done(self) -> int:
        return self._blob.table.verified | self._blob.table.at(Stage.PASSED)

    def arrived(self, event: OriginPieceArrived, now: float) -> None:
        """A whole piece of a fetch is in its place."""
        blob, index = self._blob, event.record.index
        lease = self.leases.get(event.epoch)
        if lease is None or lease.running is None or not lease.reserved >> index & 1:
            return
        blob.moved_at = now
        lease.reserved &= ~(1 << index)
        lease.arrived_in_run += 1
        self._received(lease, blob.pieces.span_bytes(lease.running[0], index + 1), now)
        if lease.is_own:
            self._own_tries = 0
        convicted = blob.proof.convict(event.record)
        if convicted is not None:
            host, given = convicted
            blob.reject(PieceRejected(blob.task, index, host, event.record.digest, given, fits=True))
        known = blob.proof.trusted(index)
        if lease.is_own and known is not None and known != event.record.digest:
            self._contradict(event.record, known)
        if blob.closing:
            blob.free(1 << index, Stage.LEASED)
        else:
            blob.write(event.record, Stage.LEASED, None)
        self._stop_if_past(lease)

    def _contradict(self, record: PieceRecord, told: bytes) -> None:
        """The origin gives other bytes than the scheduler was told: who told that is to blame, not who passed it on."""
        blob, here = self._blob, self._means.info.host
        blob.reject(PieceRejected(blob.task, record.index, here, record.digest, told, fits=True))

    def recorded(self, index: int, now: float) -> None:
        """A piece is verified: leases that cover it are that much further."""
        for lease in self.leases.values():
            if lease.bits >> index & 1:
                self._tell_alive(lease, now)

    def ended(self, event: OriginEnded, now: float) -> None:
        """A fetch is over."""
        lease = self.leases.get(event.epoch)
        if lease is None or lease.running is None:
            return
        lease.running = None
        lease.received_before = lease.received_bytes
        fault = event.fault
        if fault is None and not lease.stopping and not lease.arrived_in_run:
            fault = OriginFault.CUT  # it says that all arrived, and nothing did
        if fault is not None or lease.voided or self._blob.closing:
            self._release(lease)
        self._give_up_cut(lease)
        if fault is not None and not lease.voided:
            lease.fault, lease.retry_after_s, lease.true_size = fault, event.retry_after_s, event.size
            self._learn(lease, fault, event.detail, now)
        self.settle(now)

    def _learn(self, lease: Lease, fault: OriginFault, detail: str, now: float) -> None:
        """A fetch failed: remember when, and whether, another one of ours makes sense."""
        fields = (("fault", fault.name), ("epoch", lease.epoch), ("detail", detail))
        self._blob.do(Note("origin_fetch_failed", self._blob.task, fields=fields))
        if lease.is_own and fault is OriginFault.NO_RANGE and not self._no_range:
            self._no_range = True
            return
        pause = lease.retry_after_s
        if lease.is_own:
            self._own_tries += 1
            jittered = OWN_PAUSE_S * (0.75 + self._means.dice.share() / 2)
            pause = max(pause, jittered * 2**self._own_tries)
        if fault in FINAL_FAULTS or self._own_tries >= OWN_TRIES_MAX:
            self.refusal = detail or f"the origin failed: {fault.name}"
        self.own_at = now + min(OWN_PAUSE_MAX_S, pause)

    def forget_refusal(self) -> bool:
        """Another client came, with a credential that may do. Returns whether one was refused before."""
        was_refused = bool(self.refusal)
        self.refusal, self._own_tries, self.own_at = "", 0, 0.0
        return was_refused

    # --- ending ---------------------------------------------------------------------------------------------------

    def _release(self, lease: Lease) -> None:
        bits, lease.reserved = lease.reserved, 0
        self._blob.free(bits, Stage.LEASED)

    def _end_if_over(self, lease: Lease, now: float) -> None:
        """Drop a lease without a run when all its pieces are recorded, or that failed or was voided."""
        table = self._blob.table
        if lease.fault is None and not lease.voided and not self._blob.closing:
            if lease.bits & ~self._done():
                return
            self._tell_alive(lease, now)
            if not lease.is_own:
                self._means.session.flush(now)  # its connection is free for the next lease
        elif lease.fault is not None and not lease.is_own and not lease.voided:
            if lease.bits & table.at(Stage.WRITTEN):
                return
            self._tell_failed(lease, now)
        del self.leases[lease.epoch]
        if lease.is_own:
            self._means.own_fetches -= 1

    def _tell_failed(self, lease: Lease, now: float) -> None:
        assert lease.fault is not None, "a failure has its fault"
        session = self._means.session
        session.flush(now)
        next_piece = lease.next_piece(self._done())
        told = (self._blob.task, lease.epoch, next_piece, lease.fault, lease.retry_after_s, lease.true_size)
        session.tell(LeaseFailed(*told))

    def revoke(self, epoch: Epoch, now: float) -> None:
        """The scheduler takes a lease back."""
        lease = self.leases.get(epoch)
        if lease is not None and not lease.is_own:
            lease.voided = True
            self._stop(lease)
            self.settle(now)

    def _stop(self, lease: Lease) -> None:
        if lease.running is None:
            self._release(lease)
        elif not lease.stopping:
            lease.stopping = True
            self._blob.do(StopFetch(self._blob.task, lease.epoch))

    def _stop_if_past(self, lease: Lease) -> None:
        """Stop a run beyond the end of its lease: that end has moved."""
        if lease.running is not None and lease.running[1] > lease.end and lease.place >= lease.end:
            self._stop(lease)

    def stop_own(self, now: float) -> None:
        """Fetch nothing unasked any more: others may have it, or fetch it too."""
        lease = self.leases.get(UNGRANTED)
        if lease is not None:
            lease.voided = True
            self._stop(lease)
            self.settle(now)

    def stop(self, now: float) -> None:
        """The download ends: stop all fetches; leases that nobody voided are given back."""
        for lease in list(self.leases.values()):
            if lease.fault is None and not lease.voided and not lease.is_own:
                next_piece = lease.next_piece(self._done())
                self._means.session.tell(
                    LeaseFailed(self._blob.task, lease.epoch, next_piece, OriginFault.ABANDONED)
                )
            lease.voided = True
            self._stop(lease)
        self.settle(now)

    def held(self) -> tuple[HeldLease, ...]:
        """Return the granted leases that run, for a scheduler that attaches."""
        done = self._done()
        return tuple(
            HeldLease(lease.start, lease.end, lease.next_piece(done), lease.epoch)
            for lease in self.leases.values()
            if not lease.is_own and not lease.voided and lease.fault is None
        )

    # --- in a ring ------------------------------------------------------------------------------------------------

    def clear_for(self, base: int, end: int) -> bool:
        """Stop runs that write outside pieces [base, end) of a ring that moves; True when none is left."""
        clear = True
        for lease in self.leases.values():
            if lease.running is not None and (lease.place < base or lease.limit > end):
                self._stop(lease)
                clear = False
        return clear

    def ring_moved(self, now: float) -> None:
        """The ring has moved: runs may go on."""
        ring = self._blob.ring
        assert ring is not None, "only rings move"
        for lease in self.leases.values():
            lease.reserved &= self._blob.table.at(Stage.LEASED)
            if lease.running is not None and not lease.stopping and lease.limit < ring.end:
                lease.limit = ring.end
                self._blob.do(RaiseLimit(self._blob.task, lease.epoch, ring.end))
        self.settle(now)

    def wakeup_at(self) -> float:
        """Return when to say of a lease that waits for its readers that it is alive."""
        if not self._means.session.is_attached:
            return float("inf")
        waiting = (lease.told_at + lease.timeout_s / ALIVE_SHARE for lease in self._granted())
        return min(waiting, default=float("inf"))

    def _granted(self) -> list[Lease]:
        return [lease for lease in self.leases.values() if not lease.is_own and not lease.voided]

    def due(self, now: float) -> None:
        """Say of leases in a ring that they are alive: their readers may take long."""
        if self._blob.ring is None or self.wakeup_at() > now:
            return
        for lease in self._granted():
            if lease.told_at + lease.timeout_s / ALIVE_SHARE <= now:
                self._tell_alive(lease, now)
                lease.told_at = now

    def validate(self) -> None:
        """Assert that what leases reserve is what the table says."""
        reserved = 0
        for lease in self.leases.values():
            assert not reserved & lease.reserved, "two leases reserve a piece"
            cut_off = lease.reserved & ~lease.bits
            assert not cut_off or lease.running is not None, "a lease reserves what it does not cover"
            reserved |= lease.reserved
        assert reserved == self._blob.table.at(Stage.LEASED), "leases and table disagree"
        assert len(self.leases) <= LEASES_MAX + 1, "too many leases"
