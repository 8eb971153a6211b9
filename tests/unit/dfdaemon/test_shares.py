"""What one of several hosts without a scheduler fetches next."""

from collections import Counter

from dfdaemon.shares import RUN_MAX, is_ours, next_run
from swarm import availability
from swarm.dice import Dice
from swarm.ids import HostId

HOSTS = [HostId(f"host-{number}") for number in range(5)]


def others_of(me: HostId) -> list[HostId]:
    return [host for host in HOSTS if host != me]


def test_each_piece_falls_to_exactly_one_of_hosts_that_know_each_other() -> None:
    owners = Counter(host for index in range(500) for host in HOSTS if is_ours(index, host, others_of(host)))
    assert sum(owners.values()) == 500
    assert min(owners.values()) > 50, "nobody is left out"


def test_one_who_is_alone_takes_what_comes_first() -> None:
    bits = availability.span(5, 5 + 2 * RUN_MAX)
    assert next_run(bits, RUN_MAX, HOSTS[0], [], Dice(1)) == availability.span(5, 5 + RUN_MAX)


def test_with_others_it_takes_its_own_share_before_theirs() -> None:
    me, bits = HOSTS[0], availability.span(0, 100)
    ours = {index for index in range(100) if is_ours(index, me, others_of(me))}
    taken = set()
    for seed in range(300):
        (index,) = availability.indexes(next_run(bits, 1, me, others_of(me), Dice(seed)))
        taken.add(index)
    assert taken == ours
    theirs = bits & ~sum(1 << index for index in ours)
    assert next_run(theirs, 1, me, others_of(me), Dice(1)) & theirs


def test_only_what_is_missing_is_fetched_and_nothing_when_nothing_is() -> None:
    assert next_run(0b1011, 4, HOSTS[0], [], Dice(1)) == 0b1011
    assert next_run(0, 4, HOSTS[0], HOSTS[1:], Dice(1)) == 0
