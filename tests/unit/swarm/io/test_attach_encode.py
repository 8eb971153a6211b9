from swarm.ids import Epoch, HostId, TaskId
from swarm.io.attach_encode import DAEMON_FACTS, SCHEDULER_FACTS
from swarm.messages import Address, Leave, Parent, Parents, PieceRecord, Progress, TaskInfo
from swarm.rpc import attach_pb2 as pb

TASK = TaskId("sha256:" + 64 * "a")


def told(message: Parents | TaskInfo) -> pb.SchedulerFact:
    fact = pb.SchedulerFact()
    SCHEDULER_FACTS[type(message)](fact, message)
    return fact


def test_a_host_is_introduced_with_what_it_holds_now_and_where_it_is_now() -> None:
    host, before, after = HostId("n1"), (Address("10.0.0.1", 1),), (Address("10.0.0.2", 2),)
    first = told(Parents(TASK, (Parent(host, before, "z", 0b111),))).parents.parents[0]
    second = told(Parents(TASK, (Parent(host, after, "z"),))).parents.parents[0]
    assert (first.bits, second.bits) == (b"\x07", b"")
    assert [address.port for address in (*first.addresses, *second.addresses)] == [1, 2]


def test_records_are_those_of_the_message_also_when_an_earlier_one_looked_alike() -> None:
    for digest in (bytes(16), bytes(15) + b"\x01"):
        records = (PieceRecord(0, digest, Epoch(1)),)
        for _ in range(2):
            assert list(told(TaskInfo(TASK, 1, records)).task_info.records.digests) == [digest]


def test_a_message_of_nothing_but_defaults_is_there() -> None:
    for message, name in ((Progress(()), "progress"), (Leave(TaskId("")), "leave")):
        fact = pb.DaemonFact()
        DAEMON_FACTS[type(message)](fact, message)
        assert fact.WhichOneof("fact") == name
