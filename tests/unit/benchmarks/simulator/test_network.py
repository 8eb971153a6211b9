"""Links that transfers share."""

import pytest

from benchmarks.simulator.clock import Clock
from benchmarks.simulator.network import TOLERANCE, UNLIMITED, Flow, Link, ramp_s
from swarm.dice import Dice


class Net:
    """A clock, links of 100 bytes a second, and when each transfer ended."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.links: dict[str, Link] = {}
        self.ended: dict[str, float] = {}

    def link(self, name: str, bytes_per_s: float = 100.0) -> Link:
        return self.links.setdefault(name, Link(bytes_per_s))

    def send(self, path: str, count: int, rate_max: float = UNLIMITED) -> Flow:
        """Start a transfer over `up>down`."""
        up, down = (self.link(name) for name in path.split(">"))
        return Flow(self.clock, up, down, count, lambda: self.ended.update({path: self.clock.now}), rate_max)

    def run(self) -> None:
        self.clock.run(1e9, lambda: False)


def test_a_transfer_alone_takes_the_whole_link() -> None:
    net = Net()
    net.send("a>b", 250)
    net.run()
    assert net.ended == {"a>b": 2.5}


def test_transfers_of_one_uplink_share_it_and_the_last_takes_the_rest() -> None:
    net = Net()
    net.send("a>b", 100)
    net.send("a>c", 200)
    net.run()
    assert net.ended == {"a>b": 2.0, "a>c": 3.0}


def test_what_one_transfer_cannot_use_the_others_of_its_link_get() -> None:
    net = Net()
    net.link("slow", 20.0)
    slow, fast = net.send("a>slow", 1000), net.send("a>b", 1000)
    assert (slow.rate, fast.rate) == pytest.approx((20.0, 80.0))


def test_a_connection_has_its_own_limit() -> None:
    net = Net()
    first, second = net.send("a>b", 1000, rate_max=10.0), net.send("a>c", 1000)
    assert (first.rate, second.rate) == pytest.approx((10.0, 90.0))


def test_a_change_reaches_links_that_it_does_not_touch() -> None:
    net = Net()
    first, second = net.send("a>b", 1000), net.send("c>b", 1000)
    third = net.send("c>d", 1000)
    assert [flow.rate for flow in (first, second, third)] == pytest.approx([50.0, 50.0, 50.0])
    third.cancel()
    first.cancel()
    assert second.rate == pytest.approx(100.0)


def test_a_cancelled_transfer_counts_what_went_over_the_wire() -> None:
    net = Net()
    flow = net.send("a>b", 1000)
    net.clock.after(3.0, flow.cancel)
    net.run()
    assert net.ended == {}
    assert flow.cancel() == 300
    assert net.links["a"].moved_bytes == net.links["b"].moved_bytes == 300


@pytest.mark.parametrize("seed", range(5))
def test_no_byte_is_lost_and_no_link_carries_more_than_it_can(seed: int) -> None:
    net, dice, flows = Net(), Dice(seed), []
    names = "abcdefgh"

    def check() -> None:
        for link in net.links.values():
            carried = sum(flow.rate for flow in link.flows)
            assert carried <= link.bytes_per_s * (1 + 2 * TOLERANCE), f"{carried} over a link of 100"

    for number in range(200):
        path = f"{dice.choose(names)}>{dice.choose(names).upper()}"
        count = 1 + dice.below(500)

        def start(path: str = path, count: int = count) -> None:
            flows.append(net.send(path, count))
            check()

        net.clock.at(number * 0.3, start)
        if number % 10 == 0:
            net.clock.at(number * 0.3 + 1.0, lambda: dice.choose(flows).cancel())
    net.run()
    sent = sum(flow.total_bytes - flow.left_bytes for flow in flows)
    assert all(not link.flows for link in net.links.values())
    ups = sum(link.moved_bytes for name, link in net.links.items() if name.islower())
    downs = sum(link.moved_bytes for name, link in net.links.items() if name.isupper())
    assert sent == pytest.approx(ups) == pytest.approx(downs)


def test_a_link_between_limits_all_that_take_it_together() -> None:
    net = Net()
    between = (net.link("zone", 60.0),)
    first = Flow(net.clock, net.link("a"), net.link("b"), 1000, lambda: None, between=between)
    second = Flow(net.clock, net.link("c"), net.link("d"), 1000, lambda: None, between=between)
    third = net.send("a>e", 1000)
    assert [flow.rate for flow in (first, second, third)] == pytest.approx([30.0, 30.0, 70.0], rel=TOLERANCE)
    second.cancel()
    assert first.rate == pytest.approx(50.0, rel=2 * TOLERANCE)


def test_a_link_that_changes_its_rate_changes_that_of_its_transfers() -> None:
    net = Net()
    flow = net.send("a>b", 200)
    net.clock.after(1.0, lambda: net.link("a").change(25.0))
    net.run()
    assert net.ended == {"a>b": 5.0}
    assert flow.left_bytes == 0


def test_a_cold_connection_lags_a_round_trip_for_each_doubling_of_its_window() -> None:
    assert ramp_s(10, 0.1, 1600.0, 10**6) == pytest.approx(0.4)
    assert ramp_s(10, 0.1, 1600.0, 40) == pytest.approx(0.2), "what is sent is less than the link holds"
    assert ramp_s(10, 0.1, 90.0, 10**6) == 0.0
    assert ramp_s(0, 0.1, 1600.0, 10**6) == 0.0, "the ramp is off"
