import pytest

from scheduler.host import Host, HostEvent
from scheduler.peer import DECEIVED_MAX, PEER_STATES, REFUSED_MAX, Peer, PeerEvent, PeerState
from swarm.ids import HostId
from swarm.messages import HostInfo


def peer() -> Peer:
    host = Host(HostInfo(HostId("a"), ()))
    host.happen(HostEvent.ATTACH)
    return Peer(host)


@pytest.mark.parametrize("state", PeerState)
@pytest.mark.parametrize("event", PeerEvent)
def test_each_state_meets_each_event(state: PeerState, event: PeerEvent) -> None:
    one = peer()
    one.state = state
    expected = PEER_STATES.get((state, event))
    if expected is None:
        with pytest.raises(KeyError):
            one.happen(event)
    else:
        one.happen(event)
        assert one.state is expected


def test_who_left_never_comes_back() -> None:
    assert not any(state is PeerState.LEFT for state, _ in PEER_STATES)


def test_only_a_storing_peer_of_a_trusted_host_serves() -> None:
    one = peer()
    assert one.serves()
    one.stores = False
    assert not one.serves()
    one.stores = True
    one.host.happen(HostEvent.QUARANTINE)
    assert not one.serves()


def test_refusals_are_bounded() -> None:
    one = peer()
    for number in range(REFUSED_MAX + 5):
        one.refuse(HostId(f"h{number}"))
    assert len(one.refused) == REFUSED_MAX


def test_who_was_given_a_wrong_piece_may_have_passed_it_on() -> None:
    one = peer()
    one.was_deceived(3, b"wrong")
    assert one.may_be_deceived(3, b"wrong")
    assert not one.may_be_deceived(3, b"another")
    assert not one.may_be_deceived(2, b"wrong")


def test_who_was_given_too_many_to_remember_may_have_passed_on_any() -> None:
    one = peer()
    for index in range(DECEIVED_MAX + 5):
        one.was_deceived(index, b"wrong")
    assert len(one.deceived) == DECEIVED_MAX
    assert one.may_be_deceived(DECEIVED_MAX + 1, b"wrong")
