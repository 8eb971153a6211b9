from collections import Counter

from scheduler import placement
from scheduler.config import PlacementConfig
from scheduler.host import Host, HostEvent
from scheduler.peer import Peer, PeerEvent
from scheduler.task import Task
from swarm.dice import Dice
from swarm.ids import HostId, TaskId
from swarm.messages import HostInfo
from swarm.pieces import MIB, PieceMap

CONFIG = PlacementConfig()


def swarm(zones: str, complete: int = 0) -> tuple[Task, list[Peer]]:
    """A task with a peer for each letter, in the zone of that name; the first ones are complete."""
    task = Task(TaskId("t"), PieceMap.of(64 * MIB), CONFIG.parents_max)
    peers = []
    for number, zone in enumerate(zones):
        host = Host(HostInfo(HostId(f"h{number}"), (), zone))
        host.happen(HostEvent.ATTACH)
        peer = task.peers[host.id] = Peer(host)
        peer.happen(PeerEvent.COMPLETE if number < complete else PeerEvent.WELCOME)
        task.gained(peer, task.all_bits() if number < complete else 0)
        task.file(peer)
        peers.append(peer)
    task.complete, task.downloading = complete, len(zones) - complete
    return task, peers


def link(parent: Peer, *children: Peer) -> None:
    for child in children:
        parent.children[child] = None
        child.parents[parent] = None


def zones_of(peers: list[Peer]) -> Counter[str]:
    return Counter(peer.host.info.zone for peer in peers)


def test_eight_of_the_own_zone_and_two_of_others() -> None:
    task, peers = swarm("a" * 20 + "b" * 20 + "c" * 20)
    for seed in range(20):
        chosen = placement.choose_parents(task, peers[0], 8, CONFIG, Dice(seed))
        zones = zones_of(chosen)
        assert (len(chosen), zones["a"], zones["b"] + zones["c"]) == (10, 8, 2)


def test_a_zone_that_is_too_small_is_filled_from_others_and_the_other_way_round() -> None:
    task, peers = swarm("a" * 3 + "b" * 20)
    assert zones_of(placement.choose_parents(task, peers[0], 8, CONFIG, Dice(1))) == {"a": 2, "b": 6}
    task, peers = swarm("a" * 20 + "b")
    assert zones_of(placement.choose_parents(task, peers[0], 8, CONFIG, Dice(1))) == {"a": 8, "b": 1}


def test_in_a_small_swarm_those_with_the_fewest_children_come_first() -> None:
    task, peers = swarm("a" * 12)
    for parent in peers[1:5]:
        link(parent, peers[10], peers[11])
    chosen = placement.choose_parents(task, peers[0], 7, CONFIG, Dice(3))
    assert set(chosen) == set(peers[5:])


def test_ties_are_thrown() -> None:
    task, peers = swarm("a" * 12)
    choices = {tuple(placement.choose_parents(task, peers[0], 2, CONFIG, Dice(seed))) for seed in range(20)}
    assert len(choices) > 5


def test_slow_hosts_and_hosts_without_store_are_no_parents() -> None:
    task, peers = swarm("a" * 6)
    peers[1].host.is_slow = True
    peers[2].stores = False
    task.file(peers[2])
    peers[3].host.happen(HostEvent.QUARANTINE)
    task.file(peers[3])
    assert set(placement.choose_parents(task, peers[0], 8, CONFIG, Dice(1))) == {peers[4], peers[5]}


def test_who_comes_when_most_are_complete_gets_complete_ones_alone() -> None:
    task, peers = swarm("a" * 40, complete=30)
    chosen = placement.choose_parents(task, peers[-1], 8, CONFIG, Dice(1))
    assert len(chosen) == placement.COMPLETE_PARENTS
    assert set(chosen) <= set(peers[:30])


def test_a_lone_complete_host_is_one_of_the_parents() -> None:
    task, peers = swarm("a" * 100, complete=1)
    for seed in range(10):
        chosen = placement.choose_parents(task, peers[50], 8, CONFIG, Dice(seed))
        assert peers[0] in chosen
        assert len(set(chosen)) == 8


