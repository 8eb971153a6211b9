"""When a download helps itself, because no scheduler does: remembered hosts first, then the origin.

| situation                                   | what it waits for before it fetches by itself                        |
|---------------------------------------------|----------------------------------------------------------------------|
| begins without a scheduler                  | answers of remembered hosts, 0.2 to 0.5 s; if there are none, 3 to 5 |
|                                             | s after the scheduler was lost: nothing, mostly                      |
| runs, and the scheduler is lost             | 3 to 5 s without anything arriving or in flight, to 13 among others  |
| the scheduler knows no source               | nothing                                                              |
| attached, but no parent can be reached      | 10 s without anything arriving; it looks every 10 to 20 s            |
| attached, but nothing moves for a minute    | the next look: a pull must not hang for ever                         |
| its readers want a small part of it alone   | a quarter of a second for parents that offer it, nothing if no host  |

Where the origin cannot be asked, hosts that hold nothing are waited for two minutes at most.

The waits are jittered so that hosts which lose their scheduler together do not turn to the origin together. Those that
do share what they fetch (dfdaemon/shares.py), and soon leave it to one or two of them.
"""

from math import expm1, log1p

from dfdaemon import picker, shares
from dfdaemon.blob_state import BlobState
from dfdaemon.origin_side import OriginSide
from dfdaemon.peer_side import PeerSide
from dfdaemon.session import Link
from swarm.ids import UNGRANTED
from swarm.messages import OriginFault

NEVER = float("inf")
REMEMBERED_S, REMEMBERED_JITTER_S = 0.2, 0.3
"""Time for remembered hosts to answer: a connection and a round trip within a cluster, with room."""
STALL_S, STALL_JITTER_S = 3.0, 2.0
"""A lost scheduler is often back within this time."""
JITTER_OF_EACH_S, STALL_JITTER_MAX_S = 1.0, 10.0
"""The jitter is longer by so much for each other host that may begin first: what one fetches, all have soon."""
PART_S = 0.25
"""A reader of a part waits for hosts that hold it, not for leases: those come in the order of the whole blob."""
LATENESS = 5.0
"""The jitter is more likely long than short, by e to this at its ends: however many wait (to some e to this, unknown to
each other), few are the first, and the others see it (Nonnenmacher and Biersack 1998; RFC 5740, section 5.1)."""
UNREACHED_S = 10.0
"""Attached, the scheduler decides; but it does not see what keeps hosts from reaching each other, a firewall mostly."""
HANG_S = 60.0
"""This keeps a pull from hanging when the scheduler forgot us: soon enough for the reader (ActiveBlob.PATIENCE_S)."""
HOPE_S = 120.0
"""Hosts that hold nothing may still get something."""
LEAVE_SHARE = 0.5
"""How likely one of several that fetch leaves it to the others after each fetch: soon one or two are left, which is
all that the origin needs, and they do not take the same."""


