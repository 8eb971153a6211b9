"""One simulated host: the production machine of the daemon, with I/O that takes virtual time and moves no
bytes."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from dfdaemon.machine import DaemonMachine

from benchmarks.simulator.clock import Alarm
from benchmarks.simulator.network import Flow, Link
from benchmarks.simulator.origin import OriginConnection
from dfdaemon import commands, events
from swarm import availability
from swarm.dice import Dice
from swarm.facts import Note
from swarm.ids import Epoch, HostId, ReaderId, RequestId, TaskId
from swarm.messages import HeldBlob, HostInfo, PieceRecord, ToDaemon
from swarm.pieces import PieceMap

if TYPE_CHECKING:
    from benchmarks.simulator.cluster import Cluster

READER = ReaderId(1)
LIE = bytes(16)
"""What the bytes of a liar's pieces hash to."""

Request = tuple[HostId, TaskId, int, bool]
"""Parent, task, piece, scratch: the key of a request that a child has open."""


class SimulatedBlob:
    """What a host's disk holds of one blob."""

    def __init__(self, task: TaskId, size: int) -> None:
        self.task = task
        self.pieces = PieceMap.of(size)
        self.records: dict[int, PieceRecord] = {}
        self.complete = False
        self.prefix = 0


class SimulatedHost:
    """Executes the commands of one DaemonMachine in virtual time."""

    def __init__(self, cluster: "Cluster", number: int, info: HostInfo) -> None:
        self.info = info
        self.cluster = cluster
        self.up = Link(cluster.scenario.link_bytes_per_s)
        self.down = Link(cluster.scenario.link_bytes_per_s)
        self.disk: dict[TaskId, SimulatedBlob] = {}
        self.alive = False
        self.lies = False
        self.life = 0
        """Counts starts: what was under way for an earlier life never arrives."""
        self.arrived_at = 0.0
        self.finished: dict[TaskId, float] = {}
        self.failures: list[str] = []
        self.bytes_from_peers = 0
        self.machine: DaemonMachine
        self._number = number
        self._alarm: Alarm | None = None
        self._alarm_at = float("inf")
        self._requests: dict[Request, RequestId] = {}
        self._last_request = 0
        self._uploads: dict[tuple[HostId, RequestId], Flow] = {}
        self._children: dict[HostId, None] = {}
        self._parents: dict[HostId, None] = {}
        self._fetches: dict[tuple[TaskId, Epoch], OriginConnection] = {}
        self._execute = self._table()

    def _table(self) -> dict[type, Callable[[Any], None]]:
        return {
            commands.TellScheduler: lambda c: self.cluster.tell_scheduler(self, c.message),
            commands.OpenStore: lambda c: self.soon(self.cluster.scenario.store_latency_s, self._opened, c),
            commands.CommitPiece: self._commit,
            commands.CheckBlob: self._check,
            commands.DropPieces: self._drop,
            commands.CompleteBlob: self._complete,
            commands.CloseTask: lambda c: None,
            commands.ReleaseReaders: self._release,
            commands.FailReaders: lambda c: self.failures.append(c.reason),
            commands.Subscribe: self._subscribe,
            commands.Unsubscribe: lambda c: self.to_host(
                c.parent, events.ChildUnsubscribed(self.info.host, c.task)
            ),
            commands.RequestPiece: self._request,
            commands.CancelRequest: self._cancel,
            commands.FetchRange: self._fetch,
            commands.StopFetch: self._stop_fetch,
            commands.SendAvailability: self._send_availability,
            commands.SendGone: lambda c: self.to_host(c.child, events.ParentGone(self.info.host, c.task)),
            commands.SendHave: self._send_have,
            commands.StartUpload: self._upload,
            commands.RefuseUpload: self._refuse,
            commands.AbortUpload: self._abort,
            commands.WakeChild: lambda c: self.to_host(c.child, events.ParentReady(self.info.host)),
            Note: lambda c: self.cluster.noted(self, c),
        }

    # --- the loop ---------------------------------------------------------------------------------

    def start(self, seed: int) -> None:
        """Begin a life, with what is on the disk."""
        self.alive = True
        self.life += 1
        self.machine = DaemonMachine(self.info, self.cluster.daemon_config, Dice(seed))
        held = [HeldBlob(blob.task, blob.pieces.size) for blob in self.disk.values() if blob.complete]
        self.machine.restore(held)
        self.arrived_at = self.arrived_at or self.cluster.clock.now
        self.cluster.attach(self)

    def want(self, task: TaskId, size: int) -> None:
        """Let a local client ask for a blob and read it as it comes."""
        self.post(events.BlobWanted(task, size, "registry.test", True))
        self.post(events.ReaderOpened(task, READER, 0, size))

    def post(self, event: events.Event) -> None:
        """Give the machine an event; commands that raise events at once have them posted after themselves."""
        if not self.alive:
            return
        raised = [event]
        self._raised = raised
        while raised:
            for command in self.machine.handle(raised.pop(0), self.cluster.clock.now):
                self._execute[type(command)](command)
            if self.cluster.validate:
                self.machine.validate()
        self._set_alarm()

    def _raise(self, event: events.Event) -> None:
        self._raised.append(event)

    def _set_alarm(self) -> None:
        at = self.machine.wakeup_at()
        if at == self._alarm_at:
            return
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm_at = at
        self._alarm = self.cluster.clock.at(at, self._ring) if at != float("inf") else None

    def _ring(self) -> None:
        self._alarm_at = float("inf")
        self.post(events.TimeReached())

    def soon(self, seconds: float, action: Callable[..., None], *arguments: object) -> None:
        """Do something in a while, unless this life has ended by then."""
        life = self.life

        def act() -> None:
            if self.alive and self.life == life:
                action(*arguments)

        self.cluster.clock.after(seconds, act)

    def to_host(self, host: HostId, event: events.Event) -> None:
        """Let another host hear of something, one latency later."""
        other = self.cluster.hosts_by_id[host]
        if other.alive:
            other.soon(self.cluster.scenario.latency_s, other.post, event)

    def die(self) -> None:
        """End this life: everything that moves over our links stops, and those at the other ends notice."""
        self.alive = False
        self._alarm_at = float("inf")
        if self._alarm is not None:
            self._alarm.cancel()
        for connection in list(self._fetches.values()):
            connection.stop()
        self._fetches.clear()
        for (child, request), flow in list(self._uploads.items()):
            flow.cancel()
            self.cluster.hosts_by_id[child].request_failed(request, self.info.host)
        self._uploads.clear()
        for parent in self._parents:
            self.cluster.hosts_by_id[parent].child_lost(self.info.host)
        for child in self._children:
            self.cluster.hosts_by_id[child].parent_lost(self.info.host)
        self._requests.clear()
        self._children.clear()
        self._parents.clear()

    # --- the store --------------------------------------------------------------------------------

    def _opened(self, command: commands.OpenStore) -> None:
        blob = self.disk.setdefault(command.task, SimulatedBlob(command.task, command.size))
        self.post(events.StoreOpened(command.task, tuple(blob.records.values()), blob.complete))

    def _commit(self, command: commands.CommitPiece) -> None:
        blob = self.disk[command.task]
        blob.records[command.record.index] = command.record
        if command.source is not None:
            self.bytes_from_peers += blob.pieces.length(command.record.index)
        self._raise(events.PieceCommitted(command.task, command.record.index))

    def _check(self, command: commands.CheckBlob) -> None:
        blob = self.disk[command.task]
        right = all(record.digest != LIE for record in blob.records.values())
        seconds = (
            blob.pieces.piece_bytes / self.cluster.scenario.hash_bytes_per_s
        )  # the rest was hashed on the way
        self.soon(seconds, self.post, events.BlobChecked(command.task, right))

    def _drop(self, command: commands.DropPieces) -> None:
        for index in availability.indexes(command.bits):
            self.disk[command.task].records.pop(index, None)

    def _complete(self, command: commands.CompleteBlob) -> None:
        blob = self.disk[command.task]
        assert len(blob.records) == blob.pieces.count, "a blob is complete only with all its pieces"
        blob.complete = True
        self.finished.setdefault(command.task, self.cluster.clock.now)

    def _release(self, command: commands.ReleaseReaders) -> None:
        """Read the prefix as it grows, as a client would that is faster than the network."""
        blob = self.disk[command.task]
        prefix = min(blob.pieces.count, availability.first_missing(command.bits))
        if prefix <= blob.prefix:
            return
        blob.prefix = prefix
        self._raise(events.ReaderAdvanced(command.task, READER, blob.pieces.end(prefix - 1)))
        if prefix == blob.pieces.count:
            self._raise(events.ReaderClosed(command.task, READER))

    # --- the origin -------------------------------------------------------------------------------

    def _fetch(self, command: commands.FetchRange) -> None:
        connection = OriginConnection(self, command, self.disk[command.task].pieces)
        self._fetches[command.task, command.epoch] = connection
        connection.start()

    def _stop_fetch(self, command: commands.StopFetch) -> None:
        connection = self._fetches.pop((command.task, command.epoch), None)
        if connection is not None:
            connection.stop()
        self._raise(events.OriginEnded(command.task, command.epoch))

    @property
    def fetching(self) -> bool:
        """Whether a fetch from the origin runs."""
        return any(connection.running for connection in self._fetches.values())

    # --- as a child -------------------------------------------------------------------------------

    def _subscribe(self, command: commands.Subscribe) -> None:
        parent = command.parent.host
        if self.cluster.hosts_by_id[parent].alive:
            self._parents[parent] = None
            self.to_host(parent, events.ChildSubscribed(self.info.host, command.task))
            self.cluster.hosts_by_id[parent].add_child(self.info.host)
        else:
            lost = events.ParentLost(parent, events.PeerFault.UNREACHABLE)
            self.soon(2 * self.cluster.scenario.latency_s, self.post, lost)

    def _request(self, command: commands.RequestPiece) -> None:
        self._last_request += 1
        request = RequestId(self._last_request)
        key = (command.parent, command.task, command.index, command.scratch)
        assert key not in self._requests, "a piece is asked for once"
        self._requests[key] = request
        parent = self.cluster.hosts_by_id[command.parent]
        if not parent.alive:
            self.soon(self.cluster.scenario.latency_s, self.request_failed, request, command.parent)
            return
        asked = events.PieceRequested(self.info.host, request, command.task, command.index)
        self.to_host(command.parent, asked)

    def _cancel(self, command: commands.CancelRequest) -> None:
        key = (command.parent, command.task, command.index, command.scratch)
        request = self._requests.pop(key, None)
        if request is None:
            return
        self.cluster.hosts_by_id[command.parent].upload_failed(self.info.host, request)
        fault = events.PeerFault.CANCELLED
        self._raise(events.PieceFailed(command.parent, command.task, command.index, fault, command.scratch))

    def _take_request(self, request: RequestId) -> Request | None:
        """Close a request; None when it was closed before."""
        for key, number in self._requests.items():
            if number == request:
                del self._requests[key]
                return key
        return None

    def request_failed(self, request: RequestId, parent: HostId) -> None:
        """A parent died, or took its slot back, while it sent to us."""
        key = self._take_request(request)
        if key is not None:
            self.post(events.PieceFailed(parent, key[1], key[2], events.PeerFault.CLOSED, key[3]))

    def request_refused(self, request: RequestId, parent: HostId, gone: bool) -> None:
        """A parent has no slot free, or not the piece."""
        key = self._take_request(request)
        if key is None:
            return
        if gone:
            self.post(events.PieceFailed(parent, key[1], key[2], events.PeerFault.GONE, key[3]))
        else:
            self.post(events.ParentBusy(parent, key[1], key[2]))

    def piece_received(
        self, request: RequestId, parent: HostId, record: PieceRecord, actual: bytes, seconds: float
    ) -> None:
        """All bytes of a piece are here."""
        key = self._take_request(request)
        if key is not None:
            self.post(events.PieceArrived(parent, key[1], record, actual, seconds, key[3]))

    def parent_lost(self, parent: HostId) -> None:
        """A parent died."""
        self._parents.pop(parent, None)
        for request in [number for key, number in self._requests.items() if key[0] == parent]:
            self.request_failed(request, parent)
        self.post(events.ParentLost(parent, events.PeerFault.CLOSED))

    # --- as a parent ------------------------------------------------------------------------------

    def add_child(self, child: HostId) -> None:
        """A child opened its control connection."""
        self._children[child] = None

    def child_lost(self, child: HostId) -> None:
        """A child died."""
        self._children.pop(child, None)
        for request in [request for host, request in self._uploads if host == child]:
            self.upload_failed(child, request)
        self.post(events.ChildLost(child))

    def _send_availability(self, command: commands.SendAvailability) -> None:
        self.to_host(command.child, events.ParentAvailable(self.info.host, command.task, command.bits))

    def _send_have(self, command: commands.SendHave) -> None:
        gained = events.ParentHas(self.info.host, command.task, command.records)
        for child in command.children:
            self.to_host(child, gained)

    def _refuse(self, command: commands.RefuseUpload) -> None:
        child = self.cluster.hosts_by_id[command.child]
        if child.alive:
            refused = (command.request, self.info.host, command.gone)
            child.soon(self.cluster.scenario.latency_s, child.request_refused, *refused)

    def _upload(self, command: commands.StartUpload) -> None:
        child = self.cluster.hosts_by_id[command.child]
        length = self.disk[command.task].pieces.length(command.record.index)
        began = self.cluster.clock.now

        def sent() -> None:
            self._uploads.pop((command.child, command.request))
            seconds = self.cluster.clock.now - began
            actual = LIE if self.lies else command.record.digest
            child.soon(
                self.cluster.scenario.latency_s,
                child.piece_received,
                *(command.request, self.info.host, command.record, actual, seconds),
            )
            self.post(events.UploadEnded(command.child, command.request, command.task, length, seconds))

        self._uploads[command.child, command.request] = Flow(
            self.cluster.clock, self.up, child.down, length, sent
        )

    def _abort(self, command: commands.AbortUpload) -> None:
        self.upload_failed(command.child, command.request)
        self.cluster.hosts_by_id[command.child].request_failed(command.request, self.info.host)

    def upload_failed(self, child: HostId, request: RequestId) -> None:
        """The child took its request back, or died, or we took the slot back."""
        flow = self._uploads.pop((child, request), None)
        if flow is None:
            return
        sent = flow.cancel()
        self.soon(0.0, self.post, events.UploadEnded(child, request, TaskId(""), sent, 0.0, failed=True))

    # --- the scheduler ----------------------------------------------------------------------------

    def hear(self, message: ToDaemon) -> None:
        """Take a message of the scheduler's."""
        self.post(events.SchedulerSaid(message))
