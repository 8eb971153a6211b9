"""A task: the swarm's work on one blob. Knows which pieces are held, leased or free, and by whom."""

from dataclasses import dataclass, field
from enum import Enum

from scheduler.lease import Lease
from scheduler.peer import Peer
from scheduler.pool import Pool
from scheduler.verification import Verification
from scheduler.zone import Zone
from swarm import availability
from swarm.ids import UNGRANTED, Epoch, HostId, TaskId
from swarm.layers import PAUSE_S
from swarm.messages import OriginFault, PieceRecord, Priority
from swarm.pieces import INLINE_BYTES_MAX, PieceMap

GRANTS_REMEMBERED = 1024
"""Grants whose records are still believed; a blob needs some ten, each fault one more."""
REGISTRIES_PER_TASK_MAX = 8
"""Origins that one blob is fetched from: the same layer is rarely in more."""
SIZE_CLAIMS_MAX = 64
"""Hosts whose word about a blob's size is remembered: two that agree are enough."""


class TaskState(Enum):
    """What a task may do."""

    LOADING = "loading"
    """The shared store was asked what it knows."""
    RECOVERING = "recovering"
    """Rebuilt after a start: leases that are not known yet may be running, so none is granted."""
    ACTIVE = "active"
    IDLE = "idle"
    """Nobody downloads; forgotten after a while."""


class TaskEvent(Enum):
    """What happens to a task."""

    LOADED = "loaded"
    REPORTED = "reported"
    """A host that attached during the recovery window says that it downloads this blob."""
    RECOVERED = "recovered"
    WANTED = "wanted"
    SATISFIED = "satisfied"


TASK_STATES = {
    (TaskState.LOADING, TaskEvent.LOADED): TaskState.ACTIVE,
    (TaskState.LOADING, TaskEvent.REPORTED): TaskState.LOADING,
    (TaskState.LOADING, TaskEvent.RECOVERED): TaskState.LOADING,
    (TaskState.LOADING, TaskEvent.WANTED): TaskState.LOADING,
    (TaskState.LOADING, TaskEvent.SATISFIED): TaskState.LOADING,
    (TaskState.RECOVERING, TaskEvent.REPORTED): TaskState.RECOVERING,
    (TaskState.RECOVERING, TaskEvent.RECOVERED): TaskState.ACTIVE,
    (TaskState.RECOVERING, TaskEvent.WANTED): TaskState.RECOVERING,
    (TaskState.RECOVERING, TaskEvent.SATISFIED): TaskState.IDLE,
    (TaskState.ACTIVE, TaskEvent.REPORTED): TaskState.RECOVERING,
    (TaskState.ACTIVE, TaskEvent.RECOVERED): TaskState.ACTIVE,
    (TaskState.ACTIVE, TaskEvent.WANTED): TaskState.ACTIVE,
    (TaskState.ACTIVE, TaskEvent.SATISFIED): TaskState.IDLE,
    (TaskState.IDLE, TaskEvent.REPORTED): TaskState.RECOVERING,
    (TaskState.IDLE, TaskEvent.RECOVERED): TaskState.IDLE,
    (TaskState.IDLE, TaskEvent.WANTED): TaskState.ACTIVE,
    (TaskState.IDLE, TaskEvent.SATISFIED): TaskState.IDLE,
}


