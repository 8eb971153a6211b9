"""Import leases: who brings what into which zone, and what happens when that comes to nothing."""

from scheduler.host import Host, HostEvent
from scheduler.importing import AGAIN_S, AHEAD, PIECES_MAX, PIECES_MIN, choose_importer, unit_pieces
from scheduler.peer import Peer, PeerEvent
from scheduler.zone import Zone
from swarm.availability import full, span
from swarm.dice import Dice
from swarm.ids import HostId
from swarm.messages import ActiveTask, HostInfo, Imports, Settings
from tests.support.scheduler_playbook import BLOB, LAYER, REGISTRY, Playbook

COUNT = 128
TIMEOUT_S = 10.0


def play_with(**zones: str) -> Playbook:
    """Hosts of one letter each, by zone, that attached."""
    play = Playbook()
    for zone, names in zones.items():
        play.attach(*names, zone=zone)
    return play


def late_zone(names: str) -> Playbook:
    """A zone of complete hosts `xyz`, and hosts of another zone that join, one after the other."""
    play = play_with(old="xyz", new=names)
    play.join(*"xyz")
    play.completes(*"xyz")
    play.said.clear()
    play.join(*names)
    return play


def imports(play: Playbook, name: str) -> int:
    """What a host was last told to import."""
    told = play.told(name, Imports, play.said)
    return told[-1].bits if told else 0


def test_hosts_of_one_zone_import_nothing() -> None:
    play = play_with(a="abc")
    play.join(*"abc")
    play.holds("a", full(20))
    assert not any(play.told(name, Imports, play.said) for name in "abc")


def test_the_hosts_of_a_late_zone_import_disjoint_parts() -> None:
    play = late_zone("abcd")
    parts = [imports(play, name) for name in "abcd"]
    assert all(part.bit_count() >= PIECES_MIN for part in parts)
    assert sum(part.bit_count() for part in parts) == (parts[0] | parts[1] | parts[2] | parts[3]).bit_count()


def test_an_importer_knows_hosts_of_the_other_zone_and_has_children_in_its_own() -> None:
    play = late_zone("abcd")
    peers = play.machine.cluster.tasks[BLOB].peers
    importer = peers[HostId("a")]
    assert {parent.host.id for parent in importer.parents} & set("xyz")
    assert {child.host.id for child in importer.children} >= set("bcd")


def test_whoever_holds_what_it_was_to_import_gets_more() -> None:
    play = late_zone("a")
    brought = imports(play, "a")
    play.holds("a", brought)
    assert imports(play, "a")
    assert not imports(play, "a") & brought


def test_a_zone_imports_each_piece_once_to_the_last() -> None:
    play = late_zone("ab")
    held, crossed = {"a": 0, "b": 0}, 0
    for _ in range(40):
        for name in "ab":
            new = imports(play, name) & ~held[name]
            assert not new & crossed
            crossed |= new
            held[name] |= new
            play.holds(name, held[name])
    assert crossed == full(COUNT)


def test_what_is_fetched_from_the_origin_is_imported_as_it_comes() -> None:
    play = play_with(east="ab", west="cd")
    play.join(*"abcd")
    owner, lease = next(iter((name, given[0]) for name, given in play.leases(play.said).items()))
    others = "cd" if owner in "ab" else "ab"
    told = imports(play, others[0]) | imports(play, others[1])
    assert told & span(lease.start, lease.end) == span(lease.start, min(lease.end, lease.start + AHEAD))
    sources = {parent.host.id for parent in play.machine.cluster.tasks[BLOB].peers[HostId(others[0])].parents}
    assert owner in sources or not imports(play, others[0]) & span(lease.start, lease.end)


def test_the_owner_and_its_zone_do_not_import_what_it_fetches() -> None:
    play = play_with(east="ab", west="cd")
    play.join(*"abcd")
    fetched = {"ab": 0, "cd": 0}
    for name, given in play.leases(play.said).items():
        zone = "ab" if name in "ab" else "cd"
        for lease in given:
            fetched[zone] |= span(lease.start, lease.end)
    for zone, bits in fetched.items():
        assert not any(imports(play, name) & bits for name in zone)


def bring_all(play: Playbook, name: str) -> int:
    """A host brings all that it is told to import, and what it is told for that; returns what it holds then."""
    peer = play.machine.cluster.tasks[BLOB].peers[HostId(name)]
    while peer.importing:
        play.holds(name, peer.bits | peer.importing)
    return peer.bits


