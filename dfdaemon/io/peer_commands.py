"""Carries out what the machine asks of other hosts: parents to take pieces from, children to serve."""

from collections.abc import Callable

from dfdaemon import commands, events
from dfdaemon.io.active_blob import ActiveBlobs
from dfdaemon.io.blob_store import BlobStore
from dfdaemon.io.driver import CommandTable
from dfdaemon.io.jobs import Jobs
from dfdaemon.io.peer_client import PeerClient
from dfdaemon.io.peer_server import PeerServer
from dfdaemon.io.scheduler_client import SchedulerClient
from dfdaemon.io.store_commands import verify
from swarm.errors import StoreBusy, StoreError
from swarm.facts import Note
from swarm.ids import HostId, TaskId
from swarm.io.telemetry import Telemetry


class PeerCommands:
    """Works on the peer wire and the Attach stream for the driver."""

    def __init__(
        self,
        store: BlobStore,
        blobs: ActiveBlobs,
        client: PeerClient,
        server: PeerServer,
        scheduler: SchedulerClient,
        jobs: Jobs,
        telemetry: Telemetry,
        post: Callable[[events.Event], None],
    ) -> None:
        self._store = store
        self._blobs = blobs
        self._client = client
        self._server = server
        self._scheduler = scheduler
        self._jobs = jobs
        self._telemetry = telemetry
        self._post = post
        self._checking: dict[TaskId, dict[HostId, None]] = {}
        """Blobs that are checked now, and the children that wait for it."""

    def table(self) -> CommandTable:
        """Return who carries out which command."""
        client, server = self._client, self._server
        return {
            commands.TellScheduler: lambda c: self._scheduler.tell(c.message),
            commands.Subscribe: self._subscribe,
            commands.Unsubscribe: lambda c: client.unsubscribe(c.parent, c.task),
            commands.RequestPiece: self._request,
            commands.CancelRequest: lambda c: client.cancel(c.parent, c.task, c.index, c.scratch),
            commands.SendAvailability: lambda c: server.send_availability(c.child, c.task, c.size, c.bits),
            commands.SendGone: lambda c: server.send_gone(c.child, c.task),
            commands.SendHave: lambda c: server.send_have(c.children, c.task, c.records),
            commands.StartUpload: self._upload,
            commands.RefuseUpload: lambda c: server.refuse(c.child, c.request, c.gone),
            commands.AbortUpload: lambda c: server.abort(c.child, c.request),
            commands.StopSending: lambda c: server.stop_sending(c.task, c.bits),
            commands.WakeChild: lambda c: server.wake(c.child),
        }

    def _subscribe(self, command: commands.Subscribe) -> None:
        size = self._blobs.active[command.task].pieces.size
        self._client.subscribe(command.parent, command.task, size)

    def _request(self, command: commands.RequestPiece) -> None:
        blob = self._blobs.active[command.task]
        file = blob.file
        assert file is not None, "pieces are requested only once there is a place for them"
        if command.scratch:
            try:
                file = self._store.scratch(command.task, command.index)
            except (KeyError, OSError):  # it left the disk, or no descriptor is left: one copy has to do
                fault = events.PeerFault.CANCELLED
                self._post(events.PieceFailed(command.parent, command.task, command.index, fault, True))
                return
            blob.drop_scratch(command.index)
            blob.scratch[command.index] = command.parent, file
        self._client.request(command.parent, command.task, command.index, file, command.scratch)

    def heard(self, event: events.Event) -> None:
        """Pass an event of the peer client on; first free the scratch space of a second copy that failed."""
        if isinstance(event, events.ParentBusy | events.PieceFailed):
            blob = self._blobs.active.get(event.task)
            if blob is not None:
                blob.drop_scratch(event.index, event.parent)
        self._post(event)

    def served(self, event: events.Event) -> None:
        """Pass an event of the peer server on; first count what was sent, whole pieces or parts of them."""
        if isinstance(event, events.UploadEnded):
            self._telemetry.count("uploaded_bytes_total", event.sent_bytes)
            account = self._blobs.ledger.get(event.task)
            if account is not None:
                account.uploaded_bytes += event.sent_bytes
        self._post(event)

    def _upload(self, command: commands.StartUpload) -> None:
        """Send a piece. What a crash left unchecked is checked first: until then the child is told to wait."""
        task = command.task
        try:
            file = self._store.file(task) if self._store.is_verified(task) else None
        except (KeyError, StoreError) as error:
            self._refuse_upload(command, gone=not isinstance(error, StoreBusy))
            if isinstance(error, StoreError) and not isinstance(error, StoreBusy):
                self._withdraw(task, str(error))
            return
        if file is None:
            self._check_first(task, command.child)
            self._refuse_upload(command, gone=False)
            return
        length = file.pieces.length(command.record.index)
        self._server.start_upload(command.child, command.request, task, command.record, file, length)
        file.release()

    def _refuse_upload(self, command: commands.StartUpload, gone: bool) -> None:
        self._server.refuse(command.child, command.request, gone)
        self._post(events.UploadEnded(command.child, command.request, command.task, 0, 0.0, failed=True))

    def _withdraw(self, task: TaskId, reason: str) -> None:
        """Offer a blob no longer that is on disk and cannot be read: others are asked for it, or the origin."""
        self._telemetry.note(Note("store_failed", task, fields=(("error", reason),)))
        self._post(events.BlobEvicted(task))

    def _check_first(self, task: TaskId, child: HostId) -> None:
        """Check a blob that is on disk since before a crash, once however many ask, and let them ask again."""
        if task not in self._checking:
            self._checking[task] = {}
            self._jobs.start(self._verify(task))
        self._checking[task][child] = None

    async def _verify(self, task: TaskId) -> None:
        try:
            await verify(self._store, task, self._post)
        finally:
            children = self._checking.pop(task)
        blob = self._store.get(task)
        if blob is not None and not blob.verified:
            self._withdraw(task, "it could not be checked after a crash")
            return  # its children hear of that
        for child in children:
            self._server.wake(child)
