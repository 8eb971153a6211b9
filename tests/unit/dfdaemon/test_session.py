import pytest

from dfdaemon.commands import Command, TellScheduler
from dfdaemon.config import DaemonConfig
from dfdaemon.session import INTERVAL_MAX_S, PIECE_S_MAX, REMEMBERED_ASKED, REMEMBERED_MAX, Link, Session
from swarm.ids import Epoch, HostId, TaskId
from swarm.messages import Completed, LeaseProgress, Load, Parent, Progress, Settings, Starving, TaskProgress

A, B = TaskId("sha256:a"), TaskId("sha256:b")


class Report:
    def __init__(self, task: TaskId) -> None:
        self.task = task
        self.bits = 0

    def progress(self) -> TaskProgress:
        return TaskProgress(self.task, self.bits)


@pytest.fixture
def out() -> list[Command]:
    return []


@pytest.fixture
def session(out: list[Command]) -> Session:
    session = Session(DaemonConfig(), out)
    session.attach()
    return session


def test_without_a_scheduler_nothing_is_told(out: list[Command]) -> None:
    session = Session(DaemonConfig(), out)
    assert session.link is Link.CONNECTING
    session.tell(Completed(A))
    session.changed(Report(A))
    session.lose(0.0)
    session.tell(Completed(A))
    session.changed(Report(A))
    session.settle(now=10.0)
    session.validate()
    assert out == []
    assert session.wakeup_at() == float("inf")


def test_the_first_news_after_a_silence_go_at_once_and_then_at_a_pace(
    session: Session, out: list[Command]
) -> None:
    report = Report(A)
    session.changed(report)
    session.settle(now=1.0)
    assert out == [TellScheduler(Progress((TaskProgress(A, 0),)))]
    report.bits = 0b1
    session.changed(report)
    session.settle(now=1.1)
    assert len(out) == 1
    assert session.wakeup_at() == 1.25
    report.bits = 0b11
    session.settle(now=1.25)
    assert out[1:] == [TellScheduler(Progress((TaskProgress(A, 0b11),)))], "as it is when it is told"
    assert session.wakeup_at() == float("inf")


def test_one_message_carries_all_downloads_and_then_the_latest_of_each_lease(
    session: Session, out: list[Command]
) -> None:
    session.changed(Report(A))
    session.changed(Report(B))
    session.changed(Report(A))
    session.lease_moved(LeaseProgress(A, Epoch(1), 1, 10))
    session.lease_moved(LeaseProgress(A, Epoch(1), 2, 20))
    session.settle(now=1.0)
    both = Progress((TaskProgress(A, 0), TaskProgress(B, 0)))
    assert out == [TellScheduler(both), TellScheduler(LeaseProgress(A, Epoch(1), 2, 20))]


def test_what_is_over_is_not_told(session: Session, out: list[Command]) -> None:
    session.changed(Report(A))
    session.lease_moved(LeaseProgress(A, Epoch(1), 1, 10))
    session.forget(A)
    session.settle(now=1.0)
    assert out == []


def test_starving_is_told_once_a_second_for_all_downloads_together(
    session: Session, out: list[Command]
) -> None:
    assert session.starve(A, 0b1, now=1.0) == 2.0
    assert session.starve(B, 0b1, now=1.5) == 2.0
    assert out == [TellScheduler(Starving(A, 0b1))]
    session.starve(B, 0b10, now=2.0)
    assert out[1:] == [TellScheduler(Starving(B, 0b10))]


def test_where_pieces_come_slowly_progress_waits_for_them_but_leases_do_not(
    session: Session, out: list[Command]
) -> None:
    session.piece_came(2.0)
    session.changed(Report(A))
    session.settle(now=1.0)
    session.changed(Report(A))
    assert session.wakeup_at() == 3.0
    session.settle(now=2.9)
    assert len(out) == 1
    session.lease_moved(LeaseProgress(A, Epoch(1), 0, 1))
    assert session.wakeup_at() == 1.25
    session.settle(now=2.9)
    assert len(out) == 3


def test_where_pieces_come_slowly_a_starving_host_calls_as_often_as_they_come(session: Session) -> None:
    session.piece_came(2.0)
    assert session.starve(A, 1, now=1.0) == 3.0
    session.piece_came(1000.0)
    assert session.starve(A, 1, now=3.0) == 3.0 + PIECE_S_MAX


def test_who_calls_in_vain_calls_half_as_often_until_a_piece_comes(session: Session) -> None:
    assert session.starve(A, 1, now=1.0) == 2.0
    assert session.starve(A, 1, now=2.0) == 4.0
    assert session.starve(B, 1, now=4.0) == 8.0
    assert session.starve(A, 1, now=8.0) == 8.0 + PIECE_S_MAX
    session.piece_came(0.1)
    assert session.starve(A, 1, now=20.0) == 21.0
    session.attach()
    assert session.starve(A, 1, now=21.0) == 22.0, "a scheduler that is new has not heard it"


def test_rates_go_along_with_progress_and_the_latest_counts(session: Session, out: list[Command]) -> None:
    session.measured(Load(1, 1, 3))
    session.settle(now=1.0)
    assert out == [TellScheduler(Load(1, 1, 3))]
    session.measured(Load(2, 2, 3))
    session.measured(Load(3, 3, 3))
    session.settle(now=1.1)
    assert session.wakeup_at() == 1.25
    session.changed(Report(A))
    session.settle(now=1.25)
    assert out[1:] == [TellScheduler(Progress((TaskProgress(A, 0),))), TellScheduler(Load(3, 3, 3))]
    session.measured(Load(4, 4, 3))
    session.lose(now=1.3)
    session.validate()
    assert session.wakeup_at() == float("inf")


def test_the_scheduler_sets_the_pace_within_bounds(session: Session) -> None:
    session.adopt(Settings(progress_interval_s=1e9, starving_interval_s=2.0))
    assert session.settings == Settings(INTERVAL_MAX_S, 2.0)
    session.adopt(Settings(progress_interval_s=-1.0))
    assert session.settings.progress_interval_s > 0


def test_the_parents_that_answered_last_are_remembered(session: Session) -> None:
    for number in range(REMEMBERED_MAX + 1):
        session.remember(Parent(HostId(f"host-{number}"), ()))
    session.remember(Parent(HostId("host-5"), ()))
    session.validate()
    asked = session.remembered()
    assert len(asked) == REMEMBERED_ASKED
    assert [parent.host for parent in asked[:2]] == ["host-5", f"host-{REMEMBERED_MAX}"]
