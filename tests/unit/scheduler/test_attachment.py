import pytest

from scheduler.attachment import pace_s, settings_at
from scheduler.cluster import IDLE_S, RECOVERY_S_MAX
from swarm.availability import full, span
from swarm.ids import UNGRANTED, Epoch, TaskId
from swarm.messages import (
    ActiveTask,
    HeldBlob,
    HeldLease,
    LeaseProgress,
    LeaseRevoked,
    Leave,
    Settings,
    TaskInfo,
)
from swarm.pieces import MIB
from tests.support.scheduler_playbook import BLOB, LAYER, REGISTRY, Playbook


def active(bits: int = 0, *leases: HeldLease, may_fetch: bool = True) -> tuple[ActiveTask, ...]:
    return (ActiveTask(BLOB, LAYER, REGISTRY, bits, may_fetch, leases=leases),)


@pytest.mark.parametrize(
    ("hosts", "current", "expected"),
    [
        (10, 0.25, 0.25),
        (2000, 0.25, 0.25),
        (2600, 0.25, 0.5),
        (10_000, 0.25, 2.0),
        (1900, 0.5, 0.5),
        (1500, 0.5, 0.25),
    ],
)
def test_the_pace_follows_the_number_of_hosts(hosts: int, current: float, expected: float) -> None:
    assert pace_s(hosts, current) == expected


def test_everybody_hears_of_a_new_pace() -> None:
    play = Playbook(strict=False)
    play.attach(*[f"h{number}" for number in range(2000)])
    assert play.told("h0", Settings, play.attach("one-more")) == [settings_at(0.5)]
    assert play.told("one-more", Settings) == [settings_at(0.25), settings_at(0.5)]


def test_large_clusters_call_for_help_less_often() -> None:
    assert [settings_at(pace).starving_interval_s for pace in (0.25, 0.5, 1.0, 2.0)] == [0.25, 0.5, 1.0, 1.0]


def test_a_host_that_attaches_again_keeps_its_pieces() -> None:
    play = Playbook()
    play.join("a", "b")
    play.holds("a", full(8))
    before = play.machine.cluster.tasks[BLOB].peers
    children = list(next(iter(before.values())).children)
    play.attach("a", active=active(full(9)))
    task = play.machine.cluster.tasks[BLOB]
    assert task.held == full(9)
    assert play.told("a", TaskInfo)
    assert list(next(iter(task.peers.values())).children) == children


def test_a_host_that_attaches_without_its_download_gave_it_up() -> None:
    play = Playbook(Playbook.config(connections=1))
    play.join("a", "b")
    owner, _ = play.only_lease_ever()
    play.holds(owner, full(3))
    play.wait(5.0)
    play.attach(owner)
    task = play.machine.cluster.tasks[BLOB]
    assert list(task.peers) == ["b" if owner == "a" else "a"]
    assert task.held == 0
    assert play.only_lease()[1].start == 0


def test_a_lost_host_that_comes_back_in_time_keeps_its_lease() -> None:
    play = Playbook(Playbook.config(connections=1))
    play.join("a", "b")
    owner, lease = play.only_lease_ever()
    play.wait(5.0)
    play.fetches(owner, lease, 3)
    play.lose(owner)
    play.wait(1.0)
    play.attach(owner, active=active(full(4), HeldLease(0, 8, 4, lease.epoch)))
    assert play.leases() == {}
    assert not play.told(owner, LeaseRevoked)
    play.fetches(owner, lease, 8)
    play.holds(owner, full(8))
    task = play.machine.cluster.tasks[BLOB]
    assert task.held == full(8)
    assert play.machine.cluster.registries[REGISTRY].leases.keys() == set(task.leases)


def test_a_lost_host_that_comes_back_too_late_loses_its_lease() -> None:
    play = Playbook(Playbook.config(connections=1))
    play.join("a", "b")
    owner, lease = play.only_lease_ever()
    play.wait(5.0)
    play.lose(owner)
    play.wait(1.6)
    other, again = play.only_lease()
    play.attach(owner, active=active(0, HeldLease(0, 8, 0, lease.epoch)))
    assert other != owner
    assert again.start == 0
    assert play.told(owner, LeaseRevoked) == [LeaseRevoked(BLOB, lease.epoch)]


