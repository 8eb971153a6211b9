"""The peer wire in virtual time: subscriptions, news, requests and transfers between hosts.

Every frame takes one latency; frames between two hosts keep their order. What breaks is noticed by those at the other
ends one latency later, or after a long silence when a host has vanished or a zone is cut off.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from benchmarks.simulator.disk import LIE, Disk, Post
from benchmarks.simulator.fabric import Fabric
from benchmarks.simulator.life import Life
from benchmarks.simulator.network import Flow, Link, ramp_s
from benchmarks.simulator.work import Worker
from dfdaemon import commands, events
from dfdaemon.events import PeerFault
from swarm.ids import HostId, RequestId, TaskId
from swarm.messages import PieceRecord

Key = tuple[HostId, TaskId, int, bool]
"""Parent, task, piece, scratch: what a child calls a request."""
IDLE_S = 0.25
"""A connection that was idle for longer ramps up again (RFC 5681, 4.1: after a retransmission time-out)."""


@dataclass(slots=True)
class Upload:
    """A transfer to a child."""

    task: TaskId
    index: int
    flow: Flow | None
    """None before it begins, and when the child has vanished and we do not know it: nothing moves."""
    began: float
    length: int

    def stop(self) -> int:
        """End it; return the bytes that were sent."""
        return self.flow.cancel() if self.flow is not None else 0


class Peering:
    """One host's ends of all its connections to other hosts."""

    def __init__(
        self,
        host: HostId,
        zone: int,
        life: Life,
        disk: Disk,
        rates: tuple[Link, Link],
        fabric: Fabric,
    ) -> None:
        self.host = host
        self.zone = zone
        self.life = life
        self.up, self.down = rates
        self.lies = False
        self.forges = False
        self.others: dict[HostId, Peering] = {}
        """All hosts of the cluster, by name: shared."""
        self.rescuers: set[tuple[HostId, TaskId]] = set()
        """Parents that a rescue brought first, and for which task."""
        self.received = self.rescued = self.hedged = 0
        """Pieces from parents; those from rescuers; those that were second copies."""
        self._disk = disk
        self._fabric = fabric
        self._latencies = fabric.latencies[zone]
        self._core = Worker(life.clock)
        self._cpu_s = fabric.cpu_s_per_piece
        self._warm_until: dict[HostId, float] = {}
        """Until when TCP remembers how fast it can send to a child."""
        self._post: Post = lambda event: None
        self._keys: dict[RequestId, Key] = {}
        self._requests: dict[Key, RequestId] = {}
        self._last_request = 0
        self._uploads: dict[tuple[HostId, RequestId], Upload] = {}
        self._children: dict[HostId, int] = {}
        """With the number of the life in which each connected; so for parents."""
        self._parents: dict[HostId, int] = {}

    @property
    def upload_count(self) -> int:
        """How many transfers to children run."""
        return len(self._uploads)

    def table(self) -> dict[type, Callable[[Any], None]]:
        """Return who carries out which command."""
        me, say = self.host, self._say
        return {
            commands.Subscribe: self._subscribe,
            commands.Unsubscribe: lambda c: say(c.parent, events.ChildUnsubscribed(me, c.task)),
            commands.RequestPiece: self._request,
            commands.CancelRequest: self._cancel,
            commands.SendAvailability: lambda c: say(c.child, events.ParentAvailable(me, c.task, c.bits)),
            commands.SendGone: lambda c: say(c.child, events.ParentGone(me, c.task)),
            commands.SendHave: self._send_have,
            commands.StartUpload: self._upload,
            commands.RefuseUpload: lambda c: self._to(c.child, "_refused", c.request, c.gone),
            commands.AbortUpload: self._abort,
            commands.StopSending: self._drop_uploads,
            commands.WakeChild: lambda c: say(c.child, events.ParentReady(me)),
        }

    def begin(self, post: Post) -> None:
        """A new life starts, with no connections; who has not noticed yet that the last one ended does so now."""
        self._post = post
        self._leave(0.0, self.life.number - 1)
        for table in (self._keys, self._requests, self._uploads, self._children, self._parents):
            table.clear()

    def die(self, silence_s: float) -> None:
        """End this life: all transfers stop at once; those at the other ends notice after `silence_s`."""
        for upload in self._uploads.values():
            upload.stop()
        for parent in self._parents:
            self.others[parent]._stop_sending(self.host)
        self._leave(silence_s, self.life.number)

    # --- a cut --------------------------------------------------------------------------------------

    def _is_beyond(self, host: HostId) -> bool:
        return not self._fabric.passes(self.zone, self.others[host].zone)

    def stall(self) -> None:
        """Zones were cut off: transfers to beyond the cut stop, and nobody is told."""
        for (child, _), upload in self._uploads.items():
            if self._is_beyond(child):
                upload.stop()

    def notice_cut(self) -> None:
        """Silence has lasted too long: connections to beyond the cut are broken."""
        for parent, life in list(self._parents.items()):
            if self._is_beyond(parent):
                self._parent_lost(parent, life)
        for child, life in list(self._children.items()):
            if self._is_beyond(child):
                self._child_lost(child, life)

    # --- frames -------------------------------------------------------------------------------------

    def _leave(self, seconds: float, life: int) -> None:
        for parent in self._parents:
            self._after(parent, seconds, "_child_lost", self.host, life)
        for child in self._children:
            self._after(child, seconds, "_parent_lost", self.host, life)

    def _stop_sending(self, host: HostId) -> None:
        for (child, _), upload in self._uploads.items():
            if child == host:
                upload.stop()

    def _say(self, host: HostId, event: events.Event) -> None:
        other = self.others[host]
        if other.life.alive and self._fabric.passes(self.zone, other.zone):
            other.life.soon(self._latencies[other.zone], other._post, event)

    def _to(self, host: HostId, method: str, *arguments: object) -> None:
        self._after(host, self._latencies[self.others[host].zone], method, *arguments)

    def _after(self, host: HostId, seconds: float, method: str, *arguments: object) -> None:
        other = self.others[host]
        if other.life.alive and self._fabric.passes(self.zone, other.zone):
            other.life.soon(seconds, getattr(other, method), *arguments)

    # --- as a child ---------------------------------------------------------------------------------

    def _subscribe(self, command: commands.Subscribe) -> None:
        parent = self.others[command.parent.host]
        lost = events.ParentLost(parent.host, PeerFault.UNREACHABLE)
        if self._is_beyond(parent.host):
            if parent.host not in self._parents:
                self.life.soon(self._fabric.connect_timeout_s, self._post, lost)
        elif parent.life.alive:
            self._parents[parent.host] = parent.life.number
            parent._children[self.host] = self.life.number
            self._say(parent.host, events.ChildSubscribed(self.host, command.task, f"zone-{self.zone}"))
        else:
            self.life.soon(2 * self._latencies[parent.zone], self._post, lost)

    def _request(self, command: commands.RequestPiece) -> None:
        self._last_request += 1
        request = RequestId(self._last_request)
        key = (command.parent, command.task, command.index, command.scratch)
        assert key not in self._requests, "a piece is asked for once"
        self._requests[key] = request
        self._keys[request] = key
        if command.parent in self._parents:
            asked = events.PieceRequested(self.host, request, command.task, command.index)
            self._say(command.parent, asked)
        else:
            self.life.soon(self._latencies[self.zone], self._failed, request)

    def _cancel(self, command: commands.CancelRequest) -> None:
        """Take a request back. What was on its way is thrown away; nothing writes any more."""
        request = self._requests.get((command.parent, command.task, command.index, command.scratch))
        if request is not None:
            self._to(command.parent, "_taken_back", self.host, request)
            self.life.soon(0.0, self._failed, request, PeerFault.CANCELLED)

    def _close(self, request: RequestId) -> Key | None:
        """Forget a request; None when it was closed before."""
        key = self._keys.pop(request, None)
        if key is not None:
            del self._requests[key]
        return key

    def _failed(self, request: RequestId, fault: PeerFault = PeerFault.CLOSED) -> None:
        key = self._close(request)
        if key is not None:
            self._post(events.PieceFailed(key[0], key[1], key[2], fault, key[3]))

    def _refused(self, request: RequestId, gone: bool) -> None:
        if gone:
            self._failed(request, PeerFault.GONE)
            return
        key = self._close(request)
        if key is not None:
            self._post(events.ParentBusy(key[0], key[1], key[2]))

    def _received(self, request: RequestId, record: PieceRecord, actual: bytes, seconds: float) -> None:
        if self._cpu_s:
            self.life.soon(self._core.delay(self._cpu_s), self._processed, request, record, actual, seconds)
        else:
            self._processed(request, record, actual, seconds)

    def _processed(self, request: RequestId, record: PieceRecord, actual: bytes, seconds: float) -> None:
        key = self._close(request)
        if key is not None:
            self.received += 1
            self.rescued += (key[0], key[1]) in self.rescuers
            self.hedged += key[3]
            self._post(events.PieceArrived(key[0], key[1], record, actual, seconds, key[3]))

    def _parent_lost(self, parent: HostId, life: int) -> None:
        if self._parents.get(parent) != life:
            return
        del self._parents[parent]
        for request in [request for request, key in self._keys.items() if key[0] == parent]:
            self._failed(request)
        self._post(events.ParentLost(parent, PeerFault.CLOSED))

    # --- as a parent --------------------------------------------------------------------------------

    def _child_lost(self, child: HostId, life: int) -> None:
        if self._children.get(child) != life:
            return
        del self._children[child]
        for host, request in [key for key in self._uploads if key[0] == child]:
            self._taken_back(host, request)
        self._post(events.ChildLost(child))

    def _send_have(self, command: commands.SendHave) -> None:
        gained = events.ParentHas(self.host, command.task, command.records)
        for child in command.children:
            self._say(child, gained)

    def _upload(self, command: commands.StartUpload) -> None:
        child, request, task = command.child, command.request, command.task
        length = self._disk.blob(task).pieces.length(command.record.index)
        upload = self._uploads[child, request] = Upload(
            task, command.record.index, None, self.life.clock.now, length
        )
        wait = self._wait_s(child, length)
        if wait:
            self.life.soon(wait, self._begin_upload, command, upload)
        else:
            self._begin_upload(command, upload)

    def _wait_s(self, child: HostId, length: int) -> float:
        """Return what the core and a cold connection take before a transfer is under way."""
        wait = self._core.delay(self._cpu_s) if self._cpu_s else 0.0
        initial = self._fabric.initial_window_bytes
        if initial and self._warm_until.get(child, 0.0) < self.life.clock.now:
            other = self.others[child]
            rate = min(self.up.bytes_per_s, other.down.bytes_per_s)
            wait += ramp_s(initial, 2 * self._latencies[other.zone], rate, length)
        return wait

    def _begin_upload(self, command: commands.StartUpload, upload: Upload) -> None:
        child, request, length = command.child, command.request, upload.length
        if self._uploads.get((child, request)) is not upload:
            return
        other = self.others[child]
        if child not in self._children:
            self.life.soon(0.0, self._taken_back, child, request)
        elif other.life.alive and other.life.number == self._children[child] and not self._is_beyond(child):
            between = self._fabric.between(self.zone, other.zone)
            upload.flow = Flow(
                self.life.clock,
                self.up,
                other.down,
                length,
                lambda: self._sent(command, upload),
                between=between,
            )

    def _sent(self, command: commands.StartUpload, upload: Upload) -> None:
        child, request, record = command.child, command.request, command.record
        del self._uploads[child, request]
        now = self.life.clock.now
        seconds = now - upload.began
        self._warm_until[child] = now + IDLE_S
        self._fabric.count(self.zone, self.others[child].zone, upload.length)
        claimed = replace(record, digest=LIE) if self.forges else record
        actual = LIE if self.lies else claimed.digest
        self._to(child, "_received", request, claimed, actual, seconds)
        self._post(events.UploadEnded(child, request, upload.task, upload.length, seconds))

    def _abort(self, command: commands.AbortUpload) -> None:
        self._to(command.child, "_failed", command.request)
        self._taken_back(command.child, command.request)

    def _drop_uploads(self, command: commands.StopSending) -> None:
        for (child, request), upload in list(self._uploads.items()):
            if upload.task == command.task and command.bits >> upload.index & 1:
                self._abort(commands.AbortUpload(child, request))

    def _taken_back(self, child: HostId, request: RequestId) -> None:
        """The child took its request back, or died, or we took the slot back."""
        upload = self._uploads.pop((child, request), None)
        if upload is None:
            return
        sent, seconds = upload.stop(), self.life.clock.now - upload.began
        self._fabric.count(self.zone, self.others[child].zone, sent)
        ended = events.UploadEnded(child, request, upload.task, sent, seconds, failed=True)
        self.life.soon(0.0, self._post, ended)
