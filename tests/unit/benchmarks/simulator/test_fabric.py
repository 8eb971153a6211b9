"""What lies between hosts."""

from benchmarks.simulator.clock import Clock
from benchmarks.simulator.fabric import Fabric
from benchmarks.simulator.scenario import Scenario


def fabric(**given: float) -> Fabric:
    return Fabric(Clock(), Scenario(6, zones=3, **given))  # type: ignore[arg-type]


def test_a_cut_zone_reaches_itself_alone_until_it_heals() -> None:
    net = fabric()
    net.cut(1)
    reached = [(one, other) for one in range(3) for other in range(3) if net.passes(one, other)]
    assert reached == [(0, 0), (0, 2), (1, 1), (2, 0), (2, 2)]
    net.heal()
    assert net.passes(0, 1)


def test_a_transfer_to_another_zone_takes_the_links_of_both() -> None:
    net = fabric(zone_bytes_per_s=1e9)
    assert net.between(0, 0) == ()
    out, into = net.between(0, 1)
    assert out is net.between(0, 2)[0]
    assert into is net.between(2, 1)[1]
    assert out is not net.between(1, 0)[1]
    assert fabric().between(0, 1) == ()


def test_bytes_are_counted_and_those_between_zones_apart() -> None:
    net = fabric()
    net.count(0, 0, 100)
    net.count(0, 1, 10)
    assert (net.traffic.peer_bytes, net.traffic.cross_zone_bytes) == (110, 10)