def test_what_an_importer_leaves_behind_another_imports() -> None:
    play = late_zone("ab")
    bits = imports(play, "a")
    play.lose("a")
    assert bring_all(play, "b") & bits == bits


def test_an_import_that_brings_nothing_goes_to_another() -> None:
    play = late_zone("ab")
    bits = imports(play, "a")
    bring_all(play, "b")
    play.wait(TIMEOUT_S)
    assert imports(play, "a") == 0
    assert [note.host for note in play.notes("import_expired")] == ["a"]
    assert bring_all(play, "b") & bits == bits


def test_an_import_that_cannot_bring_anything_yet_does_not_expire() -> None:
    play = play_with(east="ab", west="cd")
    play.join(*"abcd")
    play.wait(TIMEOUT_S - 0.1)
    before = {name: imports(play, name) for name in "abcd"}
    assert any(before.values())
    play.wait(0.2)
    assert not play.notes("import_expired")


def test_a_source_that_goes_is_replaced() -> None:
    play = late_zone("a")
    known = {parent.host.id for parent in play.machine.cluster.tasks[BLOB].peers[HostId("a")].parents}
    for name in sorted(known)[:-1]:
        play.lose(name)
    left = {parent.host.id for parent in play.machine.cluster.tasks[BLOB].peers[HostId("a")].parents}
    assert left, "somebody of the other zone can still be asked"


def test_a_starving_host_imports_what_it_wants() -> None:
    play = late_zone("a")
    play.holds("a", 0)
    wanted = 1 << 127
    play.machine.cluster.tasks[BLOB].zones["new"].release(play.machine.cluster.tasks[BLOB].peers[HostId("a")])
    play.starves("a", wanted)
    assert imports(play, "a") & wanted


def test_starving_hosts_are_sent_to_other_zones_only_for_what_they_import() -> None:
    play = late_zone("ab")
    mine, others = imports(play, "a"), imports(play, "b")
    play.starves("a", others)
    assert not set(play.parents("a")) & set("xyz")
    assert mine


def test_a_host_without_store_imports_nothing_and_may_ask_anybody() -> None:
    play = play_with(old="xyz", new="a")
    play.join(*"xyz")
    play.completes(*"xyz")
    play.join("a", stores=False)
    assert set(play.parents("a", play.said)) == set("xyz")
    assert imports(play, "a") == 0


def test_daemons_hear_that_imports_are_leased() -> None:
    play = Playbook()
    play.attach("a")
    assert play.told("a", Settings)[0].leases_imports


def test_nothing_is_imported_while_a_task_recovers() -> None:
    play, size = Playbook(), LAYER
    play.attach("a", zone="east", active=(ActiveTask(BLOB, size, REGISTRY, full(9), True, True),))
    play.attach("b", zone="west", active=(ActiveTask(BLOB, size, REGISTRY, 0, True, True),))
    play.wait(2.9)
    assert imports(play, "b") == 0
    play.wait(0.2)
    assert imports(play, "b") & full(9)


def test_how_much_is_imported_at_once() -> None:
    assert unit_pieces(missing=10_000, takers=1) == PIECES_MAX
    assert unit_pieces(missing=120, takers=2) == 10
    assert unit_pieces(missing=10_000, takers=100) == PIECES_MIN


def test_slow_hosts_and_those_that_failed_import_last() -> None:
    zone, peers = Zone(), []
    for name in "abcd":
        host = Host(HostInfo(HostId(name), (), "z"))
        host.happen(HostEvent.ATTACH)
        peer = Peer(host, may_fetch=True)
        peer.happen(PeerEvent.WELCOME)
        zone.file(peer, 4)
        peers.append(peer)
    failed, slow, partial, good = peers
    failed.import_after = AGAIN_S
    slow.host.is_slow = True
    partial.may_fetch = False
    order = []
    while (peer := choose_importer(zone, 0, 0.0, Dice(3))) is not None:
        order.append(peer)
        zone.assign(peer, 1 << len(order))
    assert order == [good, slow, partial], "others have enough to do, so it waits for them"
    assert choose_importer(zone, 0, AGAIN_S, Dice(3)) is failed


def test_who_joins_again_goes_on_with_nothing_that_another_imports_now() -> None:
    play = late_zone("abcdefgh")
    for name in "bc":
        play.holds(name, imports(play, name))
    assert imports(play, "a")
    play.machine.cluster.hosts[HostId("a")].is_slow = True
    play.join("a")
    importing = play.machine.cluster.tasks[BLOB].peers[HostId("a")].importing
    told = imports(play, "a")
    assert (importing, told) == (0, 0)