class Fallback:
    """Watches one download, and decides when it fetches from the origin unasked."""

    def __init__(self, blob: BlobState, peers: PeerSide, origin: OriginSide) -> None:
        self._blob = blob
        self._means = blob.means
        self._peers = peers
        self._origin = origin
        self.at = NEVER
        self._whole = False
        """What nobody offers is fetched to the end, not window by window: nobody else will come."""
        self._helping = False
        """The wait is over: go on until there is a scheduler again."""
        self._owes = False
        """What was there and is missing again could not be fetched yet."""
        self._run = 1
        """Pieces of the next fetch: twice as many as before, while nobody else fetches, or no parent offers them."""
        self._by_others = 0
        """What is missing besides our fetch: if it comes meanwhile, others fetch too."""

    def _jitter(self, seconds: float) -> float:
        return self._means.dice.share() * seconds

    def _stall_jitter(self) -> float:
        others = sum(not peer.away for peer in self._peers.parents)
        longest = max(STALL_JITTER_S, min(STALL_JITTER_MAX_S, JITTER_OF_EACH_S * others))
        return longest * log1p(self._means.dice.share() * expm1(LATENESS)) / LATENESS

    def begin(self, now: float) -> None:
        """The download starts."""
        session = self._means.session
        self._whole = not session.is_attached
        match session.link:
            case Link.ATTACHED:
                self.attached(now)
            case Link.CONNECTING:
                self.at = now + session.connect_timeout_s + self._jitter(REMEMBERED_JITTER_S)
            case Link.ALONE:
                self._ask_remembered(now)
        self.reader_came(now)

    def reader_came(self, now: float) -> None:
        """A client began to read: of a part, somebody must bring what it reads soon."""
        if not self._blob.is_part or not len(self._blob.readers):
            return
        if self._blob.is_worth_the_rest:
            self._blob.is_part = False
            self._blob.join()
            self.begin(now)
        else:
            self.at = min(self.at, now if self._helping else now + PART_S)

    def _ask_remembered(self, now: float) -> None:
        session = self._means.session
        hosts = session.remembered()
        self._peers.meet(tuple(hosts))
        if hosts:
            self.at = now + REMEMBERED_S + self._jitter(REMEMBERED_JITTER_S)
        else:
            self.at = max(now, session.lost_at + STALL_S + self._stall_jitter())
        self._helping = True

    def attached(self, now: float) -> None:
        """There is a scheduler: it decides, also about what we fetch unasked."""
        if self._helping:
            self._origin.stop_own(now)
        self._helping = self._whole = False
        self.at = now + UNREACHED_S + self._stall_jitter()

    def link_changed(self, now: float) -> None:
        """There is a scheduler now, or there is none: who else fetches is seen anew."""
        self._run, self._by_others = 1, 0
        (self.attached if self._means.session.is_attached else self.lost)(now)
        self.reader_came(now)

    def lost(self, now: float) -> None:
        """The scheduler is gone, or there is none after all."""
        if self._whole and not self._helping:
            self._ask_remembered(now)
        elif not self._helping:
            self.at = now + STALL_S + self._stall_jitter()

    def search_on(self, now: float) -> None:
        """Pieces are missing that were there: have those that nobody offers from the origin, as soon as may be."""
        self._owes = True
        self._blob.ripen()
        self._pay(now)

    def _pay(self, now: float) -> None:
        bits = self._blob.wanted() & ~self._peers.parents.offered()
        self._owes = bool(bits) and self._origin.can_fetch and not self._origin.fetch_own(bits, now)
        if self._owes:
            self.at = min(self.at, max(self._origin.own_at, now + REMEMBERED_S))

    def no_source(self, fault: OriginFault, now: float) -> str:
        """The scheduler knows nobody who has, or may fetch, what is missing. Returns why it is hopeless, if so."""
        if self._blob.wanted() and not self._origin.can_fetch and self._is_hopeless(now):
            return self._origin.refusal or f"no host has it, and the origin cannot be asked: {fault.name}"
        self._whole = self._helping = True
        self.at = now
        return ""

    def due(self, now: float) -> str:
        """Help, if it is time. Returns why the download is hopeless, if it is."""
        if now < self.at:
            return ""
        hopeless = self._help(now)
        if self._owes and not hopeless:
            self._pay(now)
        return hopeless

    def _help(self, now: float) -> str:
        if self._blob.is_part:
            return self._help_part(now)
        missing = self._blob.wanted()
        if not self._helping and not (missing and self._is_stalled(self._patience(), now)):
            look_s = UNREACHED_S if self._means.session.is_attached else STALL_S
            self.at = now + look_s + self._stall_jitter()
            return ""
        if self._means.session.link is Link.CONNECTING and not self._helping:
            self._ask_remembered(now)
            return ""
        if missing and not self._origin.can_fetch and self._is_hopeless(now):
            return (
                self._origin.refusal
                or "no host has it, and no credential of this host lets it ask the origin"
            )
        self._helping = True
        self._fetch(missing, now)
        return ""

    def _patience(self) -> float:
        """Return how long nothing may move before we help ourselves."""
        if not self._means.session.is_attached:
            return STALL_S
        return UNREACHED_S if self._peers.parents.are_out_of_reach else HANG_S

    def _help_part(self, now: float) -> str:
        """Fetch what readers of a part want and nobody offers; look again while there are readers."""
        wanted = self._blob.wanted()
        if wanted and not self._origin.can_fetch and self._is_hopeless(now):
            return (
                self._origin.refusal
                or "no host has it, and no credential of this host lets it ask the origin"
            )
        stalled = self._is_stalled(STALL_S, now)
        self._origin.fetch_own(wanted & ~self._peers.parents.offered() or (wanted if stalled else 0), now)
        self.at = max(self._origin.own_at, now + PART_S) if len(self._blob.readers) else NEVER
        return ""

    def _fetch(self, missing: int, now: float) -> None:
        """Fetch what nobody offers, or anything if what is offered does not come; then look again."""
        offered = self._peers.parents.offered()
        stalled = self._is_stalled(STALL_S, now)
        bits = missing & ~offered or (missing if stalled else 0)
        if not self._whole:
            bits &= picker.window_of(missing)
        if not self._means.session.is_attached:
            bits = self._share(bits)
        elif not self._whole:
            bits = shares.next_run(bits, self._run, self._means.info.host, (), self._means.dice)
        if bits and not self._origin.fetch_own(bits, now):
            self.at = max(self._origin.own_at, now + REMEMBERED_S + self._jitter(REMEMBERED_JITTER_S))
        else:
            self.at = now + STALL_S + self._stall_jitter()

    def _share(self, bits: int) -> int:
        """Return what to fetch of what nobody offers: other hosts may be as alone as we are."""
        others = [peer.name for peer in self._peers.parents if not peer.away]
        count = self._run if others else shares.RUN_MAX
        run = shares.next_run(bits, count, self._means.info.host, others, self._means.dice)
        self._by_others = bits & ~run
        return run

    def own_ended(self, now: float) -> None:
        """A fetch of our own is over: go on at once with what is still missing, or leave it to others who fetch."""
        if self._helping or self._blob.is_part:
            self.at = max(now, self._origin.own_at)
        if not self._helping:
            return
        shared = self._by_others & (self._blob.table.verified | self._peers.parents.offered())
        self._run = 1 if shared else min(shares.RUN_MAX, 2 * self._run)
        if shared and self._means.dice.share() < LEAVE_SHARE:
            self._helping = False
            self.at = now + STALL_S + self._stall_jitter()

    def _in_flight(self) -> bool:
        return bool(len(self._peers.transfers)) or self._origin.is_running

    def _is_stalled(self, patience_s: float, now: float) -> bool:
        """Whether nothing came for so long, nothing is on its way, and it is not for an earlier layer's sake."""
        if self._in_flight() or now - self._blob.moved_at < patience_s:
            return False
        return not self._blob.waits_its_turn(self._peers.parents.offered(), now)

    def _is_hopeless(self, now: float) -> bool:
        """Whether nothing is on its way, and nobody offers what is missing, or may do so soon.

        That is no longer hoped for after HOPE_S: hosts that hold nothing may wait for each other.
        """
        blob = self._blob
        patient = now - blob.moved_at < HOPE_S
        waiting = patient and any(not peer.away and not peer.bits for peer in self._peers.parents)
        offered = self._peers.parents.offered() & blob.wanted()
        return not (offered or waiting or self._in_flight() or UNGRANTED in self._origin.leases)
