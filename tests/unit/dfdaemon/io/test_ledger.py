"""Accounts of where bytes came from."""

from dfdaemon.io.ledger import HOSTS_MAX, OTHERS, REFUSED_S, TASKS_MAX, Ledger
from swarm.ids import HostId, TaskId


def test_bytes_are_booked_by_source() -> None:
    account = Ledger().open(TaskId("a"), 100)
    account.arrived(60, None)
    account.arrived(30, HostId("one"))
    account.arrived(10, HostId("one"))
    assert account.origin_bytes == 60
    assert account.peer_bytes == {"one": 40}
    assert account.first_piece_at >= account.started_at


def test_an_account_is_kept_until_too_many_came_after_it() -> None:
    ledger = Ledger()
    first = ledger.open(TaskId("first"), 1)
    assert ledger.open(TaskId("first"), 1) is first
    for number in range(TASKS_MAX):
        ledger.open(TaskId(str(number)), 1)
    assert ledger.get(TaskId("first")) is None
    assert ledger.get(TaskId(str(TASKS_MAX - 1))) is not None


def test_a_blob_from_very_many_hosts_sums_the_rest() -> None:
    account = Ledger().open(TaskId("a"), 1)
    for number in range(HOSTS_MAX + 5):
        account.arrived(1, HostId(f"host-{number}"))
    assert len(account.peer_bytes) == HOSTS_MAX + 1
    assert account.peer_bytes[OTHERS] == 5


def test_time_stands_still_once_it_is_finished() -> None:
    account = Ledger().open(TaskId("a"), 1)
    account.finish()
    assert account.seconds == account.finished_at - account.started_at


def test_a_blob_is_refused_for_a_moment_after_its_download_failed() -> None:
    account = Ledger().open(TaskId("a"), 1)
    assert not account.is_refused
    account.fail("the origin is down")
    assert account.is_refused
    account.failed_at -= REFUSED_S
    assert not account.is_refused


def test_a_success_forgets_the_failure_before_it() -> None:
    account = Ledger().open(TaskId("a"), 1)
    account.fail("the origin is down")
    account.finish()
    assert not account.failure
    assert not account.is_refused


def test_the_latest_task_on_some_content_is_found() -> None:
    ledger = Ledger()
    for name in "one", "two", "three":
        ledger.open(TaskId(name), 1).digest = "sha256:x" if name != "three" else "sha256:y"
    assert ledger.named("sha256:x") == "two"
    ledger.open(TaskId("one"), 1)
    assert ledger.named("sha256:x") == "one"
    assert ledger.named("sha256:z") is None
