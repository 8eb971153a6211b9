from dataclasses import replace

import pytest

from swarm.ids import HostId, TaskId
from swarm.io import attach_codec
from swarm.io.attach_codec import from_scheduler, to_daemon
from swarm.io.attach_fields import SECONDS_MAX
from swarm.messages import Address, Inline, Parent, Parents, Settings, ToDaemon
from swarm.repositories import RepositoryAnswer

TASK = TaskId("sha256:" + 64 * "a")


def test_nothing_to_say_is_no_batch() -> None:
    assert list(to_daemon([])) == []


@pytest.mark.parametrize(("limit_bytes", "batches"), [(10_000, 1), (2_500, 2), (10, 5)])
def test_a_batch_is_closed_before_it_grows_too_large(
    monkeypatch: pytest.MonkeyPatch, limit_bytes: int, batches: int
) -> None:
    monkeypatch.setattr(attach_codec, "BATCH_BYTES_MAX", limit_bytes)
    parents = Parents(TASK, (Parent(HostId("n1"), (Address("10.0.0.1", 1),)),))
    messages: list[ToDaemon] = [Settings(0.5), *(Inline(TASK, bytes(1000)) for _ in range(3)), parents]
    written = list(to_daemon(messages))
    assert len(written) == batches
    assert [message for batch in written for message in from_scheduler(batch)] == messages


def test_a_repository_that_was_public_for_years_ends_no_stream() -> None:
    told = RepositoryAnswer(1, public=True, public_age_s=1e8)
    (batch,) = to_daemon([told])
    (heard,) = from_scheduler(batch)
    assert heard == replace(told, public_age_s=SECONDS_MAX)
