"""The side of a download that takes pieces from other hosts: whom it knows, what it asks, what it believes."""

from math import exp

from dfdaemon import picker
from dfdaemon.blob_state import BlobState
from dfdaemon.commands import CancelRequest, RequestPiece, Subscribe, Unsubscribe
from dfdaemon.events import (
    ParentAvailable,
    ParentBusy,
    ParentGone,
    ParentHas,
    PeerFault,
    PieceArrived,
    PieceFailed,
)
from dfdaemon.imports import ImportLease
from dfdaemon.parents import ParentTable, Peer
from dfdaemon.piece_table import Stage
from dfdaemon.transfers import Request, Transfers
from swarm.ids import HostId
from swarm.messages import Imports, Parent, PieceRecord, PieceRejected

STARVING_BUSY_S = 0.1
"""How long all useful parents must be busy before the scheduler is asked for others."""
THIRST_S = 0.25
"""The same as a sum over THIRST_SPAN_S: a parent that is free now and then does not hide that all are too busy."""
THIRST_SPAN_S = 1.0
STARVING_EMPTY_S = 0.02
"""The same when no parent has anything: news of pieces travel in batches of 10 ms."""
LOOK_AGAIN_S = 0.5
"""Without a scheduler, how often a host with nothing to ask for looks whether it should import more."""
REFUSED_S = 5.0
"""How long only other bytes may come for a piece than the scheduler told, before the origin is asked who is right."""
NEVER = float("inf")


