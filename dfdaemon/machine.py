"""The daemon's machine: events in, commands out. It owns the downloads, the sharing, and the talk with the scheduler.

It routes each event to its task's Download, to Sharing or to Session, and then lets downloads ask for more, as long as
the budget of requests has room: the more urgent one first, then earlier layers of an image, which are unpacked before
the others, then the one with fewer requests in flight.
"""

from collections.abc import Callable, Iterable
from typing import Any, Protocol

from dfdaemon import events, routes
from dfdaemon.budget import RequestBudget
from dfdaemon.commands import CloseTask, Command, FailReaders
from dfdaemon.config import FIRST_NODES, DaemonConfig
from dfdaemon.download import Download
from dfdaemon.hosts import HostBook
from dfdaemon.load import LoadMeter
from dfdaemon.means import Means
from dfdaemon.phase import Phase
from dfdaemon.session import Link, Session
from dfdaemon.sharing import Sharing
from swarm import messages, repositories
from swarm.dice import Dice
from swarm.facts import Note
from swarm.ids import HostId, TaskId
from swarm.layers import PAUSE_S
from swarm.messages import HeldBlob, Hello, HostInfo, LeaseFailed, Leave, OriginFault, PieceRecord

DOWNLOADS_MAX = 1024
"""Downloads at once; the mirror takes no more connections than that."""
QUARANTINED_MAX = 1024
"""Hosts in quarantine that are remembered; more than that is a lost cluster."""
STARVED, OTHERS, LATER = range(3)
"""Whose turn it is first: a later layer that got nothing for long, the others, later layers of an image."""
SHARING_EVENTS = (
    events.ChildSubscribed,
    events.ChildUnsubscribed,
    events.ChildLost,
    events.PieceRequested,
    events.UploadEnded,
)


class Stored(Protocol):
    """A blob on disk, whole and right, as the store knows it."""

    @property
    def task(self) -> TaskId:
        """Its name."""

    @property
    def size(self) -> int:
        """Its bytes."""

    @property
    def records(self) -> Iterable[PieceRecord]:
        """The digests of its pieces."""


