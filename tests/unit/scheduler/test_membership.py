from scheduler.cluster import IDLE_S
from scheduler.task import REGISTRIES_PER_TASK_MAX
from swarm.availability import full
from swarm.ids import TaskId
from swarm.messages import (
    Completed,
    HeldBlob,
    Inline,
    Join,
    Lease,
    Leave,
    NoSource,
    OriginFault,
    Parents,
    Role,
    TaskInfo,
)
from swarm.pieces import BLOB_BYTES_MAX
from tests.support.scheduler_playbook import BLOB, LAYER, REGISTRY, Playbook

ALL = full(128)


def test_the_first_host_is_answered_and_fetches() -> None:
    play = Playbook()
    play.join("a")
    assert play.told("a", TaskInfo) == [TaskInfo(BLOB, LAYER)]
    assert play.only_lease()[1] == Lease(BLOB, play.epochs[BLOB], 0, 8, 10.0)
    assert play.told("a", Parents) == []


def test_a_join_waits_for_the_shared_store_and_is_answered_right_then() -> None:
    play = Playbook()
    play.store_answers = False
    play.attach("a", "b")
    play.join("a", "b")
    assert play.told("a", TaskInfo) == []
    answer = play.event(play.waiting.pop(0))
    assert [play.told(name, TaskInfo, answer) for name in "ab"] == [[TaskInfo(BLOB, LAYER)]] * 2
    assert play.parents("b", answer) == ["a"]


def test_the_second_host_and_the_first_become_each_others_parents() -> None:
    play = Playbook()
    play.join("a")
    play.join("b")
    assert play.parents("b") == ["a"]
    assert play.parents("a") == ["b"]


def test_a_registry_that_nobody_uses_any_more_makes_room_for_another() -> None:
    play = Playbook()
    play.attach("keeper")
    play.wait(5.0)
    for number in range(REGISTRIES_PER_TASK_MAX + 1):
        play.join(f"h{number}", registry=f"r{number}.example.com")
        if number:
            play.says(f"h{number - 1}", Leave(BLOB))
    assert play.only_lease()[0] == f"h{REGISTRIES_PER_TASK_MAX}"
    play.wait(IDLE_S + 1)
    play.says(f"h{REGISTRIES_PER_TASK_MAX}", Leave(BLOB))
    assert not any(registry.hungry for registry in play.machine.cluster.registries.values())


def test_who_would_fetch_from_one_registry_too_many_is_told_when_nobody_else_fetches() -> None:
    play = Playbook()
    play.attach("keeper")
    play.wait(5.0)
    hosts = [f"h{number}" for number in range(REGISTRIES_PER_TASK_MAX)]
    for name in hosts:
        play.join(name, registry=f"{name}.example.com")
    play.join("last", registry="last.example.com")
    for name in hosts:
        play.says(name, Leave(BLOB))
    assert play.told("last", NoSource, play.said) == [NoSource(BLOB, OriginFault.DENIED)]


def test_two_thousand_joins_are_each_answered_in_their_own_call() -> None:
    play = Playbook(strict=False)
    names = [f"h{number}" for number in range(2000)]
    play.attach(*names)
    play.join("h0")
    for number, name in enumerate(names[1:], start=1):
        play.join(name)
        assert play.told(name, TaskInfo)
        assert len(play.parents(name)) == min(number, 8)
        assert not play.told(name, NoSource)
    play.machine.validate()
    peers = play.machine.cluster.tasks[BLOB].peers.values()
    assert all(8 <= len(peer.parents) <= 28 for peer in peers)
    assert all(8 <= len(peer.children) <= 32 for peer in peers), "the last have as many as they have parents"


def test_joining_again_is_answered_again_without_more_parents() -> None:
    play = Playbook()
    play.join("a", "b")
    play.join("b", bits=0b11)
    assert play.told("b", TaskInfo)
    assert play.parents("b") == []
    assert play.machine.cluster.tasks[BLOB].held == 0b11