def test_after_a_start_nothing_is_leased_that_an_unknown_host_may_be_fetching() -> None:
    play = Playbook()
    play.attach("a", active=active(full(4)))
    assert play.told("a", TaskInfo)
    play.join("b")
    assert play.parents("b") == ["a"]
    assert play.leases() == {}
    assert [note.task for note in play.notes("task_recovering")] == [BLOB]
    play.attach("c", active=active(0, HeldLease(4, 60, 10, Epoch(7))))
    play.wait(2.0)
    play.says("c", LeaseProgress(BLOB, Epoch(7), 12, 10 * MIB))
    assert play.leases(play.said) == {}
    play.wait(1.1)
    task = play.machine.cluster.tasks[BLOB]
    fresh = [given for leases in play.leases(play.said).values() for given in leases]
    assert fresh
    assert all(given.epoch > 7 for given in fresh)
    assert not any(span(given.start, given.end) & span(12, 60) for given in fresh)
    assert task.leased & span(12, 60) == span(12, 60)


def test_a_fresh_join_on_a_fresh_scheduler_does_not_wait() -> None:
    play = Playbook()
    play.join("a")
    assert play.only_lease()[0] == "a"


def test_a_running_fetch_that_shows_up_late_is_honoured_and_the_fresh_grant_revoked() -> None:
    play = Playbook()
    play.join("a")
    owner, lease = play.only_lease()
    play.attach("c", active=active(full(2), HeldLease(0, 60, 2, Epoch(1))))
    assert play.told(owner, LeaseRevoked) == [LeaseRevoked(BLOB, lease.epoch)]
    assert [held.host for held in play.machine.cluster.tasks[BLOB].leases] == ["c"]


def test_of_two_running_fetches_of_the_same_pieces_the_first_to_attach_goes_on() -> None:
    play = Playbook()
    play.attach("a", active=active(0, HeldLease(0, 60, 2, Epoch(1))))
    play.attach("b", active=active(0, HeldLease(40, 80, 41, Epoch(2)), HeldLease(100, 110, 101, Epoch(3))))
    assert play.told("b", LeaseRevoked) == [LeaseRevoked(BLOB, Epoch(2))]
    assert [lease.host for lease in play.machine.cluster.tasks[BLOB].leases] == ["a", "b"]


def test_the_epoch_of_a_revoked_fetch_is_not_granted_again() -> None:
    play = Playbook()
    play.join("b")
    owner, lease = play.only_lease()
    play.wait(5.0)
    play.attach("a", active=active(0, HeldLease(0, 8, 2, Epoch(7))))
    assert play.told("a", LeaseRevoked) == [LeaseRevoked(BLOB, Epoch(7))]
    play.fetches(owner, lease, 1)
    granted = [lease.epoch for leases in play.leases().values() for lease in leases]
    assert granted
    assert min(granted) > 7


def test_a_grant_that_is_being_saved_survives_a_new_stream() -> None:
    play = Playbook()
    play.attach("a")
    play.store_answers = False
    play.join("a")
    play.event(play.waiting.pop(0))
    play.attach("a", active=active())
    assert len(play.machine.cluster.tasks[BLOB].leases) == 1
    saved = play.event(play.waiting.pop(0))
    assert play.leases(saved).keys() == {"a"}


def test_a_download_that_is_named_twice_counts_once() -> None:
    play = Playbook()
    play.join("b")
    play.wait(5.0)
    play.attach("a", active=(*active(full(2)), *active(full(4))))
    assert len(play.told("a", TaskInfo)) == 1
    assert play.machine.cluster.tasks[BLOB].held == full(4)


