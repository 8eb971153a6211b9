from collections.abc import Callable

import pytest

from scheduler.cluster import Cluster
from scheduler.lease import Lease
from scheduler.peer import PeerState
from scheduler.pool import Pool
from scheduler.validation import validate
from swarm.ids import Epoch, HostId
from swarm.pieces import MIB
from tests.support.scheduler_playbook import BLOB, REGISTRY, Playbook

A, B = HostId("a"), HostId("b")


def healthy() -> Cluster:
    play = Playbook()
    play.join("a", "b")
    play.holds("a", 0b11)
    return play.machine.cluster


def forget_a_child(cluster: Cluster) -> None:
    cluster.tasks[BLOB].peers[A].children.clear()


def overlap(cluster: Cluster) -> None:
    lease = Lease(BLOB, A, REGISTRY, Epoch(9), 0, 4, MIB, 1.0)
    task = cluster.tasks[BLOB]
    task.add_lease(lease)
    task.peers[A].leases.append(lease)
    task.peers[A].host.leases.append(lease)
    cluster.registries[REGISTRY].leases[lease] = None


def lose_a_lease(cluster: Cluster) -> None:
    cluster.tasks[BLOB].leases.clear()


def hold_what_nobody_holds(cluster: Cluster) -> None:
    cluster.tasks[BLOB].held |= 1 << 100


def miscount(cluster: Cluster) -> None:
    cluster.tasks[BLOB].complete += 1


def miscount_hosts(cluster: Cluster) -> None:
    cluster.attached += 1


def leave_and_stay(cluster: Cluster) -> None:
    cluster.tasks[BLOB].peers[B].state = PeerState.LEFT


def misfile(cluster: Cluster) -> None:
    cluster.tasks[BLOB].zone("").growing = Pool()


def hold_unknown_blobs(cluster: Cluster) -> None:
    cluster.hosts[A].held[BLOB] = 5


SABOTAGE = [
    forget_a_child,
    overlap,
    lose_a_lease,
    hold_what_nobody_holds,
    miscount,
    miscount_hosts,
    leave_and_stay,
    misfile,
    hold_unknown_blobs,
]


@pytest.mark.parametrize("sabotage", SABOTAGE, ids=lambda sabotage: sabotage.__name__)
def test_whatever_is_broken_is_found(sabotage: Callable[[Cluster], None]) -> None:
    cluster = healthy()
    validate(cluster)
    sabotage(cluster)
    with pytest.raises(AssertionError):
        validate(cluster)
