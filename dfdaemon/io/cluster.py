"""What other hosts found out about repositories and tags: questions to the scheduler, and our own findings
to it."""

import asyncio

from dfdaemon.io.scheduler_client import SchedulerClient
from swarm.repositories import (
    AskRepository,
    RepositoryAnswer,
    RepositoryReport,
    TagPushed,
    TagReport,
    TagUnresolved,
)

ANSWER_TIMEOUT_S = 1.0
"""A scheduler answers within milliseconds; a client that waits for a tag is worth one second."""
FRESH_TIMEOUT_S = 3.0
"""A seed may have to ask a registry, with a token: a little longer than the scheduler waits for it."""
QUESTIONS_MAX = 1024
"""Questions open at once; more are answered None, as if there were no scheduler."""


class ClusterKnowledge:
    """Implements Cluster of dfdaemon/io/blobs.py over the Attach stream."""

    def __init__(self, scheduler: SchedulerClient) -> None:
        self._scheduler = scheduler
        self._waiting: dict[int, asyncio.Future[RepositoryAnswer]] = {}
        self._last = 0

    async def ask(
        self, registry: str, repository: str, tag: str = "", digest: str = "", *, fresh: bool = False
    ) -> RepositoryAnswer | None:
        """Ask the scheduler; None when there is none, or no answer in time."""
        if not self._scheduler.attached or len(self._waiting) >= QUESTIONS_MAX:
            return None
        self._last += 1
        number = self._last
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        self._scheduler.tell(AskRepository(number, registry, repository, tag, digest, fresh))
        try:
            return await asyncio.wait_for(answer, FRESH_TIMEOUT_S if fresh else ANSWER_TIMEOUT_S)
        except TimeoutError:
            return None
        finally:
            del self._waiting[number]

    def answered(self, answer: RepositoryAnswer) -> None:
        """Take the scheduler's answer; one that nobody waits for any more is dropped."""
        waiting = self._waiting.get(answer.request)
        if waiting is not None and not waiting.done():
            waiting.set_result(answer)

    def report_tag(self, report: TagReport | TagUnresolved | TagPushed) -> None:
        """Tell the scheduler what happened to a tag just now."""
        self._scheduler.tell(report)

    def report_repository(self, report: RepositoryReport) -> None:
        """Tell the scheduler what is known of a repository."""
        self._scheduler.tell(report)
