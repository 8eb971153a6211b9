import pytest

from scheduler import placement
from swarm.availability import full
from swarm.ids import HostId
from swarm.messages import Parents
from tests.support.scheduler_playbook import BLOB, Playbook


def test_a_starving_host_gets_up_to_four_holders() -> None:
    play = Playbook(Playbook.config(neighbours=2, remote_neighbours=0, parents_max=8))
    names = [f"h{number}" for number in range(30)]
    play.join(*names)
    for name in names[10:20]:
        play.holds(name, 0b1000)
    task = play.machine.cluster.tasks[BLOB]
    before = {parent.host.id for parent in task.peers[HostId("h0")].parents}
    play.starves("h0", 0b1000)
    given = play.parents("h0")
    assert 0 < len(given) <= 4
    assert set(given) <= set(names[10:20])
    assert not set(given) & before
    assert play.notes("rescue")


def test_searches_among_many_hosts_are_few_and_who_got_none_may_ask_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(placement, "RESCUE_LOOK", 0)
    monkeypatch.setattr(placement, "SOURCES_LOOKED_AT", 0)
    monkeypatch.setattr(placement, "SEARCHES_PER_S", 2)
    play = Playbook(Playbook.config(neighbours=4, remote_neighbours=0, parents_max=16))
    names = [f"h{number}" for number in range(30)]
    play.join(*names)
    task = play.machine.cluster.tasks[BLOB]
    holder = task.peers[HostId("h29")]
    asking = [name for name in names[:29] if holder not in task.peers[HostId(name)].parents]
    play.holds("h29", 0b1000)
    play.wait(1.0)  # some searched when they joined
    for name, given in zip(asking, (["h29"], ["h29"], []), strict=False):
        play.starves(name, 0b1000)
        assert play.parents(name) == given
    play.wait(1.0)
    play.starves(asking[2], 0b1000)
    assert play.parents(asking[2]) == ["h29"]


def test_a_rescued_host_learns_what_its_new_parents_hold() -> None:
    play = Playbook(Playbook.config(neighbours=1, remote_neighbours=0, parents_max=8))
    play.join("a", "b", "c", "d")
    play.holds("b", 0b10)
    for name in "acd":
        play.starves(name, 0b10)
        for message in play.told(name, Parents):
            assert [(parent.host, parent.bits) for parent in message.parents] == [("b", 0b10)]


def test_whoever_already_takes_from_all_holders_gets_nobody() -> None:
    play = Playbook()
    play.join("a", "b")
    play.holds("a", 0b1)
    play.starves("b", 0b1)
    assert play.parents("b") == []


def test_a_host_with_all_the_parents_it_may_have_trades_useless_ones() -> None:
    play = Playbook(Playbook.config(neighbours=3, remote_neighbours=0, parents_max=3))
    names = [f"h{number}" for number in range(10)]
    play.join(*names)
    task = play.machine.cluster.tasks[BLOB]
    poor = task.peers[HostId("h0")]
    assert len(poor.parents) == 3
    holder = next(name for name in names[1:] if task.peers[HostId(name)] not in poor.parents)
    play.holds(holder, 0b1)
    play.starves("h0", 0b1)
    assert play.parents("h0") == [holder]
    assert len(poor.parents) <= 3


def test_a_host_that_has_it_all_does_not_starve() -> None:
    play = Playbook()
    play.join("a", "b")
    play.completes("a", "b")
    assert play.starves("a", full(128)) == []


def test_pieces_beyond_the_blob_are_nobodys() -> None:
    play = Playbook()
    play.join("a", "b")
    assert play.starves("b", 1 << 500) == []


def test_children_of_a_dead_parent_are_not_left_alone() -> None:
    play = Playbook()
    names = [f"h{number}" for number in range(40)]
    play.join(*names)
    for name in names[:20]:
        play.lose(name)
    peers = play.machine.cluster.tasks[BLOB].peers.values()
    assert all(len(peer.parents) >= 4 for peer in peers)
