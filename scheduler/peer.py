"""A peer: one host's part in one task."""

from dataclasses import dataclass, field
from enum import Enum

from scheduler.host import Host
from scheduler.lease import Lease
from swarm.ids import HostId, TaskId
from swarm.layers import Layer
from swarm.messages import Priority

REFUSED_MAX = 64
"""Parents that a peer is kept apart from; one that quarrels with more has no more to lose."""
DECEIVED_MAX = 512
"""Wrong pieces that a peer says it was given; one that was given more may have been given any."""


LAYERS_MAX = 256
"""Layers of one image that a host is known to want at once: overlayfs takes half as many."""


class PeerState(Enum):
    """How far a peer is."""

    JOINED = "joined"
    """Asked, but its task is still being loaded."""
    DOWNLOADING = "downloading"
    COMPLETE = "complete"
    LEFT = "left"


class PeerEvent(Enum):
    """What happens to a peer."""

    JOIN = "join"
    WELCOME = "welcome"
    COMPLETE = "complete"
    LEAVE = "leave"


PEER_STATES = {
    (PeerState.JOINED, PeerEvent.JOIN): PeerState.JOINED,
    (PeerState.JOINED, PeerEvent.WELCOME): PeerState.DOWNLOADING,
    (PeerState.JOINED, PeerEvent.COMPLETE): PeerState.COMPLETE,
    (PeerState.JOINED, PeerEvent.LEAVE): PeerState.LEFT,
    (PeerState.DOWNLOADING, PeerEvent.JOIN): PeerState.JOINED,
    (PeerState.DOWNLOADING, PeerEvent.COMPLETE): PeerState.COMPLETE,
    (PeerState.DOWNLOADING, PeerEvent.LEAVE): PeerState.LEFT,
    (PeerState.COMPLETE, PeerEvent.JOIN): PeerState.JOINED,
    (PeerState.COMPLETE, PeerEvent.COMPLETE): PeerState.COMPLETE,
    (PeerState.COMPLETE, PeerEvent.LEAVE): PeerState.LEFT,
}


@dataclass(slots=True, eq=False)
class Peer:
    """One host's part in one task: what it holds (`bits`), from whom it takes, and who takes from it.

    `stores`: it keeps what it takes and serves it. `warned`: it was told that there is no source. `shares_check`: it
    computes the blob's own digest for others, or leaves that to them.
    `importing`: what it is to take from other zones and does not hold yet. If it brings none of it until
    `import_deadline`, another peer of its zone gets that, and it none before `import_after`.
    `layer`: where the blob stands in the image that the host pulls.
    `deceived`: the wrong pieces that it was given, as it says: number and digest. `inform_at`: before, it is not told
    again what is right.
    """

    host: Host
    registry: str = ""
    may_fetch: bool = False
    stores: bool = True
    shares_check: bool = False
    priority: Priority = Priority.CONTAINER_START
    bits: int = 0
    state: PeerState = PeerState.JOINED
    parents: dict["Peer", None] = field(default_factory=dict)
    children: dict["Peer", None] = field(default_factory=dict)
    refused: dict[HostId, None] = field(default_factory=dict)
    leases: list[Lease] = field(default_factory=list)
    warned: bool = False
    importing: int = 0
    import_deadline: float = 0.0
    import_after: float = 0.0
    deceived: dict[tuple[int, bytes], None] = field(default_factory=dict)
    inform_at: float = 0.0
    layer: Layer | None = None

    def happen(self, event: PeerEvent) -> None:
        """Follow the table; a missing key is a bug."""
        self.state = PEER_STATES[self.state, event]

    def is_downloading(self) -> bool:
        """Tell whether it still wants pieces."""
        return self.state is PeerState.DOWNLOADING

    def may_fetch_for_all(self) -> bool:
        """Tell whether it wants pieces from the origin, and may fetch them for all."""
        waits = self.state is PeerState.JOINED or self.state is PeerState.DOWNLOADING
        return waits and self.may_fetch and self.stores and self.host.is_trusted()

    def is_complete(self) -> bool:
        """Tell whether it has all it wanted."""
        return self.state is PeerState.COMPLETE

    def place(self, task: TaskId, layer: Layer | None) -> None:
        """Note where its task stands in an image; None: in none that is known, or not any more."""
        layers = self.host.layers
        if self.layer is not None:
            places = layers[self.layer.image]
            del places[task]
            if not places:
                del layers[self.layer.image]
        has_room = layer is not None and len(layers.get(layer.image, ())) < LAYERS_MAX
        self.layer = layer if has_room else None
        if self.layer is not None:
            layers.setdefault(self.layer.image, {})[task] = self.layer.place

    def serves(self) -> bool:
        """Tell whether others can take from it what it holds."""
        return self.stores and self.host.is_trusted() and self.state is not PeerState.LEFT

    def refuse(self, parent: HostId) -> None:
        """Keep it apart from a parent whose piece it rejected."""
        if len(self.refused) < REFUSED_MAX:
            self.refused[parent] = None

    def was_deceived(self, index: int, digest: bytes) -> None:
        """It says that it was given a wrong piece: it may have passed that on before it knew."""
        if len(self.deceived) < DECEIVED_MAX:
            self.deceived[index, digest] = None

    def may_be_deceived(self, index: int, digest: bytes) -> bool:
        """Tell whether it may have passed on such a piece, and not made it."""
        return (index, digest) in self.deceived or len(self.deceived) >= DECEIVED_MAX
