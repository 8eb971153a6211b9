"""What all downloads of a daemon have in common, and share."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

from dfdaemon.budget import RequestBudget
from dfdaemon.commands import Command
from dfdaemon.hosts import HostBook
from dfdaemon.session import Session
from swarm.dice import Dice
from swarm.ids import TaskId
from swarm.layers import Layer
from swarm.messages import HostInfo, PieceRecord

OWN_FETCHES_MAX = 4
"""Fetches from origins that nobody granted, at once: a daemon without help must not flood a registry."""


class Offers(Protocol):
    """What downloads tell to whoever serves pieces to other hosts."""

    def offer(self, task: TaskId, size: int, records: Iterable[PieceRecord] = ()) -> list[Command]:
        """A blob may be served, as far as it is held."""

    def gained(self, task: TaskId, records: Iterable[PieceRecord], now: float) -> list[Command]:
        """More of it is held."""

    def lost(self, task: TaskId, bits: int) -> list[Command]:
        """Pieces of it may not be served any more."""

    def forget(self, task: TaskId) -> list[Command]:
        """It may not be served any more."""


@dataclass(slots=True)
class Means:
    """Shared by the downloads of one daemon. `out` collects the commands of the event in hand."""

    info: HostInfo
    dice: Dice
    out: list[Command]
    session: Session
    budget: RequestBudget
    book: HostBook
    offers: Offers
    ring_bytes: int
    first_nodes: bool = False
    """A few hosts compute a blob's own digest for all (verify = "first-nodes")."""
    ripe: dict[TaskId, Layer | None] = field(default_factory=dict)
    """Downloads that may find something to ask for, in the order in which that came about, with their layers."""
    dry: dict[TaskId, Layer | None] = field(default_factory=dict)
    """Downloads that found nothing to ask for when they last looked; those that called for help of late are last."""
    held_back: dict[TaskId, Layer | None] = field(default_factory=dict)
    """Downloads that ask for more when fewer requests are in flight."""
    own_fetches: int = 0
    """Ungranted fetches that run, of all downloads."""

    def room_at_a_host(self) -> None:
        """A request ended: those that found nothing, or held themselves back, may ask now."""
        if self.dry:
            self.ripe.update(self.dry)
        if self.held_back:
            self.ripe.update(self.held_back)
            self.held_back.clear()

    def has_earlier(self, layer: Layer | None) -> bool:
        """Tell whether an earlier layer of the same image may find something to ask for: that is unpacked before."""
        return layer is not None and any(
            other is not None and other.precedes(layer) for other in self.ripe.values()
        )

    def call_for_help(self, task: TaskId, wanted: int, now: float) -> float:
        """Tell the scheduler that a download starves, if it is time, each in turn. Returns when it may be told next."""
        if now >= self.session.next_starving_at and task in self.dry:
            self.dry[task] = self.dry.pop(task)
        return self.session.starve(task, wanted, now)