def test_a_wrong_size_is_corrected_and_its_pieces_are_not_believed() -> None:
    play = Playbook()
    play.join("a")
    play.join("b", size=LAYER // 2, bits=0b1)
    assert play.told("b", TaskInfo) == [TaskInfo(BLOB, LAYER)]
    assert play.machine.cluster.tasks[BLOB].held == 0


def test_an_impossible_size_changes_nothing() -> None:
    play = Playbook()
    play.attach("a")
    assert play.says("a", Join(BLOB, BLOB_BYTES_MAX + 1, REGISTRY, True)) == []
    assert play.says("a", Join(BLOB, -1, REGISTRY, True)) == []
    assert not play.machine.cluster.tasks


def test_an_empty_blob_needs_nobody() -> None:
    play = Playbook()
    play.join("a", size=0)
    assert play.told("a", TaskInfo) == [TaskInfo(BLOB, 0)]
    assert play.leases() == {}
    play.says("a", Completed(BLOB))
    assert play.machine.cluster.tasks[BLOB].complete == 1


def test_a_host_that_comes_late_gets_it_all_from_peers() -> None:
    play = Playbook()
    play.join("a", "b", "c")
    play.completes("a", "b", "c")
    play.join("d")
    assert sorted(play.parents("d")) == ["a", "b", "c"]
    assert play.leases() == {}


def test_holders_are_known_before_any_download_and_after_it_is_forgotten() -> None:
    play = Playbook()
    play.attach("a", held=(HeldBlob(BLOB, LAYER),))
    play.join("b", may_fetch=False)
    assert play.parents("b") == ["a"]
    play.completes("b")
    play.wait(IDLE_S + 1)
    assert BLOB not in play.machine.cluster.tasks
    play.join("c", may_fetch=False)
    assert sorted(play.parents("c")) == ["a", "b"]


def test_an_evicted_blob_is_no_longer_offered() -> None:
    play = Playbook()
    play.attach("a", held=(HeldBlob(BLOB, LAYER),))
    play.says("a", Leave(BLOB))
    play.join("b")
    assert play.parents("b") == []
    assert play.leases().keys() == {"b"}


def test_who_is_complete_gives_up_its_parents_and_keeps_its_children() -> None:
    play = Playbook()
    play.join("a", "b")
    play.completes("b")
    task = play.machine.cluster.tasks[BLOB]
    a, b = task.peers.values()
    assert (list(b.parents), list(b.children)) == ([], [a])


def test_pieces_of_the_last_holder_are_leased_again() -> None:
    play = Playbook()
    play.join("a", "b")
    play.completes("a")
    play.says("a", Leave(BLOB))
    owner, lease = play.only_lease()
    assert (owner, lease.start, lease.end) == ("b", 0, 8)


def test_when_a_parent_leaves_children_with_too_few_get_others_at_once() -> None:
    play = Playbook(Playbook.config(neighbours=2, remote_neighbours=0, parents_max=4))
    play.join("a", "b", "c")
    play.join("d")
    first, second = play.parents("d")
    play.says(first, Leave(BLOB))
    task = play.machine.cluster.tasks[BLOB]
    assert all(peer.parents for peer in task.peers.values())
    play.says(second, Leave(BLOB))
    assert all(peer.parents for peer in task.peers.values())


def test_a_task_that_everybody_left_is_forgotten_and_its_epochs_are_not() -> None:
    play = Playbook()
    play.join("a")
    play.says("a", Leave(BLOB))
    assert BLOB not in play.machine.cluster.tasks
    play.join("a")
    assert play.only_lease()[1].epoch == 2


def test_a_host_without_store_takes_and_never_serves() -> None:
    play = Playbook()
    play.join("a")
    play.join("ring", stores=False)
    assert play.parents("ring") == ["a"]
    assert play.parents("a") == []
    play.holds("ring", ALL)
    assert play.machine.cluster.tasks[BLOB].held == 0
    play.says("ring", Completed(BLOB))
    assert "ring" not in play.machine.cluster.tasks[BLOB].peers


def test_a_host_that_turns_to_streaming_loses_its_children() -> None:
    play = Playbook()
    play.join("a", "b")
    play.join("a", stores=False)
    assert not play.machine.cluster.tasks[BLOB].peers["a"].children  # type: ignore[index]


def test_layers_of_an_image_share_connections() -> None:
    play = Playbook(strict=False)
    names = [f"h{number}" for number in range(60)]
    other = TaskId("sha256:" + "e" * 64)
    play.join(*names)
    play.join(*names, task=other)
    first, second = (play.machine.cluster.tasks[task].peers for task in (BLOB, other))
    shared = sum(
        len(
            {parent.host.id for parent in first[name].parents}
            & {parent.host.id for parent in second[name].parents}
        )
        for name in first
    )
    total = sum(len(peer.parents) for peer in second.values())
    assert shared > 0.4 * total, "with 60 hosts chance alone would give one in five"


def test_tiny_blobs_travel_inside_the_answer() -> None:
    play = Playbook()
    play.join("a", "b", "c", size=1000)
    owner, lease = play.only_lease_ever()
    assert (lease.start, lease.end, lease.inline) == (0, 1, True)
    play.brings_inline(owner)
    assert sorted(play.inlined()) == sorted({"a", "b", "c"} - {owner})
    play.join("d", size=1000)
    assert list(play.inlined()) == ["d"]
    assert not play.told("d", Inline), "bytes never enter the machine"
    assert play.leases() == {}


def test_a_tiny_blob_that_the_service_dropped_comes_from_peers() -> None:
    play = Playbook()
    play.join("a", size=1000)
    play.brings_inline("a")
    play.completes("a")
    play.forgets_inline()
    play.join("b", size=1000)
    assert play.parents("b") == ["a"]
    assert play.leases() == {}


def test_a_tiny_blob_that_nobody_has_any_more_is_fetched_again() -> None:
    play = Playbook()
    play.join("a", "b", size=1000)
    play.brings_inline("a")
    play.says("a", Leave(BLOB))
    play.forgets_inline()
    assert play.only_lease()[0] == "b"


def test_seeds_fetch_first() -> None:
    play = Playbook()
    play.attach("s", role=Role.SEED)
    play.join("a")
    owner, lease = play.only_lease()
    play.join("s")
    play.fetches(owner, lease, 0)
    assert next(iter(play.leases())) == "s"