class PeerSide:
    """Parents and requests of one download."""

    def __init__(self, blob: BlobState) -> None:
        self._blob = blob
        self._means = blob.means
        self.parents = ParentTable(blob.means.info.zone, blob.means.book)
        self.imports = ImportLease(blob, self.parents)
        self.transfers = Transfers(blob.means.book, blob.pieces.size)
        self._won: dict[int, tuple[PieceRecord, Peer]] = {}
        """Hedges that arrived, right, and wait in scratch space until the original stops writing."""
        self._refused: dict[int, float] = {}
        """Since when a piece comes only with other bytes than the scheduler told."""
        self.doubted = 0
        """Pieces that nobody seems to have as the scheduler told: the origin must tell."""
        self._retry_at = NEVER
        self._dry_at = NEVER
        self._dry_since = NEVER
        self._thirst_s = 0.0
        self._thirst_at = 0.0

    # --- parents ------------------------------------------------------------------------------------------------

    def meet(self, parents: tuple[Parent, ...]) -> None:
        """Call these hosts, if they are new and there is room for them."""
        blob = self._blob
        for said in parents:
            if said.host == self._means.info.host:
                continue
            missing, far = blob.table.missing, self.imports.far(blob.table.missing)
            useless = (p for p in self.parents if p.away or not p.bits & (missing if p.is_near else far))
            if self.parents.add(said, useless) is not None:
                blob.do(Subscribe(said, blob.task))

    def available(self, event: ParentAvailable, now: float) -> None:
        """A parent told what it holds."""
        peer = self.parents.get(event.parent)
        if peer is None or event.bits >> self._blob.table.count:
            return
        self.parents.answered(peer)
        self._means.session.remember(peer.said)
        if self.parents.holds(peer, event.bits) & self._blob.table.missing:
            self._blob.ripen()

    def has(self, event: ParentHas, now: float) -> None:
        """A parent gained pieces."""
        peer = self.parents.get(event.parent)
        if peer is None or peer.away:
            return
        bits = peer.bits
        for record in event.records:
            bits |= 1 << record.index
        if bits == peer.bits or bits >> self._blob.table.count:
            return
        if self._blob.proof.hear(event.parent, event.records):
            self._blob.ask_for_records(now)
        if self.parents.holds(peer, bits) & self._blob.table.missing:
            self._blob.ripen()

    def gone(self, event: ParentGone, now: float) -> None:
        """A parent does not have this blob."""
        peer = self.parents.get(event.parent)
        if peer is not None:
            self.parents.remove(peer)
            self._blob.ripen()

    def lost(self, host: HostId, now: float) -> None:
        """The connection to a parent failed."""
        peer = self.parents.get(host)
        if peer is not None and not peer.away:
            self.parents.lose(peer, self._means.dice.share(), now)
            self._blob.ripen()

    def shun(self, host: HostId) -> None:
        """Take nothing from a host any more, nor what is on its way from it."""
        peer = self.parents.get(host)
        if peer is None:
            return
        self.parents.ban(peer)
        self._blob.do(Unsubscribe(host, self._blob.task))
        for request in self.transfers.of_host(host):
            self._cancel(request)
        self._blob.ripen()

    def pardon(self, host: HostId) -> None:
        """A host was shunned on another's word, which counts no more; what we saw ourselves still does."""
        if not self._blob.has_rejected(host):
            self.parents.pardon(host)

    def to_import(self, message: Imports, now: float) -> None:
        """We are to take pieces from other zones."""
        self.imports.grant(message.bits)
        self._blob.ripen()

    # --- asking ---------------------------------------------------------------------------------------------------

    def ask(self, now: float) -> bool:
        """Ask a parent for a piece; False when there is nothing to ask anybody."""
        blob = self._blob
        wanted = blob.wanted()
        if not wanted:
            self._no_need(now)
            return False
        if not self.transfers.may_start(blob.table.had, self._means.budget.in_flight):
            self._means.held_back[blob.task] = blob.turn
            return False
        length = blob.pieces.piece_bytes
        far = self.imports.far(wanted)
        open_parents, offered = self.parents.with_room(wanted, far, length, now)
        places = blob.readers.urgent(blob.table.verified, self._means.book.typical_pace * length, now)
        index = picker.pick_piece(
            wanted, offered, places, self.parents.rarity, self.parents.near, self._means.dice
        )
        if index is None:
            self._run_dry(wanted, far, now)
            return False
        self._no_need(now)
        self._send(picker.pick_parent(open_parents, index, self._means.dice), index, False, now)
        if self.imports.is_last(index):
            self._means.session.flush(now)  # the next one may come while this one arrives
        return True

    def _send(self, peer: Peer, index: int, scratch: bool, now: float) -> None:
        blob = self._blob
        share = self._means.budget.take(peer.host.bytes_per_s, self._means.book.typical_bytes_per_s)
        request = Request(peer, index, scratch, now, share)
        peer.host.open_requests += 1
        if not scratch:
            blob.table.move(1 << index, Stage.MISSING, Stage.REQUESTED)
        self.transfers.start(request, blob.pieces.length(index), last=not blob.table.missing)
        blob.do(RequestPiece(peer.name, blob.task, index, scratch))

    def _no_need(self, now: float) -> None:
        if self._dry_since != NEVER:
            self._thirst_s = self._thirst(now) + now - self._dry_since
            self._thirst_at = now
        self._dry_at = self._retry_at = self._dry_since = NEVER
        self._means.dry.pop(self._blob.task, None)

    def _run_dry(self, wanted: int, far: int, now: float) -> None:
        """Nobody can be asked for any of `wanted`: note when to look again, and when to call for help."""
        self._means.dry[self._blob.task] = self._blob.turn
        waits = [p.host.free_at() for p in self.parents if p.bits & (wanted if p.is_near else far)]
        self._retry_at = min((at for at in waits if at > now), default=NEVER)
        if self._dry_at == NEVER:
            patience = min(STARVING_BUSY_S, max(STARVING_EMPTY_S, THIRST_S - self._thirst(now)))
            self._dry_at = now + (patience if waits else STARVING_EMPTY_S)
            self._dry_since = now

    def _thirst(self, now: float) -> float:
        """Return the seconds without anybody to ask, of late: older ones fade."""
        return self._thirst_s * exp((self._thirst_at - now) / THIRST_SPAN_S)

    # --- answers --------------------------------------------------------------------------------------------------

    def arrived(self, event: PieceArrived, now: float) -> None:
        """A piece is here: believe it, or not."""
        index = event.claimed.index
        request = self.transfers.find(event.parent, index, event.scratch)
        if request is None:
            return
        self._end(request)
        blob = self._blob
        blob.moved_at = now
        host = request.peer.host
        length = blob.pieces.length(index)
        self._means.budget.received_bytes += length
        self._means.book.delivered(host, length, now - request.started, event.seconds)
        self._means.session.piece_came(now - request.started)
        expected = blob.proof.expected(event.claimed)
        if event.actual != event.claimed.digest:
            self._reject(event, event.claimed.digest)
            self.shun(event.parent)
        elif event.actual != expected:
            self._refuse(request.peer, event, expected, now)
        elif not self.parents.is_banned(event.parent) and not blob.closing:
            if blob.proof.is_contested(event.claimed):
                blob.ask_for_records(now)
            self._believe(request, event.claimed)
        self._settle(index)

    def _believe(self, request: Request, record: PieceRecord) -> None:
        """Take a right piece, unless a hedge of it was right before, or the other copy must end first."""
        index = record.index
        if not self._blob.table.is_at(index, Stage.REQUESTED) or index in self._won:
            return
        other = (self.transfers.requests if request.scratch else self.transfers.hedges).get(index)
        if other is not None:
            self._cancel(other)
        if request.scratch and other is not None:
            self._won[index] = (record, request.peer)
        else:
            self._take(record, request.peer, request.scratch)

    def _take(self, record: PieceRecord, peer: Peer, scratch: bool) -> None:
        peer.taken |= 1 << record.index
        self._blob.write(record, Stage.REQUESTED, peer.name, scratch)

    def _reject(self, event: PieceArrived, expected: bytes, fits: bool = False) -> None:
        blob, index = self._blob, event.claimed.index
        blob.reject(PieceRejected(blob.task, index, event.parent, expected, event.actual, fits))

    def _refuse(self, peer: Peer, event: PieceArrived, expected: bytes, now: float) -> None:
        """A piece is what its parent said, and not what others say: the parent may have been deceived, too.

        Who forged it is the scheduler's to find out; meanwhile the parent drops it, and is asked anew what it holds.
        Without a scheduler nothing more is taken from it.
        """
        attached = self._means.session.is_attached
        if attached and self._blob.proof.trusted(event.claimed.index) is None:
            self._blob.ask_for_records(now)
        else:
            self._reject(event, expected, fits=True)
            index = event.claimed.index
            self.doubted |= (now - self._refused.setdefault(index, now) >= REFUSED_S) << index
        if not attached:
            self.shun(event.parent)
        elif self.parents.get(peer.name) is peer and not peer.away:
            self.parents.lose(peer, self._means.dice.share(), now)

    def busy(self, event: ParentBusy, now: float) -> None:
        """A parent has no slot free."""
        find = self.transfers.find
        request = find(event.parent, event.index, False) or find(event.parent, event.index, True)
        if request is None:
            return
        request.peer.host.refused(now - request.started, now)
        self.transfers.refund(request, self._blob.pieces.length(event.index))
        self._end(request)
        self._settle(event.index)

    def failed(self, event: PieceFailed, now: float) -> None:
        """A request ended without a piece."""
        request = self.transfers.find(event.parent, event.index, event.scratch)
        if request is None:
            return
        self._end(request)
        peer = request.peer
        if event.fault is PeerFault.GONE and self.parents.get(event.parent) is peer:
            self.parents.holds(peer, peer.bits & ~(1 << event.index))
        elif event.fault is PeerFault.DISK:
            self._blob.disk_faults += 1
        elif event.fault not in (PeerFault.GONE, PeerFault.CANCELLED):
            peer.host.strike(self._means.dice.share(), now)
        self._settle(event.index)

    def _end(self, request: Request) -> None:
        self.transfers.end(request)
        self._means.budget.give_back(request.share)
        request.peer.host.open_requests -= 1
        self._means.room_at_a_host()
        self._blob.ripen()

    def _settle(self, index: int) -> None:
        """A request of a piece is over: the hedge's bytes may be taken, or nobody brings it any more."""
        if not self._blob.table.is_at(index, Stage.REQUESTED) or index in self.transfers.requests:
            return
        won = self._won.pop(index, None)
        if won is not None and not self._blob.closing:
            self._take(*won, scratch=True)
        elif index not in self.transfers.hedges:
            self._blob.free(1 << index, Stage.REQUESTED)

    def _cancel(self, request: Request) -> None:
        if not request.cancelled:
            request.cancelled = True
            blob = self._blob
            blob.do(CancelRequest(request.peer.name, blob.task, request.index, request.scratch))

    def cancel(self, bits: int) -> None:
        """Take back all requests for these pieces."""
        for request in list(self.transfers):
            if bits >> request.index & 1:
                self._cancel(request)

    def leave(self) -> None:
        """Say good-bye to all parents, and take back what was asked of them."""
        self.cancel(self._blob.table.everything)
        self._no_need(self._thirst_at)
        for peer in list(self.parents):
            self._blob.do(Unsubscribe(peer.name, self._blob.task))
            self.parents.remove(peer)

    # --- time -----------------------------------------------------------------------------------------------------

    def wakeup_at(self) -> float:
        """Return when to call `due`."""
        at = min(self.transfers.wakeup_at(), self.parents.call_at)
        at = min(at, self._retry_at)  # two at a time: mypyc makes a comparison of it
        return min(at, self._dry_at)

    def due(self, now: float) -> None:
        """Do what time asks for: look at old requests, call lost parents again, ask for help."""
        blob = self._blob
        for request in self.transfers.due(now):
            self._look_at(request, now)
        if self.parents.call_at <= now:
            for peer in self.parents.due_calls(now):
                blob.do(Subscribe(peer.said, blob.task))
        if self._retry_at <= now:
            self._retry_at = NEVER
            blob.ripen()
        if self._dry_at <= now:
            waits = self._blob.waits_its_turn(self.parents.offered(), now)
            self._dry_at = now + STARVING_BUSY_S if waits else self._call_for_help(now)

    def _call_for_help(self, now: float) -> float:
        wanted = self._blob.wanted()
        self._thirst_s = 0.0
        if self.imports.loosen(now):
            self._blob.ripen()
        if not wanted:
            return NEVER
        if self._means.session.is_attached:
            urgent = (picker.window_of(wanted) | self.imports.granted) & wanted
            return self._means.call_for_help(self._blob.task, urgent, now)
        alone = self.parents.near == len(self.parents)
        return NEVER if alone else now + LOOK_AGAIN_S

    def _look_at(self, request: Request, now: float) -> None:
        """A request is old: take it back, or ask another parent too."""
        if request.deadline <= now:
            self._means.book.overdue()
            request.peer.host.strike(self._means.dice.share(), now)
            self._cancel(request)
        elif request.scratch or not self._hedge(request, now):
            self.transfers.look_again(request, self._blob.pieces.length(request.index), now)

    def _hedge(self, request: Request, now: float) -> bool:
        blob, index = self._blob, request.index
        length = blob.pieces.length(index)
        if blob.ring is not None or blob.closing or not self.transfers.may_hedge(index, length):
            return False
        others = [
            peer
            for peer in self.parents
            if peer.name != request.peer.name
            and peer.is_near  # a second copy does not cross from zone to zone
            and peer.bits >> index & 1
            and peer.host.has_room(length, now)
        ]
        if not others:
            return False
        self._send(picker.pick_parent(others, index, self._means.dice), index, True, now)
        self.transfers.look_again(request, length, now)
        return True

    def validate(self) -> None:
        """Assert that requests, hedges and the table agree."""
        self.parents.validate(self._blob.table.count)
        brought = self.transfers.requests.keys() | self._won.keys()
        brought |= {index for index, hedge in self.transfers.hedges.items() if not hedge.cancelled}
        requested = self._blob.table.at(Stage.REQUESTED)
        for index in self.transfers.requests:
            assert requested >> index & 1, f"piece {index} is asked for, but the table does not say so"
        assert not self.doubted >> self._blob.table.count, "a piece that does not exist is doubted"
        for index in self._won:
            assert index in self.transfers.requests, f"a hedge of piece {index} waits for nothing"
        for index in range(self._blob.table.count):
            if requested >> index & 1:
                known = index in brought or index in self.transfers.hedges
                assert known, f"nobody brings piece {index}, but the table says so"