class DaemonMachine:
    """Everything that a daemon decides. One writer; `now` in seconds, never going back."""

    def __init__(self, info: HostInfo, config: DaemonConfig, dice: Dice) -> None:
        self.downloads: dict[TaskId, Download] = {}
        self.held: dict[TaskId, int] = {}
        """Complete blobs on disk, with their bytes."""
        self.sharing = Sharing(config, dice, self._told_by, info.zone)
        self._out: list[Command] = []
        self.session = Session(config, self._out)
        self._load = LoadMeter()
        self._stopping = False
        self._quarantined: dict[HostId, None] = {}
        self._means = Means(
            info,
            dice,
            self._out,
            self.session,
            RequestBudget(config),
            HostBook(),
            self.sharing,
            config.store.ring_bytes,
            config.verify == FIRST_NODES,
        )

    def restore(self, held: Iterable[Stored]) -> None:
        """Take over the complete blobs that are on disk; called before the first event."""
        for blob in held:
            self.held[blob.task] = blob.size
            self.sharing.offer(blob.task, blob.size, tuple(blob.records))

    def handle(self, event: events.Event, now: float) -> list[Command]:
        """Take an event; return what to do, in order."""
        HANDLERS[type(event)](self, event, now)
        means = self._means
        if means.ripe:
            self._ask(now)
        self.session.settle(now)
        commands = self._out[:]
        self._out.clear()
        return commands

    def wakeup_at(self) -> float:
        """Return when TimeReached should come; inf when nothing waits for time."""
        at = min(self.session.wakeup_at(), self.sharing.wakeup_at())
        for download in self.downloads.values():
            at = min(at, download.wakeup_at())
        return at

    # --- asking ---------------------------------------------------------------------------------------------------

    def _ask(self, now: float) -> None:
        """Let downloads ask for pieces until the budget is spent, or none finds anything to ask for."""
        ripe, budget = self._means.ripe, self._means.budget
        while ripe and budget.has_room(now):
            task = next(iter(ripe)) if len(ripe) == 1 else self._first(now)
            download = self.downloads.get(task)
            if download is None or not download.ask(now):
                del ripe[task]

    def _first(self, now: float) -> TaskId:
        """Return whose turn it is to ask."""
        ripe, firsts = self._means.ripe, dict[str, int]()
        for layer in ripe.values():
            if layer is not None:
                firsts[layer.image] = min(layer.place, firsts.get(layer.image, layer.place))

        def claim(task: TaskId) -> tuple[int, int, int]:
            download, layer = self.downloads.get(task), ripe[task]
            if download is None:
                return 0, 0, 0
            turn = OTHERS
            if layer is not None and layer.place > firsts[layer.image]:
                starves = now - download.blob.moved_at >= PAUSE_S and not download.in_flight
                turn = STARVED if starves else LATER
            return download.blob.priority, turn, download.in_flight

        return min(ripe, key=claim)

    # --- downloads --------------------------------------------------------------------------------------------------

    def _wanted(self, event: events.BlobWanted, now: float) -> None:
        download = self.downloads.get(event.task)
        if download is not None:
            routes.deliver(download, event, now)
        elif self._stopping or len(self.downloads) >= DOWNLOADS_MAX:
            reason = "the daemon stops" if self._stopping else f"{DOWNLOADS_MAX} downloads run already"
            self._out += [FailReaders(event.task, reason), CloseTask(event.task)]
        else:
            self.downloads[event.task] = Download(event, self._means, now)

    def _of_task(self, event: Any, now: float) -> None:
        download = self.downloads.get(event.task)
        if download is not None:
            routes.deliver(download, event, now)
            self._note_end(download)
        elif type(event) is events.PieceLost:
            self._damaged(event)

    def _note_end(self, download: Download) -> None:
        """Keep the books when a download has become whole, or closed."""
        if download.phase is Phase.WHOLE:
            self.held[download.task] = download.blob.pieces.size
        elif download.phase is Phase.CLOSED:
            del self.downloads[download.task]
            self._means.ripe.pop(download.task, None)
            self._means.dry.pop(download.task, None)

    def _damaged(self, event: events.PieceLost) -> None:
        """A piece of a blob that is not downloaded turned out damaged on disk."""
        self._out += self.sharing.lost(event.task, 1 << event.index)
        if self.held.pop(event.task, None) is not None:
            self.session.tell(Leave(event.task))
            self._out.append(Note("blob_damaged", event.task, fields=(("index", event.index),)))

    def _evicted(self, event: events.BlobEvicted, now: float) -> None:
        self.held.pop(event.task, None)
        if event.task not in self.downloads:
            self._out += self.sharing.forget(event.task)
            self.session.tell(Leave(event.task))

    def _withdrawn(self, event: events.BlobWithdrawn, now: float) -> None:
        """Nobody gets it from us any more, and we take it from nobody."""
        self.held.pop(event.task, None)
        self._out += self.sharing.forget(event.task)
        self.session.tell(Leave(event.task))
        download = self.downloads.get(event.task)
        if download is not None and download.phase is not Phase.CLOSING:
            download.fail(event.reason, now)
            download.settle(now)
            self._note_end(download)

    # --- parents ----------------------------------------------------------------------------------------------------

    def _parent_ready(self, event: events.ParentReady, now: float) -> None:
        self._means.book.get(event.parent).busy_until = 0.0
        self._means.room_at_a_host()

    def _parent_lost(self, event: events.ParentLost, now: float) -> None:
        self._means.book.get(event.parent).strike(self._means.dice.share(), now)
        for download in self.downloads.values():
            download.peers.lost(event.parent, now)

    # --- the scheduler ------------------------------------------------------------------------------------------------

    def _attached(self, event: events.SchedulerAttached, now: float) -> None:
        self.session.attach()
        self._out.append(Note("scheduler_attached"))
        self._pardon()
        active = [download.active_task() for download in self.downloads.values()]
        held = tuple(HeldBlob(task, size) for task, size in self.held.items())
        self.session.tell(Hello(self._means.info, tuple(task for task in active if task is not None), held))
        self._tell_downloads(now)

    def _scheduler_lost(self, event: events.SchedulerLost, now: float) -> None:
        if self.session.link is not Link.ALONE:
            self._out.append(Note("scheduler_lost", fields=(("reason", event.reason),)))
        self.session.lose(now)
        self._tell_downloads(now)

    def _tell_downloads(self, now: float) -> None:
        for download in list(self.downloads.values()):
            download.link_changed(now)
            self._note_end(download)

    def _heard(self, event: events.SchedulerSaid, now: float) -> None:
        message = event.message
        if isinstance(message, messages.Settings):
            self.session.adopt(message)
        elif isinstance(message, messages.Quarantine):
            self._quarantine(message, now)
        elif not isinstance(message, repositories.Word):
            self._heard_of_task(message, now)

    def _heard_of_task(self, message: Any, now: float) -> None:
        download = self.downloads.get(message.task)
        if download is not None:
            routes.tell(download, message, now)
            self._note_end(download)
        elif isinstance(message, messages.Lease):
            self.session.tell(LeaseFailed(message.task, message.epoch, message.start, OriginFault.ABANDONED))

    def _quarantine(self, message: messages.Quarantine, now: float) -> None:
        host = self._means.book.get(message.host)
        host.barred_until = max(host.barred_until, now + message.seconds)
        if len(self._quarantined) < QUARANTINED_MAX:
            self._quarantined[message.host] = None
        self._out.append(Note("host_quarantined", host=message.host))
        for download in self.downloads.values():
            download.peers.shun(message.host)

    def _pardon(self) -> None:
        """Quarantine is a scheduler's word: one that attaches says it again, or knows nothing and offers the host."""
        for name in self._quarantined:
            self._means.book.get(name).barred_until = 0.0
            for download in self.downloads.values():
                download.peers.pardon(name)
        self._quarantined.clear()

    def _told_by(self, task: TaskId, host: HostId) -> int:
        download = self.downloads.get(task)
        peer = download.peers.parents.get(host) if download is not None else None
        return peer.bits if peer is not None else 0

    # --- the rest -----------------------------------------------------------------------------------------------

    def _share(self, event: events.Event, now: float) -> None:
        before = self.sharing.uploads
        self._out += self.sharing.handle(event, now)
        uploads = self.sharing.uploads
        if uploads != before:
            sent = event.sent_bytes if isinstance(event, events.UploadEnded) else 0
            load = self._load.look(uploads, sent, self._means.budget.received_bytes, now)
            if load is not None:
                self.session.measured(load)

    def _time_reached(self, event: events.TimeReached, now: float) -> None:
        self._out += self.sharing.handle(event, now)
        dry = self._means.dry  # who called for help longest ago is first, for only one may at a time
        for task in [*dry, *(task for task in self.downloads if task not in dry)]:
            download = self.downloads[task]
            if download.wakeup_at() <= now:
                download.due(now)
                self._note_end(download)

    def _stop(self, event: events.Stopping, now: float) -> None:
        """Take nothing new, give nothing new; what runs may finish."""
        self._stopping = True
        self._out += self.sharing.handle(event, now)
        self.session.flush(now)
        self.session.tell(Leave(TaskId("")))

    def validate(self) -> None:
        """Assert all invariants; for tests."""
        self.session.validate()
        self.sharing.validate()
        self._means.budget.validate(sum(download.in_flight for download in self.downloads.values()))
        own = 0
        for task, download in self.downloads.items():
            assert task == download.task, "a download goes by its task"
            assert download.phase is not Phase.CLOSED, "a closed download is forgotten"
            download.validate()
            own += download.origin.fetches_own
        assert own == self._means.own_fetches, "ungranted fetches are counted"
        for task in self._means.dry:
            assert task in self.downloads, "dry downloads exist"


HANDLERS: dict[type, Callable[[DaemonMachine, Any, float], None]] = {
    **dict.fromkeys(routes.ACCEPTED, DaemonMachine._of_task),
    events.SchedulerAttached: DaemonMachine._attached,
    events.SchedulerLost: DaemonMachine._scheduler_lost,
    events.SchedulerSaid: DaemonMachine._heard,
    events.BlobWanted: DaemonMachine._wanted,
    events.BlobEvicted: DaemonMachine._evicted,
    events.BlobWithdrawn: DaemonMachine._withdrawn,
    events.ParentReady: DaemonMachine._parent_ready,
    events.ParentLost: DaemonMachine._parent_lost,
    events.TimeReached: DaemonMachine._time_reached,
    events.Stopping: DaemonMachine._stop,
    **dict.fromkeys(SHARING_EVENTS, DaemonMachine._share),
}
"""Who takes which event."""
