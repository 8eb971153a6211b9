"""Carries out what the machine asks of the origin: fetches of ranges, and tiny blobs for everybody."""

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

from dfdaemon import commands, events
from dfdaemon.io.active_blob import ActiveBlob, ActiveBlobs
from dfdaemon.io.driver import CommandTable
from dfdaemon.io.jobs import Jobs
from dfdaemon.io.origin_client import OriginClient, OriginSource
from dfdaemon.io.origin_fetch import OriginFetch
from dfdaemon.io.receiver import ReceiverPool
from dfdaemon.io.scheduler_client import SchedulerClient
from dfdaemon.origin_side import FINAL_FAULTS
from swarm.digest import Digest
from swarm.messages import InlineContent, OriginFault

AGAIN_SHARE = 0.25
"""Share of a fetch's time-out in which another source may be asked: an owner gives up at 80 % of its lease's time-out,
and begun so early the second attempt ends with the lease. What is final is tried elsewhere at any time."""
OF_THE_REGISTRY = frozenset({OriginFault.UNREACHABLE, OriginFault.TIMEOUT, OriginFault.THROTTLED})
"""Faults that another repository or credential of the same registry would only repeat."""
OF_THE_BODY = frozenset({OriginFault.SIZE_MISMATCH, OriginFault.WRONG_CONTENT})
"""Final faults that a mirror of the registry may be to blame for."""

Post = Callable[[events.Event], None]


@dataclass(slots=True, eq=False)
class _Errand:
    """One FetchRange on its way from source to source. `asked`: in this order; the fetch that runs uses the last."""

    command: commands.FetchRange
    blob: ActiveBlob
    began: float
    asked: list[OriginSource] = field(default_factory=list)
    away: set[str] = field(default_factory=set)
    """Registries that failed for all that they have."""
    arrived: bool = False
    passing: events.OriginEnded | None = None
    """How a source failed that may do better later."""

    def failed(self, ended: events.OriginEnded) -> None:
        """The source that was asked last failed."""
        if ended.fault not in FINAL_FAULTS:
            self.passing = self.passing or ended
        if ended.fault in OF_THE_REGISTRY:
            self.away.add(self.asked[-1].registry)

    def verdict(self, ended: events.OriginEnded) -> events.OriginEnded:
        """Return what to tell of all sources that were asked: no final fault while one may do better later."""
        return self.passing if self.passing is not None and ended.fault in FINAL_FAULTS else ended

    def untried(self) -> OriginSource | None:
        """Return the first source that was not asked, of a registry that may still give it."""
        left = (source for source in self.blob.sources if source not in self.asked)
        return next((source for source in left if source.registry not in self.away), None)


class OriginCommands:
    """Runs fetches for the driver: at the newest source, and when that fails at the others."""

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
        if not blob.sources:
            blob.denied = True
            denied = "no credential of this host is accepted by the origin"
            self._post(events.OriginEnded(command.task, command.epoch, OriginFault.DENIED, detail=denied))
            return
        began = asyncio.get_running_loop().time()
        self._ask(_Errand(command, blob, began), blob.sources[0])

    def _ask(self, errand: "_Errand", source: OriginSource) -> None:
        """Run the command of an errand at one source."""
        blob, command = errand.blob, errand.command
        assert blob.file is not None, "a range is fetched only once there is a place for it"
        if blob.account.failure:  # the bytes of the download that failed may have come from a mirror
            source = replace(source, past_mirrors=True)
        errand.asked.append(source)
        fetch = OriginFetch(command, blob.file, partial(self._heard, errand), self._receivers)
        job = self._jobs.start(fetch.run(self._origin, source))
        job.add_done_callback(fetch.finished)
        blob.fetches[command.epoch, command.start] = fetch, job

    def _heard(self, errand: "_Errand", event: events.Event) -> None:
        """Take the events of one fetch: to the machine, unless another source is asked instead."""
        if isinstance(event, events.OriginEnded):
            fetch, _ = errand.blob.fetches.pop((errand.command.epoch, errand.command.start))
            source = self._next_source(errand, event)
            if source is not None:
                errand.command = replace(errand.command, limit=fetch.limit)
                self._ask(errand, source)
                return
            event = errand.verdict(event)
            errand.blob.denied = event.fault is OriginFault.DENIED
        if isinstance(event, events.OriginPieceArrived):
            errand.arrived = True
            if errand.command.inline:
                self._share(errand.blob)
        self._post(event)

    def _next_source(self, errand: "_Errand", ended: events.OriginEnded) -> OriginSource | None:
        """Return where to run the same command again, if that makes sense; what failed is asked last from now on."""
        if ended.fault in (None, OriginFault.NO_RANGE, OriginFault.ABANDONED):
            return None
        used = errand.asked[-1]
        by_mirror = not used.past_mirrors and self._origin.has_mirrors(used.registry)
        if by_mirror and ended.fault in OF_THE_BODY and not errand.arrived and errand.blob.file is not None:
            return replace(used, past_mirrors=True)
        self._put_last(errand.blob.sources, used, forget=ended.fault is OriginFault.DENIED)
        errand.failed(ended)
        late = asyncio.get_running_loop().time() - errand.began > AGAIN_SHARE * errand.command.timeout_s
        if errand.arrived or errand.blob.file is None or (late and ended.fault not in FINAL_FAULTS):
            return None
        return errand.untried()

    def _put_last(self, sources: list[OriginSource], used: OriginSource, forget: bool) -> None:
        """Move a source that failed behind the others, or forget one whose credential is refused.

        Another fetch may have done so already. When none is left, this host's own account may do, or none: a registry
        that gives a blob to everybody may still refuse a credential that is wrong.
        """
        if used not in sources:
            return
        sources.remove(used)
        if not forget:
            sources.append(used)
        elif not sources:
            sources.append(self._origin.as_this_host(used) or replace(used, authorization=None))

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
