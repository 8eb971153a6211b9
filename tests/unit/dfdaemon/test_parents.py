import pytest

from dfdaemon.hosts import HostBook
from dfdaemon.parents import BANNED_MAX, CALLS_MAX, PARENTS_MAX, UNREACHED_MIN, ParentTable, Peer
from swarm.ids import HostId
from swarm.messages import Parent


@pytest.fixture
def parents() -> ParentTable:
    return ParentTable("zone-1", HostBook())


def add(parents: ParentTable, name: str, bits: int = 0, zone: str = "zone-1") -> Peer:
    peer = parents.add(Parent(HostId(name), (), zone))
    assert peer is not None
    parents.holds(peer, bits)
    return peer


def test_parents_of_the_own_zone_are_near(parents: ParentTable) -> None:
    assert add(parents, "a", zone="zone-1").is_near
    assert not add(parents, "b", zone="zone-2").is_near


def test_what_parents_hold_is_counted(parents: ParentTable) -> None:
    a, b = add(parents, "a", 0b011), add(parents, "b", 0b110)
    parents.validate(3)
    assert parents.offered() == 0b111
    assert parents.rarity.rarest(0b111) == 0b101
    assert parents.holds(a, 0b100) == 0b100, "new is what it did not hold before"
    parents.remove(b)
    parents.validate(3)
    assert parents.offered() == 0b100


def test_another_zones_copies_make_nothing_less_rare(parents: ParentTable) -> None:
    add(parents, "a", 0b001)
    far = add(parents, "b", 0b011, zone="zone-2")
    assert parents.rarity.rarest(0b011) == 0b010
    assert (parents.offered(), parents.offered(near=True), parents.offered(near=False)) == (
        0b011,
        0b001,
        0b011,
    )
    assert parents.near == 1
    parents.remove(far)
    assert parents.near == 1
    parents.validate(3)


def test_a_busy_parent_offers_nothing_and_another_zones_only_what_may_come_from_there(
    parents: ParentTable,
) -> None:
    busy, a, far = add(parents, "busy", 0b001), add(parents, "a", 0b010), add(parents, "far", 0b111, "zone-2")
    busy.host.refused(0.001, 5.0)
    assert parents.with_room(0b111, 0b100, 1 << 20, 5.0) == ([a, far], 0b110)
    assert parents.with_room(0b100, 0b000, 1 << 20, 5.0) == ([], 0)


def test_a_known_parent_is_not_added_again_unless_it_is_away(parents: ParentTable) -> None:
    peer = add(parents, "a", 0b1)
    assert parents.add(peer.said) is None
    parents.lose(peer, jitter=0.5, now=0.0)
    again = parents.add(peer.said)
    assert again is not None
    assert again is not peer


def test_a_full_table_lets_a_useless_parent_go(parents: ParentTable) -> None:
    peers = [add(parents, f"host-{number}") for number in range(PARENTS_MAX)]
    assert parents.add(Parent(HostId("new"), ())) is None
    assert parents.add(Parent(HostId("new"), ()), useless=[peers[3]]) is not None
    assert parents.get(HostId("host-3")) is None
    assert len(parents) == PARENTS_MAX


def test_a_banned_parent_never_comes_back(parents: ParentTable) -> None:
    peer = add(parents, "a", 0b1)
    parents.ban(peer)
    assert parents.is_banned(peer.name)
    assert parents.add(peer.said) is None
    assert parents.offered() == 0


def test_the_banned_are_bounded(parents: ParentTable) -> None:
    for number in range(BANNED_MAX + 10):
        parents.ban(add(parents, f"host-{number}"))
    assert not parents.is_banned(HostId(f"host-{BANNED_MAX + 9}"))


def test_a_lost_parent_is_called_again_less_and_less_and_then_given_up(parents: ParentTable) -> None:
    peer, now, pauses = add(parents, "a", 0b1), 0.0, []
    while parents.lose(peer, jitter=0.5, now=now):
        assert peer.away
        assert parents.due_calls(parents.call_at - 0.01) == []
        pauses.append(parents.call_at - now)
        now = parents.call_at
        assert parents.due_calls(now) == [peer]
    assert pauses == [1.0, 2.0, 4.0][:CALLS_MAX]
    assert len(parents) == 0


def test_parents_are_out_of_reach_when_each_was_tried_in_vain(parents: ParentTable) -> None:
    a, b = add(parents, "a"), add(parents, "b")
    assert not parents.are_out_of_reach, "nothing is known yet"
    parents.lose(a, jitter=0.5, now=0.0)
    assert not parents.are_out_of_reach, "one may have been slow"
    parents.lose(b, jitter=0.5, now=0.0)
    assert parents.are_out_of_reach
    parents.answered(b)
    assert not parents.are_out_of_reach
    parents.lose(b, jitter=0.5, now=1.0)
    assert not parents.are_out_of_reach, "what failed before somebody answered proves nothing"


def test_many_failures_prove_it_however_many_parents_there_are(parents: ParentTable) -> None:
    tried = [add(parents, f"host-{number}") for number in range(2 * UNREACHED_MIN)][:UNREACHED_MIN]
    for peer in tried:
        assert not parents.are_out_of_reach
        parents.lose(peer, jitter=0.5, now=0.0)
    assert parents.are_out_of_reach


def test_without_any_parent_left_the_last_ones_were_out_of_reach(parents: ParentTable) -> None:
    peer = add(parents, "a")
    assert not ParentTable("zone-1", HostBook()).are_out_of_reach
    parents.lose(peer, jitter=0.5, now=0.0)
    parents.remove(peer)
    assert parents.are_out_of_reach


def test_who_gave_a_piece_is_remembered_beyond_its_part_in_the_download(parents: ParentTable) -> None:
    a, b = add(parents, "a", 0b11), add(parents, "b", 0b11)
    a.taken, b.taken = 0b01, 0b10
    parents.remove(a)
    assert parents.givers_of(0) == [HostId("a")]
    assert parents.givers_of(1) == [HostId("b")]
    back = parents.add(a.said)
    assert back is not None
    assert back.taken == 0b01


def test_a_piece_that_was_wrong_is_not_asked_of_its_giver_again(parents: ParentTable) -> None:
    a, b = add(parents, "a", 0b11), add(parents, "b", 0b11)
    a.taken = 0b01
    parents.untake(0b01, asks_again=False)
    assert (a.bits, b.bits) == (0b10, 0b11)
    assert parents.givers_of(0) == []
    parents.validate(2)


def test_a_giver_that_was_deceived_may_be_asked_again(parents: ParentTable) -> None:
    a = add(parents, "a", 0b11)
    a.taken = 0b01
    parents.untake(0b01)
    assert a.bits == 0b11
    assert parents.givers_of(0) == []
    parents.validate(2)
