"""Layers leave the origin in the order in which they are unpacked."""

import pytest

from scheduler import peer as peers
from scheduler.config import LeaseConfig, SchedulerConfig
from scheduler.leases import HERD_S
from scheduler.order import ANSWER_S
from swarm.ids import HostId, TaskId
from swarm.layers import PAUSE_S, Layer
from swarm.messages import Lease, Leave, OriginFault
from swarm.pieces import PIECE_BYTES_MIN
from tests.support.scheduler_playbook import BLOB, Playbook

FIRST, SECOND, THIRD = (TaskId(f"sha256:{letter * 64}") for letter in "abc")
PLACES = {FIRST: 1, SECOND: 2, THIRD: 3}
BRIEF = 8
"""Pieces of the smallest lease, 4 MiB; a usual one of 256 MiB has four times as many."""
LARGE = 512 * PIECE_BYTES_MIN


def of_image(task: TaskId, image: str = "image") -> Layer:
    return Layer(image, PLACES[task])


def joined(play: Playbook, name: str, *tasks: TaskId, size: int = LARGE) -> None:
    for task in tasks:
        play.join(name, task=task, size=size, layer=of_image(task))


def granted(play: Playbook) -> list[tuple[str, TaskId]]:
    """Who got leases of what since this was asked last."""
    found = [(owner, lease.task) for owner, given in play.leases(play.said).items() for lease in given]
    play.said.clear()
    return found


def runs(play: Playbook, name: str, task: TaskId) -> list[Lease]:
    """The leases of a host."""
    found = play.machine.cluster.hosts[HostId(name)].leases
    return [lease.message(1.0) for lease in found if lease.task == task]


def pulling(*names: str, size: int = LARGE, connections: int = 6) -> Playbook:
    """Hosts pull an image; its registry is known to honour ranges, and the first moments of its layers are over."""
    play = Playbook(Playbook.config(connections))
    play.join("x", task=BLOB)
    play.fetches("x", play.only_lease_ever()[1], 1)
    play.says("x", Leave(BLOB))
    for name in names:
        joined(play, name, FIRST, SECOND, THIRD, size=size)
    play.wait(HERD_S)
    play.said.clear()
    return play


def brings(play: Playbook, name: str, task: TaskId, end: int = 0) -> None:
    """A host brings its oldest lease of a layer, or what of it lies before `end`."""
    lease = runs(play, name, task)[0]
    end = end or lease.end
    play.fetches(name, lease, end, LARGE)
    play.holds(name, (1 << end) - 1, task)


def test_a_later_layer_begins_with_a_brief_lease() -> None:
    play = pulling("a")
    first, second, third = (runs(play, "a", task)[0] for task in PLACES)
    assert (first.end - first.start, second.end - second.start, third.end - third.start) == (32, BRIEF, BRIEF)


def test_a_later_layer_that_is_little_more_than_a_brief_lease_is_one() -> None:
    play = pulling("a", size=14 * PIECE_BYTES_MIN)
    pieces = {task: [(lease.start, lease.end) for lease in runs(play, "a", task)] for task in PLACES}
    assert pieces == {FIRST: [(0, BRIEF)], SECOND: [(0, 14)], THIRD: [(0, 14)]}


def test_what_becomes_free_is_the_earliest_layers() -> None:
    play = pulling("a")
    for task in SECOND, THIRD:
        brings(play, "a", task)
    assert granted(play) == [], "the origin answers the earliest layer first"
    brings(play, "a", FIRST, 1)
    assert granted(play) == [("a", FIRST)]


def test_the_next_layer_begins_when_all_of_the_one_before_is_leased() -> None:
    play = pulling("a", size=16 * PIECE_BYTES_MIN)
    lease = runs(play, "a", FIRST)[0]
    assert lease.end - lease.start == BRIEF
    for task in SECOND, THIRD:
        play.fetches("a", runs(play, "a", task)[0], BRIEF, 16 * PIECE_BYTES_MIN)
        play.holds("a", (1 << BRIEF) - 1, task)
    play.fetches("a", lease, 1, 16 * PIECE_BYTES_MIN)
    play.wait(0.0)
    assert granted(play) == [("a", FIRST), ("a", SECOND), ("a", THIRD)], "of each what is left"


def test_a_host_that_does_not_want_the_earlier_layer_fetches_the_later_one() -> None:
    play = pulling("a")
    play.join("b", task=SECOND, size=LARGE, layer=of_image(SECOND))
    lease = runs(play, "b", SECOND)[0]
    assert lease.end - lease.start == 32


