from scheduler.host import Host, HostEvent
from scheduler.speed import Speed
from swarm.ids import HostId
from swarm.messages import HostInfo, Load


def hosts(*rates: int) -> dict[HostId, Host]:
    made = {}
    for number, rate in enumerate(rates):
        host = Host(HostInfo(HostId(f"h{number}"), ()), upload=rate)
        host.happen(HostEvent.ATTACH)
        made[host.id] = host
    return made


def test_below_half_the_median_is_slow() -> None:
    table, speed = hosts(100, 100, 110, 90, 0), Speed()
    slow = table[HostId("h4")]
    speed.measured(slow, Load(49, 0, 1), table, 1.0)
    assert slow.is_slow
    speed.measured(slow, Load(60, 0, 1), table, 3.0)
    assert not slow.is_slow


def test_a_new_median_is_for_all() -> None:
    table, speed = hosts(40, 0, 0, 0), Speed()
    early = table[HostId("h0")]
    for number in range(1, 4):
        speed.measured(table[HostId(f"h{number}")], Load(100, 0, 1), table, 2.0 * number)
    assert early.is_slow, "it was measured when there was nothing to compare it with"


def test_who_sent_nothing_is_not_slow_and_few_hosts_have_no_median() -> None:
    table, speed = hosts(100, 100, 100, 100), Speed()
    idle = table[HostId("h0")]
    speed.measured(idle, Load(0, 0, 0), table, 1.0)
    assert (idle.is_slow, idle.upload) == (False, 100)
    few = hosts(100, 1)
    Speed().measured(few[HostId("h1")], Load(1, 0, 0), few, 1.0)
    assert not few[HostId("h1")].is_slow
