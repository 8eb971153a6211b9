import pytest

from scheduler.host import Host, HostEvent
from scheduler.peer import Peer, PeerEvent
from scheduler.zone import Zone
from swarm.ids import HostId
from swarm.messages import HostInfo


def peer(name: str, bits: int = 0) -> Peer:
    host = Host(HostInfo(HostId(name), (), "z"))
    host.happen(HostEvent.ATTACH)
    made = Peer(host, bits=bits)
    made.happen(PeerEvent.WELCOME)
    return made


def zone(*peers: Peer) -> Zone:
    made = Zone()
    for each in peers:
        made.file(each, 4)
    return made


def test_a_zone_holds_what_its_serving_peers_hold() -> None:
    silent = peer("c", 0b1000)
    silent.stores = False
    assert zone(peer("a", 0b001), peer("b", 0b010), silent).held == 0b011


def test_what_is_lost_is_what_nobody_else_here_holds() -> None:
    a, b = peer("a", 0b011), peer("b", 0b010)
    one = zone(a, b)
    one.unfile(a)
    assert one.held == 0b010
    one.unfile(b)
    assert one.held == 0
    assert one.is_empty()


def test_those_that_download_and_serve_may_import() -> None:
    a, b, c = peer("a"), peer("b"), peer("c")
    b.stores = False
    c.happen(PeerEvent.COMPLETE)
    one = zone(a, b, c)
    assert list(one.takers) == [a]
    assert not one.is_empty()


def test_an_import_is_over_when_it_is_held() -> None:
    a, b = peer("a"), peer("b")
    one = zone(a, b)
    one.assign(a, 0b0111)
    one.assign(b, 0b1000)
    a.bits = 0b0001
    one.arrived(a)
    assert (a.importing, b.importing, one.importing) == (0b0110, 0b1000, 0b1110)
    one.release(a)
    assert (a.importing, one.importing) == (0, 0b1000)


def test_a_piece_is_imported_by_one_host() -> None:
    a, b = peer("a"), peer("b")
    one = zone(a, b)
    one.assign(a, 0b01)
    with pytest.raises(AssertionError, match="two hosts"):
        one.assign(b, 0b11)


@pytest.mark.parametrize("leaves", [True, False])
def test_who_goes_or_serves_no_more_imports_nothing(leaves: bool) -> None:
    a = peer("a")
    one = zone(a)
    one.assign(a, 0b11)
    if leaves:
        one.unfile(a)
    else:
        a.host.happen(HostEvent.QUARANTINE)
        one.file(a, 4)
    assert (a.importing, one.importing, len(one.takers)) == (0, 0, 0)