@pytest.mark.parametrize("connections", [3, 6])
def test_a_later_layer_does_not_wait_for_ever(connections: int) -> None:
    """PAUSE_S after its last byte it gets a brief lease, even if earlier layers have all connections."""
    play = pulling("a", connections=connections)
    brings(play, "a", THIRD)
    given: list[float] = []
    for step in range(1, 18):
        play.wait(0.5)
        brings(play, "a", FIRST, step)
        if step <= BRIEF:
            brings(play, "a", SECOND, step)
        given += [step / 2 for _, task in granted(play) if task != FIRST]
    assert given == [PAUSE_S]
    assert [(lease.start, lease.end) for lease in runs(play, "a", THIRD)] == [(BRIEF, 2 * BRIEF)]


def test_a_later_layer_begins_although_all_connections_are_taken() -> None:
    play = pulling("a", connections=1)
    assert [len(runs(play, "a", task)) for task in PLACES] == [1, 1, 0], "one more than usual"
    most = SchedulerConfig(lease=LeaseConfig(connections=1, connections_max=1))
    play = Playbook(most)
    joined(play, "a", FIRST, SECOND)
    assert [len(runs(play, "a", task)) for task in (FIRST, SECOND)] == [1, 0], "but not more than the most"


def test_an_earlier_layer_whose_origin_is_slow_holds_nothing_up() -> None:
    play = pulling("a")
    brings(play, "a", THIRD)
    assert granted(play) == []
    play.wait(ANSWER_S)
    assert granted(play) == [("a", THIRD)]


def test_who_asks_for_later_layers_first_gets_brief_leases_of_them() -> None:
    play = pulling()
    joined(play, "a", THIRD, SECOND, FIRST)
    sizes = [lease.end - lease.start for task in PLACES for lease in runs(play, "a", task)]
    assert sizes == [32, BRIEF, BRIEF]


def test_a_layer_that_fails_is_tried_by_others() -> None:
    play = pulling("a", "b")
    for name in "ab":
        for task in PLACES:
            (lease,) = runs(play, name, task)
            play.fetches(name, lease, lease.start, LARGE)
    granted(play)
    play.fails("a", runs(play, "a", SECOND)[0], OriginFault.UNREACHABLE)
    assert granted(play) == [("b", SECOND)]


def test_an_earlier_layer_that_cannot_be_fetched_now_holds_nothing_up() -> None:
    play = pulling("a")
    for task in SECOND, THIRD:
        brings(play, "a", task)
    lease = runs(play, "a", FIRST)[0]
    for _ in range(2):
        play.fails("a", lease, OriginFault.SERVER_ERROR)
        lease = (runs(play, "a", FIRST) or [lease])[0]
    assert runs(play, "a", FIRST) == [], "it is asked for again in a moment"
    assert ("a", SECOND) in granted(play)


def test_a_layer_that_a_host_has_no_room_for_holds_nothing_up() -> None:
    play = pulling()
    play.join("a", task=FIRST, size=LARGE, stores=False, layer=of_image(FIRST))
    play.join("a", task=SECOND, size=LARGE, layer=of_image(SECOND))
    brings(play, "a", SECOND, 1)
    play.wait(HERD_S)
    brief, usual = runs(play, "a", SECOND)
    assert (brief.end - brief.start, usual.end - usual.start) == (BRIEF, 32)


def test_other_images_and_tiny_blobs_do_not_wait() -> None:
    play = pulling("a")
    play.join("b", task=FIRST, size=LARGE, layer=of_image(FIRST))
    play.wait(HERD_S)
    for task, layer in ((SECOND, of_image(SECOND, "another")), (THIRD, None)):
        play.join("b", task=task, size=LARGE, layer=layer)
        (lease,) = runs(play, "b", task)
        assert lease.end - lease.start == 32
    play.join("b", task=BLOB, size=100, layer=Layer("image", 9))
    assert len(runs(play, "b", BLOB)) == 1


def test_a_host_may_say_anything_of_its_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "LAYERS_MAX", 2)
    play = pulling("a")
    host = play.machine.cluster.hosts[HostId("a")]
    assert len(host.layers["image"]) == 2, "more are like any other blob"
    play.join("a", task=FIRST, size=LARGE, layer=of_image(SECOND, "another"))
    assert host.layers == {"image": {SECOND: 2}, "another": {FIRST: 2}}
    play.says("a", Leave(FIRST))
    play.says("a", Leave(SECOND))
    assert host.layers == {}
