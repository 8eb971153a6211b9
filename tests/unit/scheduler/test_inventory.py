from scheduler.host import Host
from scheduler.inventory import HELD_PER_HOST_MAX, Inventory
from swarm.ids import HostId, TaskId
from swarm.messages import HostInfo


def host(name: str) -> Host:
    return Host(HostInfo(HostId(name), ()))


def test_holders_come_and_go() -> None:
    inventory, a, b = Inventory(), host("a"), host("b")
    hosts = {HostId("a"): a, HostId("b"): b}
    inventory.add(a, TaskId("t"), 5)
    inventory.add(b, TaskId("t"), 5)
    inventory.add(b, TaskId("u"), 7)
    assert inventory.holders(TaskId("t")) == {"a": 5, "b": 5}
    inventory.validate(hosts)
    inventory.remove(a, TaskId("t"))
    inventory.remove(a, TaskId("never"))
    inventory.clear(b)
    assert inventory.holders(TaskId("t")) == {}
    inventory.validate(hosts)


def test_the_oldest_of_too_many_blobs_is_forgotten() -> None:
    inventory, a = Inventory(), host("a")
    for number in range(HELD_PER_HOST_MAX + 1):
        inventory.add(a, TaskId(f"t{number}"), 1)
    assert not inventory.holders(TaskId("t0"))
    assert len(a.held) == HELD_PER_HOST_MAX
