"""Carries out what the machine asks of the origin: fetches of ranges, and tiny blobs for everybody."""

import os
from collections.abc import Callable

from dfdaemon import commands, events
from dfdaemon.io.active_blob import ActiveBlob, ActiveBlobs
from dfdaemon.io.driver import CommandTable
from dfdaemon.io.jobs import Jobs
from dfdaemon.io.origin_client import OriginClient
from dfdaemon.io.origin_fetch import OriginFetch
from dfdaemon.io.receiver import ReceiverPool
from dfdaemon.io.scheduler_client import SchedulerClient
from swarm.digest import Digest
from swarm.messages import InlineContent, OriginFault

Post = Callable[[events.Event], None]


class OriginCommands:
    """Runs fetches for the driver: the newest source first, the next one when the origin denies it."""

    def __init__(
        self,
        origin: OriginClient,
        scheduler: SchedulerClient,
        blobs: ActiveBlobs,
        jobs: Jobs,
        receivers: ReceiverPool,
        post: Post,
    ) -> None:
        self._origin = origin
        self._scheduler = scheduler
        self._blobs = blobs
        self._jobs = jobs
        self._receivers = receivers
        self._post = post

    def table(self) -> CommandTable:
        """Return who carries out which command."""
        return {
            commands.FetchRange: self._fetch,
            commands.RaiseLimit: self._raise_limit,
            commands.StopFetch: self._stop,
        }

    def _fetch(self, command: commands.FetchRange) -> None:
        blob = self._blobs.active[command.task]
        assert blob.file is not None, "a range is fetched only once there is a place for it"
        if not blob.sources:
            denied = "no credential of this host is accepted by the origin"
            self._post(events.OriginEnded(command.task, command.epoch, OriginFault.DENIED, detail=denied))
            return
        fetch = OriginFetch(command, blob.file, self._watched(blob, command), self._receivers)
        job = self._jobs.start(fetch.run(self._origin, blob.sources[0]))
        job.add_done_callback(fetch.finished)
        blob.fetches[command.epoch, command.start] = fetch, job

    def _watched(self, blob: ActiveBlob, command: commands.FetchRange) -> Post:
        """Return where the events of one fetch go: past us, to the machine."""

        def post(event: events.Event) -> None:
            if isinstance(event, events.OriginEnded):
                blob.fetches.pop((command.epoch, command.start), None)
                if event.fault is OriginFault.DENIED and self._next_source(blob):
                    self._fetch(command)
                    return
            if isinstance(event, events.OriginPieceArrived) and command.inline:
                self._share(blob)
            self._post(event)

        return post

    def _next_source(self, blob: ActiveBlob) -> bool:
        """Forget a source whose credential is refused; at the end this host's own account may do."""
        last = blob.sources.pop(0)
        if not blob.sources:
            own = self._origin.as_this_host(last)
            blob.sources.append(last if own is None else own)
            return own is not None
        return True

    def _share(self, blob: ActiveBlob) -> None:
        """Give a tiny blob to everybody, if it is what its digest says."""
        file, digest = blob.file, blob.digest
        if file is None:
            return
        content = os.pread(file.fd, file.pieces.size, file.place(0))
        if Digest.of(content, digest.algorithm) == digest:
            self._scheduler.tell(InlineContent(blob.task, content, blob.scope))

    def _raise_limit(self, command: commands.RaiseLimit) -> None:
        for (epoch, _), (fetch, _job) in self._blobs.active[command.task].fetches.items():
            if epoch == command.epoch:
                fetch.raise_limit(command.limit)

    def _stop(self, command: commands.StopFetch) -> None:
        for (epoch, _), (_fetch, job) in self._blobs.active[command.task].fetches.items():
            if epoch == command.epoch:
                job.cancel()