def test_one_that_has_all_the_children_it_may_have_gets_no_more() -> None:
    task, peers = swarm("a" * 30)
    link(peers[1], *peers[2:18])
    task.file(peers[1])
    assert all(
        peers[1] not in placement.choose_parents(task, peers[0], 8, CONFIG, Dice(s)) for s in range(20)
    )


def test_a_newcomers_edges_go_both_ways_while_there_is_room() -> None:
    _, peers = swarm("a" * 40)
    newcomer, rich, poor = peers[0], peers[1], peers[2]
    for parent in peers[3:30]:
        link(parent, rich)
    assert placement.is_mutual(rich, newcomer, 7, CONFIG)
    link(peers[30], rich)
    assert not placement.is_mutual(rich, newcomer, 3, CONFIG), "the rest is for rescues"
    assert placement.is_mutual(rich, newcomer, 2, CONFIG), "everyone gets three children"
    for parent in peers[31:35]:
        link(parent, rich)
    assert not placement.is_mutual(rich, newcomer, 2, CONFIG)
    assert placement.is_mutual(poor, newcomer, 7, CONFIG)
    newcomer.host.is_slow = True
    assert not placement.is_mutual(poor, newcomer, 0, CONFIG)


def test_rescuers_hold_what_is_wanted_and_near_ones_with_few_children_come_first() -> None:
    task, peers = swarm("abbaab")
    for peer in peers[1:]:
        task.gained(peer, 0b100)
    task.gained(peers[4], 0b1000)
    link(peers[3], peers[1])
    chosen = placement.choose_rescuers(task, peers[0], 0b100, 3, 64, Dice(1))
    assert chosen[0] is peers[3]
    assert set(chosen[1:]) < {peers[1], peers[2], peers[5]}


def test_the_first_holder_of_a_rare_piece_is_found_among_thousands() -> None:
    task, peers = swarm("a" * 3000)
    for peer in peers[1:]:
        task.gained(peer, 0b1)
    task.gained(peers[1234], 0b11)
    for seed in range(20):
        assert placement.choose_rescuers(task, peers[0], 0b10, 4, 64, Dice(seed)) == [peers[1234]]


def test_parents_and_those_kept_apart_are_no_rescuers() -> None:
    task, peers = swarm("a" * 4)
    for peer in peers[1:]:
        task.gained(peer, 0b1)
    link(peers[1], peers[0])
    peers[0].refuse(peers[2].host.id)
    assert placement.choose_rescuers(task, peers[0], 0b1, 4, 64, Dice(1)) == [peers[3]]


def test_a_host_with_many_children_is_no_rescuer() -> None:
    task, peers = swarm("a" * 8)
    task.gained(peers[1], 0b1)
    link(peers[1], *peers[2:6])
    assert placement.choose_rescuers(task, peers[0], 0b1, 5, 64, Dice(1)) == [peers[1]]
    assert placement.choose_rescuers(task, peers[0], 0b1, 4, 64, Dice(1)) == []
    assert placement.rescue_children_max(CONFIG) == 3 * CONFIG.neighbours


def test_a_lease_owner_gets_three_children() -> None:
    task, peers = swarm("a" * 10)
    link(peers[0], peers[1])
    assert len(placement.choose_children(task, peers[0], CONFIG, Dice(1))) == 2
    link(peers[0], peers[2], peers[3])
    assert placement.choose_children(task, peers[0], CONFIG, Dice(1)) == []


def test_familiar_hosts_are_parents_elsewhere_that_take_part_here() -> None:
    task, peers = swarm("a" * 5)
    elsewhere, (other, known) = swarm("a" * 2)[0], (Peer(peers[0].host), Peer(peers[3].host))
    link(known, other)
    assert placement.choose_familiar(task, peers[0], other, 4) == [peers[3]]
    assert elsewhere.id == task.id
