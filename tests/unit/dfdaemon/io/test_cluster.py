"""Questions about repositories find their answers."""

import asyncio

from dfdaemon.config import SchedulerLinkConfig
from dfdaemon.io.cluster import QUESTIONS_MAX, ClusterKnowledge
from dfdaemon.io.scheduler_client import SchedulerClient
from swarm.ids import HostId
from swarm.messages import ToScheduler
from swarm.repositories import AskRepository, RepositoryAnswer


class Recorder(SchedulerClient):
    """A client that keeps what it is told, in place of a stream."""

    def __init__(self, attached: bool) -> None:
        super().__init__(SchedulerLinkConfig(), HostId("h"), b"", lambda event: None)
        self.attached = attached
        self.told: list[ToScheduler] = []

    def tell(self, message: ToScheduler) -> None:
        """Keep it."""
        self.told.append(message)


async def test_an_answer_goes_to_the_question_with_its_number() -> None:
    scheduler = Recorder(attached=True)
    cluster = ClusterKnowledge(scheduler)
    first = asyncio.create_task(cluster.ask("r", "a", "v1"))
    second = asyncio.create_task(cluster.ask("r", "b", digest="d"))
    await asyncio.sleep(0)  # both ask
    asked = [message for message in scheduler.told if isinstance(message, AskRepository)]
    assert [(question.repository, question.tag, question.digest) for question in asked] == [
        ("a", "v1", ""),
        ("b", "", "d"),
    ]
    cluster.answered(RepositoryAnswer(asked[1].request, public=True, member=True))
    cluster.answered(RepositoryAnswer(asked[0].request, public=False))
    answers = await asyncio.gather(first, second)
    assert [answer.public for answer in answers if answer] == [False, True]


async def test_without_a_scheduler_there_is_no_answer_and_no_waiting() -> None:
    scheduler = Recorder(attached=False)
    assert await ClusterKnowledge(scheduler).ask("r", "a") is None
    assert scheduler.told == []


async def test_an_answer_that_nobody_waits_for_is_dropped() -> None:
    ClusterKnowledge(Recorder(attached=True)).answered(RepositoryAnswer(99, public=True))


async def test_questions_are_bounded() -> None:
    scheduler = Recorder(attached=True)
    cluster = ClusterKnowledge(scheduler)
    asked = [asyncio.create_task(cluster.ask("r", "a")) for _ in range(QUESTIONS_MAX + 1)]
    await asyncio.sleep(0)  # all ask
    assert len(scheduler.told) == QUESTIONS_MAX
    for task in asked:
        task.cancel()
    await asyncio.gather(*asked, return_exceptions=True)
