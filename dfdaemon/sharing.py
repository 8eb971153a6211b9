"""What this host gives to others: who hears of which pieces, and who gets a slot to take one.

No queue: a request is started or refused at once. A child that was refused waits, and is woken when there is room,
the one refused last first: it most likely still needs the slot, others have found one elsewhere meanwhile. Nobody is
refused for its sake: a slot that is kept for a woken child stays empty for a round trip, or for ever where round trips
are longer than slots are kept.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from dfdaemon import commands, events
from dfdaemon.admission import EXPORTS_MAX, LOOK_INTERVAL_S, Admission
from dfdaemon.commands import Command
from dfdaemon.config import DaemonConfig
from swarm import availability
from swarm.dice import Dice
from swarm.ids import HostId, TaskId
from swarm.messages import PieceRecord
from swarm.pieces import PieceMap

HAVE_DELAY_S = 0.010
"""Gained pieces are told this late at most: many in one message, and still before the next piece is done."""
PROMPT_PIECES = 8
"""The first pieces are told at once: a newcomer takes from others from the start, and the sooner it gives, the less a
herd lacks while it comes (docs/decisions/0074)."""
HAVE_RECORDS_MAX = 256
"""Records in one SendHave; when there are as many they are sent at once."""
SUBSCRIPTIONS_MAX = 256
"""Tasks that one child may subscribe to; an image has some ten layers."""
WAKE_GRACE_S = 0.001
"""How long nobody else is woken for a slot: a round trip in a local network. Nine of ten woken children need nothing
any more, and at 5 ms slots idled a tenth of the time (simulated, 100 hosts, 1 Gbit/s)."""
FAR_GRACE_S = 0.010
"""The same for a child in another zone: a round trip from zone to zone is longer."""
NEVER = float("inf")


@dataclass(slots=True)
class Holding:
    """What we hold of a task, who wants to hear of it, and what they were not told yet."""

    pieces: PieceMap
    records: dict[int, PieceRecord] = field(default_factory=dict)
    bits: int = availability.NONE
    children: dict[HostId, None] = field(default_factory=dict)
    untold: list[PieceRecord] = field(default_factory=list)

    def gain(self, records: Iterable[PieceRecord]) -> list[PieceRecord]:
        """Hold these too; return those that are new."""
        new = [record for record in records if self.records.get(record.index) != record]
        for record in new:
            assert record.index < self.pieces.count, "a piece lies inside its blob"
            self.records[record.index] = record
            self.bits |= 1 << record.index
        return new


@dataclass(slots=True)
class Turn:
    """A child's place among those that were refused: when last, and a throw of the dice where that is equal.

    `woken_until`: it was told that there is room, and until then nobody else is for the same slot.
    """

    since: float
    tie: int
    woken_until: float | None = None


class Sharing:
    """The pure half of serving other hosts. `now`, in seconds, never goes back."""

    def __init__(
        self,
        config: DaemonConfig,
        dice: Dice,
        told_by: Callable[[TaskId, HostId], int] = lambda task, host: availability.NONE,
        zone: str = "",
    ) -> None:
        """`told_by`: the pieces of a task that a host told us it holds; it need not hear that we hold them too.

        `zone`: our own.
        """
        self.holdings: dict[TaskId, Holding] = {}
        self._children_max = config.peer.children_max
        self._dice = dice
        self._told_by = told_by
        self._admission = Admission(config)
        self._children: dict[HostId, set[TaskId]] = {}
        self._zone = zone
        self._far: set[HostId] = set()
        """Children in other zones, which import for theirs."""
        self._turns: dict[HostId, Turn] = {}
        self._untold: dict[TaskId, None] = {}
        self._tell_at = NEVER
        self._look_at = NEVER
        self._stopping = False

    @property
    def uploads(self) -> int:
        """How many uploads run."""
        return len(self._admission.running)

    # --- what we hold ---------------------------------------------------------------------------------------

    def offer(self, task: TaskId, size: int, records: Iterable[PieceRecord] = ()) -> list[Command]:
        """Children may subscribe to this task and take these verified pieces; again: these alone.

        A task that turned out to have another size is begun anew.
        """
        pieces = PieceMap.of(size)
        before = self.holdings.get(task)
        result = self.forget(task) if before and before.pieces != pieces else []
        holding = self.holdings.setdefault(task, Holding(pieces))
        wanted = {record.index: record for record in records}
        result += self.lost(task, holding.bits & ~sum(1 << index for index in wanted))
        if self._gain(task, wanted.values()):
            self._tell_at = 0.0
        return result

    def gained(self, task: TaskId, records: Iterable[PieceRecord], now: float) -> list[Command]:
        """More verified pieces of an offered task are recorded; its children hear of them soon."""
        assert task in self.holdings, "a task is offered before it gains pieces"
        if not self._gain(task, records):
            return []
        holding = self.holdings[task]
        if len(holding.untold) >= HAVE_RECORDS_MAX or holding.bits.bit_count() <= PROMPT_PIECES:
            return self._tell(task)
        self._tell_at = min(self._tell_at, now + HAVE_DELAY_S)
        return []

    def lost(self, task: TaskId, bits: int) -> list[Command]:
        """Pieces turned out to be wrong, or are damaged: who asks for one hears that it is gone.

        Who takes one just now gets no more of it: it may be written anew, and half of each is a lie of ours.
        """
        holding = self.holdings.get(task)
        if holding is None:
            return []
        dropped = holding.bits & bits
        holding.bits &= ~bits
        holding.records = {index: kept for index, kept in holding.records.items() if not bits >> index & 1}
        holding.untold = [record for record in holding.untold if record.index in holding.records]
        return [commands.StopSending(task, dropped)] if dropped and self._children else []

    def forget(self, task: TaskId) -> list[Command]:
        """We do not have this task any more."""
        holding = self.holdings.pop(task, None)
        if holding is None:
            return []
        self._untold.pop(task, None)
        for child in holding.children:
            self._children[child].discard(task)
        return [commands.SendGone(child, task) for child in holding.children]

    # --- events ---------------------------------------------------------------------------------------------

    def handle(self, event: events.Event, now: float) -> list[Command]:
        """Take in an event of children's, TimeReached or Stopping; return what to do, in order."""
        self._expire(now)
        result = HANDLERS[type(event)](self, event, now)
        return result + self._wake(now)

    def wakeup_at(self) -> float:
        """Return when TimeReached should come; inf when nothing is due."""
        soon = min(self._tell_at, self._look_at)  # two at a time: mypyc makes a comparison of it
        return min(soon, self._admission.next_deadline())

    def _subscribed(self, event: events.ChildSubscribed, now: float) -> list[Command]:
        holding = self.holdings.get(event.task)
        if holding is None or self._stopping:
            return [commands.SendGone(event.child, event.task)]
        tasks = self._children.get(event.child)
        if tasks is None:
            if len(self._children) >= self._children_max:
                return [commands.SendGone(event.child, event.task)]
            tasks = self._children[event.child] = set()
        if event.task not in tasks and len(tasks) >= SUBSCRIPTIONS_MAX:
            return [commands.SendGone(event.child, event.task)]
        tasks.add(event.task)
        if event.zone and event.zone != self._zone:
            self._far.add(event.child)
        holding.children[event.child] = None
        return [commands.SendAvailability(event.child, event.task, holding.pieces.size, holding.bits)]

    def _unsubscribed(self, event: events.ChildUnsubscribed, now: float) -> list[Command]:
        tasks = self._children.get(event.child, set())
        if event.task in tasks:
            tasks.discard(event.task)
            self.holdings[event.task].children.pop(event.child, None)
        return []

    def _child_lost(self, event: events.ChildLost, now: float) -> list[Command]:
        for task in self._children.pop(event.child, set()):
            self.holdings[task].children.pop(event.child, None)
        self._turns.pop(event.child, None)
        self._far.discard(event.child)
        return []

    def _requested(self, event: events.PieceRequested, now: float) -> list[Command]:
        holding = self.holdings.get(event.task)
        record = holding.records.get(event.index) if holding is not None else None
        if holding is None or record is None or event.child not in self._children or self._stopping:
            return [commands.RefuseUpload(event.child, event.request, gone=True)]
        key, turn = (event.child, event.request), self._turns.get(event.child)
        if key in self._admission.running or not self._may_start(event.child, now):
            if turn is None:
                turn = self._turns[event.child] = Turn(now, self._dice.throw())
            turn.since, turn.woken_until = now, None
            return [commands.RefuseUpload(event.child, event.request)]
        if turn is not None and turn.woken_until is not None:
            del self._turns[event.child]
        self._admission.start(key, holding.pieces.length(event.index), now, event.child in self._far)
        return [commands.StartUpload(event.child, event.request, event.task, record)]

    def _upload_ended(self, event: events.UploadEnded, now: float) -> list[Command]:
        self._admission.end((event.child, event.request), event.sent_bytes, event.seconds)
        return []

    def _time_reached(self, event: events.TimeReached, now: float) -> list[Command]:
        result: list[Command] = []
        if now >= self._tell_at:
            self._tell_at = NEVER
            for task in list(self._untold):
                result += self._tell(task)
        for host, request in self._admission.overdue(now):
            result.append(commands.AbortUpload(host, request))
        return result

    def _stop(self, event: events.Stopping, now: float) -> list[Command]:
        """No new uploads; those that run may finish."""
        self._stopping = True
        told = [
            commands.SendGone(child, task)
            for child, tasks in self._children.items()
            for task in sorted(tasks)
        ]
        for child in list(self._children):
            self._child_lost(events.ChildLost(child), now)
        return list(told)

    # --- who gets a slot ------------------------------------------------------------------------------------

    def _may_start(self, host: HostId, now: float) -> bool:
        admission, turn = self._admission, self._turns.get(host)
        if host in self._far and admission.room_for_exports(self._far) > 0:
            return True
        if self.uploads >= admission.at_once_max:
            return False
        if turn is not None and turn.woken_until is not None:
            return True  # it was promised
        return admission.room(now) > 0 and not self._has_its_part(host, now)

    def _promised(self) -> int:
        """Return how many slots are promised to children that were woken; those in other zones need none."""
        return sum(t.woken_until is not None and host not in self._far for host, t in self._turns.items())

    def _has_its_part(self, host: HostId, now: float) -> bool:
        """Tell whether a child has half of the slots, rounded up, while others wait."""
        if len(self._turns) == (host in self._turns):
            return False
        return 2 * self._admission.count_of(host) >= self.uploads + max(1, self._admission.room(now))

    def _expire(self, now: float) -> None:
        """Children that were woken and did not come have no turn any more."""
        if not self._turns:
            return
        gone = [h for h, t in self._turns.items() if t.woken_until is not None and t.woken_until <= now]
        for host in gone:
            del self._turns[host]

    def _wake(self, now: float) -> list[Command]:
        """Tell those that were refused last that there is room, as many as there is room for."""
        self._look_at = NEVER
        if not self._turns:
            return []
        exports = self._wake_far(now) if self._far else []
        free, waiting = self._admission.room(now), len(self._turns)
        result: list[Command] = []
        if free > 0:
            ranked = [(t.since, t.tie, host) for host, t in self._turns.items() if t.woken_until is None]
            waiting = len(ranked)
            free -= self._promised()
            for _, _, host in sorted(ranked, reverse=True) if free > 0 else ():
                if len(result) < free and not self._has_its_part(host, now):
                    self._turns[host].woken_until = now + WAKE_GRACE_S
                    result.append(commands.WakeChild(host))
        if waiting > len(result):
            self._look_at = self._next_look(now)
        return exports + result

    def _wake_far(self, now: float) -> list[Command]:
        """Tell children in other zones that there is room for them, those that wait longest first."""
        turns = self._turns
        waiting = sorted((turns[host].since, turns[host].tie, host) for host in self._far & turns.keys())
        woken = [host for _, _, host in waiting if turns[host].woken_until is None]
        del woken[max(0, self._admission.room_for_exports(self._far)) :]
        for host in woken:
            turns[host].woken_until = now + FAR_GRACE_S
        return [commands.WakeChild(host) for host in woken]

    def _next_look(self, now: float) -> float:
        """Return when there may be room for those that still wait, though no upload ends until then."""
        ends = (turn.woken_until for turn in self._turns.values() if turn.woken_until is not None)
        look = now + LOOK_INTERVAL_S if self._admission.is_measured else NEVER
        return min(look, min(ends, default=NEVER))

    def _gain(self, task: TaskId, records: Iterable[PieceRecord]) -> bool:
        """Hold these too; tell whether there is news for children."""
        holding = self.holdings[task]
        new = holding.gain(records)
        if not new or not holding.children:
            return False
        holding.untold += new
        self._untold[task] = None
        return True

    def _tell(self, task: TaskId) -> list[Command]:
        del self._untold[task]
        holding = self.holdings[task]
        records, holding.untold = tuple(holding.untold), []
        bits = sum(1 << record.index for record in records)
        curious = tuple(child for child in holding.children if bits & ~self._told_by(task, child))
        return [commands.SendHave(curious, task, records)] if curious else []

    # --- invariants -----------------------------------------------------------------------------------------

    def validate(self) -> None:
        """Assert all invariants; for tests."""
        running = self._admission.running
        assert len(running) <= self._admission.at_once_max + EXPORTS_MAX, "no more uploads than slots"
        assert self._far <= self._children.keys(), "only children import"
        assert len(self._children) <= self._children_max, "no more children than allowed"
        for task, holding in self.holdings.items():
            assert holding.bits == sum(1 << index for index in holding.records), (
                "bits are those of the records"
            )
            for host in holding.children:
                assert task in self._children[host], "a subscription is known on both sides"
            assert not holding.untold or task in self._untold, "what was gained will be told"
        assert not self._untold or self._tell_at < NEVER, "what was gained will be told in time"
        for host, tasks in self._children.items():
            assert len(tasks) <= SUBSCRIPTIONS_MAX, "a child has a bounded number of subscriptions"
            assert all(host in self.holdings[task].children for task in tasks), "and only to what we hold"
        assert self._turns.keys() <= self._children.keys(), "only children wait"
        if any(turn.woken_until is None for turn in self._turns.values()):
            assert running or self._look_at < NEVER, "who waits is woken when an upload ends, or in time"


HANDLERS: dict[type, Callable[[Sharing, Any, float], list[Command]]] = {
    events.ChildSubscribed: Sharing._subscribed,
    events.ChildUnsubscribed: Sharing._unsubscribed,
    events.ChildLost: Sharing._child_lost,
    events.PieceRequested: Sharing._requested,
    events.UploadEnded: Sharing._upload_ended,
    events.TimeReached: Sharing._time_reached,
    events.Stopping: Sharing._stop,
}
"""Who takes which event."""
