import pytest

from scheduler.host import HOST_STATES, Host, HostEvent, HostState
from swarm.ids import HostId
from swarm.messages import Address, HostInfo

INFO = HostInfo(HostId("a"), (Address("10.0.0.1", 1),), "z")


def test_quarantine_outlives_the_stream() -> None:
    host = Host(INFO)
    story = [
        (HostEvent.ATTACH, HostState.ATTACHED),
        (HostEvent.QUARANTINE, HostState.QUARANTINED),
        (HostEvent.LOSE, HostState.LOST_QUARANTINED),
        (HostEvent.ATTACH, HostState.QUARANTINED),
        (HostEvent.RELEASE, HostState.ATTACHED),
        (HostEvent.LOSE, HostState.LOST),
    ]
    for event, state in story:
        host.happen(event)
        assert host.state is state


IMPOSSIBLE = [
    (state, event) for state in HostState for event in HostEvent if (state, event) not in HOST_STATES
]


@pytest.mark.parametrize(("state", "event"), IMPOSSIBLE)
def test_what_is_not_in_the_table_is_a_bug(state: HostState, event: HostEvent) -> None:
    host = Host(INFO, state)
    with pytest.raises(KeyError):
        host.happen(event)


def test_two_failures_in_a_row_make_a_host_wait_and_success_forgives() -> None:
    host = Host(INFO)
    host.fetch_failed(10.0)
    assert host.fetch_after == 0.0
    host.fetch_failed(11.0)
    assert host.fetch_after > 11.0
    host.fetch_succeeded()
    assert (host.failures, host.fetch_after) == (0, 0.0)


def test_a_parent_is_introduced_with_its_addresses_and_pieces() -> None:
    parent = Host(INFO).as_parent(5)
    assert (parent.host, parent.addresses, parent.zone, parent.bits) == ("a", INFO.addresses, "z", 5)