def test_fetches_without_a_grant_are_honoured_and_told_apart_by_their_range() -> None:
    play = Playbook()
    play.attach("a", active=active(0, HeldLease(0, 10, 2, UNGRANTED), HeldLease(20, 30, 21, UNGRANTED)))
    task = play.machine.cluster.tasks[BLOB]
    play.holds("a", span(0, 10) | span(20, 24))
    assert [(lease.next_piece, lease.end) for lease in task.leases] == [(24, 30)]


@pytest.mark.parametrize(
    "held",
    [
        HeldLease(5, 5, 5, Epoch(1)),
        HeldLease(0, 129, 0, Epoch(1)),
        HeldLease(4, 9, 3, Epoch(1)),
        HeldLease(0, 8, 2, Epoch(2**64 - 1)),
    ],
)
def test_an_impossible_fetch_is_ignored(held: HeldLease) -> None:
    play = Playbook()
    play.attach("a", active=active(0, held))
    task = play.machine.cluster.tasks[BLOB]
    assert (task.leases, task.epoch) == ([], 0)


def test_blobs_on_disk_serve_a_download_that_runs() -> None:
    play = Playbook()
    play.join("a", may_fetch=False)
    play.attach("b", held=(HeldBlob(BLOB, LAYER), HeldBlob(TaskId("sha256:" + "e" * 64), 5)))
    play.starves("a", full(4))
    assert play.parents("a") == ["b"]
    assert len(play.machine.cluster.tasks) == 1, "what nobody wants is no task"


def test_a_blob_on_disk_of_another_size_is_not_offered() -> None:
    play = Playbook()
    play.join("a")
    play.attach("b", held=(HeldBlob(BLOB, LAYER + 1),))
    assert list(play.machine.cluster.tasks[BLOB].peers) == ["a"]


def test_who_comes_back_with_a_blob_of_another_size_takes_no_part_any_more() -> None:
    play = Playbook()
    play.join("a", "b")
    play.holds("a", full(3))
    play.attach("a", held=(HeldBlob(BLOB, LAYER - 1),))
    task = play.machine.cluster.tasks[BLOB]
    assert (list(task.peers), task.held) == (["b"], 0)
    play.completes("b")
    play.wait(IDLE_S + 1)
    assert BLOB not in play.machine.cluster.tasks


def test_a_host_that_moves_to_another_zone_is_found_there() -> None:
    play = Playbook()
    play.attach("a", zone="east")
    play.join("a", "b")
    play.attach("a", zone="west", active=active(full(1)))
    assert set(play.machine.cluster.tasks[BLOB].zones) == {"", "west"}


def test_a_host_that_stops_frees_its_leases_at_once_and_is_forgotten() -> None:
    play = Playbook()
    play.join("a", "b")
    owner, _ = play.only_lease_ever()
    play.says(owner, Leave(TaskId("")))
    other, again = play.only_lease()
    assert (other != owner, again.start) == (True, 0)
    assert owner not in play.machine.cluster.hosts
    assert play.lose(owner) == [], "its stream ends after it left"


def test_a_cluster_that_all_left_is_empty_after_a_while() -> None:
    play = Playbook()
    play.join("a", "b", "c")
    play.completes("a", "b", "c")
    for name in "abc":
        play.lose(name)
    play.wait(IDLE_S + 20)
    cluster = play.machine.cluster
    assert (cluster.hosts, cluster.tasks, cluster.attached) == ({}, {}, 0)


def test_recovery_lasts_while_hosts_of_the_earlier_scheduler_come_but_not_for_ever() -> None:
    play, began = Playbook(), 100.0
    for number in range(30):
        play.attach(f"host{number}", active=active(full(4)))
        play.wait(0.9)
        if play.leases(play.said):
            break
    assert began + RECOVERY_S_MAX <= play.now < began + RECOVERY_S_MAX + 1.0


def test_recovery_ends_when_no_more_come() -> None:
    play = Playbook()
    play.attach("a", active=active(full(4)))
    play.wait(2.9)
    play.attach("b", active=active(full(4)))
    play.wait(0.9)
    assert play.leases(play.said) == {}
    play.wait(0.2)
    assert play.leases(play.said)