@dataclass(slots=True, eq=False)
class Task:
    """One blob. `held` is the union of what serving peers hold, `leased` of all leases that keep others away.

    `reported`: a host that attached during the recovery window was downloading it already.
    `unsure`: pieces whose known holders were lost; until `unsure_until` others may yet tell that they took them.
    `leased_at`: when it was leased first. `fed_at`: when it was leased last, or anything of it left the origin; never,
    after a fetch that failed. `is_layer`: it may come after other layers of an image.
    `patience`: times the lease time-out that owners may be silent; doubles with each that was too silent.
    `size_claims`: what hosts say that the origin says of its size, until another host says the same.
    `failures`: fetches in a row that brought nothing, the first of them at `failing_since`; none before `hold_until`.
    """

    id: TaskId
    pieces: PieceMap
    children_max: int
    state: TaskState = TaskState.LOADING
    reported: bool = False
    priority: Priority = Priority.SEEDING
    epoch: Epoch = UNGRANTED
    peers: dict[HostId, Peer] = field(default_factory=dict)
    zones: dict[str, Zone] = field(default_factory=dict)
    fetchers: Pool[Peer] = field(default_factory=Pool)
    seed_fetchers: Pool[Peer] = field(default_factory=Pool)
    registries: dict[str, None] = field(default_factory=dict)
    leases: list[Lease] = field(default_factory=list)
    grants: dict[Epoch, tuple[HostId, int, int]] = field(default_factory=dict)
    sources: dict[int, Peer] = field(default_factory=dict)
    held: int = 0
    leased: int = 0
    unsure: int = 0
    unsure_until: float = 0.0
    downloading: int = 0
    complete: int = 0
    inline_held: bool = False
    leased_at: float | None = None
    fed_at: float = -float("inf")
    is_layer: bool = False
    patience: int = 1
    failures: int = 0
    failing_since: float = 0.0
    hold_until: float = 0.0
    last_fault: OriginFault = OriginFault.DENIED
    size_changes: int = 0
    size_claims: dict[HostId, int] = field(default_factory=dict)
    idle_at: float = 0.0
    load_at: float = 0.0
    verification: Verification = field(default_factory=Verification)
    _records: dict[int, PieceRecord] = field(default_factory=dict)
    _records_told: tuple[PieceRecord, ...] | None = None

    def happen(self, event: TaskEvent) -> None:
        """Follow the table; a missing key is a bug."""
        self.state = TASK_STATES[self.state, event]

    # --- pieces --------------------------------------------------------------------------------------------

    def all_bits(self) -> int:
        """Return the bitmap of a peer that holds it all."""
        return availability.full(self.pieces.count)

    def is_tiny(self) -> bool:
        """Tell whether it travels inside the scheduler's answer."""
        return 0 < self.pieces.size <= INLINE_BYTES_MAX

    def free(self) -> int:
        """Return the pieces that nobody holds, as far as is known, and nobody fetches."""
        if self.inline_held:
            return 0
        return self.all_bits() & ~self.held & ~self.leased & ~self.unsure

    def gained(self, peer: Peer, bits: int) -> None:
        """Record that a peer holds `bits` now, more than before; whoever brings a piece first is its source."""
        new = bits & ~self.held
        had_some = peer.bits
        peer.bits = bits
        if not peer.serves():
            return
        zone = self.zone(peer.host.info.zone)
        zone.held |= bits
        if peer.importing:
            zone.arrived(peer)
        if new:
            self.held |= new
            for index in availability.indexes(new):
                self.sources[index] = peer
        if not had_some and bits:
            self.file(peer)

    def changed(self, peer: Peer, bits: int) -> int:
        """Record that a peer holds `bits` now, in any relation to before; return what nobody holds any more."""
        lost, peer.bits = peer.bits & ~(bits if peer.serves() else 0), availability.NONE
        freed = self._lose(peer, lost)
        self.gained(peer, bits)
        self.file(peer)
        return freed

    def withdrawn(self, peer: Peer) -> int:
        """Take away what a peer held that is filed as one that does not serve, or is not filed any more.

        Returns the pieces that nobody holds now.
        """
        return self._lose(peer, peer.bits)

    def doubt(self, bits: int, until: float) -> None:
        """The last known holder of these pieces is lost: who took them from it may not have told yet."""
        self.unsure |= bits
        self.unsure_until = max(self.unsure_until, until)

    def _lose(self, peer: Peer, bits: int) -> int:
        """A peer does not serve these pieces any more: return those that nobody else does."""
        home = self.zones.get(peer.host.info.zone)
        if home is not None:
            home.lose(bits)
        lost = bits & self.held
        for zone in self.zones.values():
            lost &= ~zone.held
        self.held &= ~lost
        return lost

    # --- peers ---------------------------------------------------------------------------------------------

    def zone(self, name: str) -> Zone:
        """Return a zone's pools, making them when the zone is new."""
        zone = self.zones.get(name)
        if zone is None:
            zone = self.zones[name] = Zone()
        return zone

    def file(self, peer: Peer) -> None:
        """Put a peer into the pools that fit its state, and take it out of the others."""
        self.zone(peer.host.info.zone).file(peer, self.children_max)
        fetches = self._fetches(peer)
        is_seed = peer.host.is_seed()
        self.fetchers.keep(peer, fetches and not is_seed)
        self.seed_fetchers.keep(peer, fetches and is_seed)

    def _fetches(self, peer: Peer) -> bool:
        able = peer.may_fetch and peer.is_downloading() and peer.host.is_trusted()
        return able and (peer.stores or self.is_tiny())

    def unfile(self, peer: Peer) -> None:
        """Take a peer out of all pools; an empty zone goes."""
        name = peer.host.info.zone
        zone = self.zone(name)
        zone.unfile(peer)
        self.fetchers.discard(peer)
        self.seed_fetchers.discard(peer)
        if zone.is_empty():
            del self.zones[name]

    def has_fetchers(self) -> bool:
        """Tell whether any storing peer may fetch from the origin."""
        return bool(len(self.fetchers) or len(self.seed_fetchers))

    def add_registry(self, name: str) -> bool:
        """Remember where a peer that may fetch would fetch from; False when as many are in use by others."""
        if name not in self.registries and len(self.registries) >= REGISTRIES_PER_TASK_MAX:
            return False
        self.registries[name] = None
        return True

    def drop_unused_registries(self) -> list[str]:
        """Forget where nobody fetches from any more, and return that."""
        used = {peer.registry for peer in self.peers.values() if peer.may_fetch and not peer.is_complete()}
        used.update(lease.registry for lease in self.leases)
        unused = [name for name in self.registries if name not in used]
        for name in unused:
            del self.registries[name]
        return unused

    def claim_size(self, host: HostId, size: int) -> bool:
        """Remember what a host says of the blob's size; tell whether another said the same."""
        self.size_claims.pop(host, None)
        agreed = size in self.size_claims.values()
        if len(self.size_claims) < SIZE_CLAIMS_MAX:
            self.size_claims[host] = size
        return agreed

    # --- leases and records --------------------------------------------------------------------------------

    def add_lease(self, lease: Lease) -> None:
        """Keep others away from a lease's pieces, and believe the records made under it."""
        self.leases.append(lease)
        self.recount_leased()
        if lease.epoch != UNGRANTED:
            self.grants[lease.epoch] = (lease.host, lease.start, lease.end)
            if len(self.grants) > GRANTS_REMEMBERED:
                del self.grants[next(iter(self.grants))]

    def recount_leased(self) -> None:
        """Bring `leased` up to date after a lease came, went or shrank."""
        self.leased = 0
        for lease in self.leases:
            self.leased |= lease.bits()

    def may_wait(self, now: float) -> bool:
        """Tell whether it may wait for earlier layers of an image: something of it came lately."""
        return now < self.fed_at + PAUSE_S

    def public_leases(self) -> list[Lease]:
        """Return the leases that fetch for everyone."""
        return [lease for lease in self.leases if not lease.private]

    def believe(
        self, host: HostId, records: tuple[PieceRecord, ...]
    ) -> tuple[list[PieceRecord], list[PieceRecord]]:
        """Keep a lease owner's records; return the new ones, and those that contradict an earlier one."""
        new, contradictory = [], []
        for record in records:
            owner, start, end = self.grants.get(record.epoch, (None, 0, 0))
            if owner != host or not start <= record.index < end:
                continue
            known = self._records.get(record.index)
            if known is not None and known.digest != record.digest:
                contradictory.append(record)
            if known is None or known.epoch < record.epoch:
                self._records[record.index] = record
                self._records_told = None
                new.append(record)
        return new, contradictory

    def record(self, index: int) -> PieceRecord | None:
        """Return the trusted record of a piece, if a lease owner told it."""
        return self._records.get(index)

    def records(self) -> tuple[PieceRecord, ...]:
        """Return all trusted records, lowest piece first."""
        if self._records_told is None:
            self._records_told = tuple(self._records[index] for index in sorted(self._records))
        return self._records_told

    def maker(self, record: PieceRecord) -> HostId | None:
        """Return the host that made a trusted record, if that is remembered."""
        grant = self.grants.get(record.epoch)
        return grant[0] if grant is not None else None

    def remember_records(self, records: tuple[PieceRecord, ...]) -> None:
        """Take over what the shared store kept."""
        for record in records:
            if 0 <= record.index < self.pieces.count:
                self._records.setdefault(record.index, record)
        self._records_told = None

    def disbelieve(self, host: HostId) -> None:
        """Forget the records of a host that was found to lie, and believe no more under its grants."""
        lies = {epoch for epoch, (owner, _, _) in self.grants.items() if owner == host}
        self._records = {index: kept for index, kept in self._records.items() if kept.epoch not in lies}
        self._records_told = None
        for epoch in lies:
            del self.grants[epoch]

    def resize(self, size: int) -> None:
        """Start over with the blob's true size: what was known of pieces is void.

        So are grants: a record that was made under one, and arrives late, is of a piece of the old size.
        """
        self.pieces = PieceMap.of(size)
        self.size_claims.clear()
        self.held = self.leased = self.unsure = 0
        self.inline_held = False
        self.grants.clear()
        for zone in self.zones.values():
            zone.held = zone.importing = 0
        self.sources.clear()
        self._records.clear()
        self._records_told = None
        self.verification = Verification()
        for peer in self.peers.values():
            peer.bits = peer.importing = 0
            peer.warned = False
            self.file(peer)
