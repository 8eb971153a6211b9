"""The invariants of the scheduler, asserted after every event under test."""

from functools import reduce
from operator import or_

from scheduler import cluster as bounds
from scheduler.cluster import Cluster
from scheduler.host import Host
from scheduler.lease import LeaseState
from scheduler.peer import DECEIVED_MAX, LAYERS_MAX, Peer, PeerState
from scheduler.task import Task, TaskState


def validate(cluster: Cluster) -> None:
    """Assert all invariants; the cost grows with peers and their edges."""
    assert len(cluster.hosts) <= bounds.HOSTS_MAX, "too many hosts"
    assert len(cluster.tasks) <= bounds.TASKS_MAX, "too many tasks"
    assert len(cluster.registries) <= bounds.REGISTRIES_MAX, "too many registries"
    assert cluster.attached == sum(host.is_attached() for host in cluster.hosts.values()), (
        "attached is miscounted"
    )
    for task in cluster.tasks.values():
        _validate_pieces(task)
        _validate_counts(task)
        _validate_leases(cluster, task)
        task.verification.validate()
        _validate_zones(task)
        for name, peer in task.peers.items():
            assert peer.host is cluster.hosts.get(name), f"{name} is not the host in the table"
            _validate_peer(task, peer)
    for host in cluster.hosts.values():
        _validate_host(cluster, host)
    for registry in cluster.registries.values():
        assert 1 <= registry.connections <= registry.connections_max, (
            f"{registry.name} has no sensible budget"
        )
        assert all(task in cluster.tasks for task in registry.hungry), (
            f"a forgotten task waits for {registry.name}"
        )
    cluster.inventory.validate(cluster.hosts)


def _validate_pieces(task: Task) -> None:
    everything = task.all_bits()
    held = reduce(or_, (peer.bits for peer in task.peers.values() if peer.serves()), 0)
    assert task.held == held, f"{task.id}: held pieces are miscounted"
    assert not held & ~everything, f"{task.id}: a piece beyond the end is held"
    leased = reduce(or_, (lease.bits() for lease in task.leases), 0)
    assert task.leased == leased, f"{task.id}: leased pieces are miscounted"
    assert not leased & ~everything, f"{task.id}: a piece beyond the end is leased"
    if not task.inline_held:
        assert task.free() == everything & ~held & ~leased & ~task.unsure, (
            f"{task.id}: a piece is neither held, leased, in doubt nor free"
        )


def _validate_counts(task: Task) -> None:
    complete = sum(peer.state is PeerState.COMPLETE for peer in task.peers.values())
    assert task.complete == complete, f"{task.id}: complete peers are miscounted"
    assert task.downloading == len(task.peers) - complete, f"{task.id}: downloading peers are miscounted"
    assert task.state is not TaskState.IDLE or not task.downloading, (
        f"{task.id}: idle, yet somebody downloads"
    )
    assert task.state is not TaskState.ACTIVE or task.downloading, f"{task.id}: active, yet nobody downloads"
    filed = [pool for zone in task.zones.values() for pool in zone.pools()]
    for pool in (*filed, task.fetchers, task.seed_fetchers):
        assert all(task.peers.get(peer.host.id) is peer for peer in pool), f"{task.id}: a pool holds who left"
    fetching = sum(
        peer.may_fetch and peer.stores and peer.is_downloading() and peer.serves()
        for peer in task.peers.values()
    )
    assert task.is_tiny() or len(task.fetchers) + len(task.seed_fetchers) == fetching, (
        f"{task.id}: fetchers differ"
    )


def _validate_zones(task: Task) -> None:
    for name, zone in task.zones.items():
        peers = [peer for peer in task.peers.values() if peer.host.info.zone == name]
        held = reduce(or_, (peer.bits for peer in peers if peer.serves()), 0)
        assert zone.held == held, f"{task.id}: what zone {name!r} holds is miscounted"
        importing = 0
        for peer in peers:
            assert not peer.importing & importing, f"{task.id}: two hosts of zone {name!r} import a piece"
            assert not peer.importing & peer.bits, f"{peer.host.id} is to import what it holds"
            importing |= peer.importing
            takes = peer.serves() and peer.is_downloading()
            assert (peer in zone.takers) == takes, f"{peer.host.id}: wrongly among those that may import"
            assert takes or not peer.importing, f"{peer.host.id} imports for nobody"
        assert zone.importing == importing, f"{task.id}: what zone {name!r} imports is miscounted"
        assert not importing & ~task.all_bits(), f"{task.id}: a piece beyond the end is imported"


def _validate_leases(cluster: Cluster, task: Task) -> None:
    covered = 0
    for lease in task.leases:
        assert 0 <= lease.start <= lease.next_piece <= lease.end <= task.pieces.count, (
            f"{task.id}: lease out of range"
        )
        assert not lease.bits() & covered, f"{task.id}: leases overlap"
        covered |= lease.bits()
        assert lease in cluster.registries[lease.registry].leases, f"{task.id}: a lease without a registry"
        host = cluster.hosts.get(lease.host)
        assert host is not None, f"{task.id}: a lease of a forgotten host"
        assert lease in host.leases, f"{task.id}: a lease without a host"
        peer = task.peers.get(lease.host)
        assert peer is None or lease in peer.leases, f"{task.id}: a lease that its peer does not know"
        settled = lease.private or lease.state is not LeaseState.SETTLING
        assert settled or peer is not None, f"{task.id}: nobody is left to settle a lease"


def _validate_peer(task: Task, peer: Peer) -> None:
    zone = task.zones.get(peer.host.info.zone)
    assert peer.state is not PeerState.LEFT, f"{peer.host.id} left, and is still there"
    assert all(peer in parent.children for parent in peer.parents), (
        f"{peer.host.id}: a parent does not know it"
    )
    assert all(peer in child.parents for child in peer.children), f"{peer.host.id}: a child does not know it"
    assert all(task.peers.get(parent.host.id) is parent for parent in peer.parents), (
        f"{peer.host.id}: a stranger"
    )
    assert peer not in peer.parents, f"{peer.host.id} is its own parent"
    assert not (peer.state is PeerState.COMPLETE and peer.parents), (
        f"{peer.host.id} is complete, yet has parents"
    )
    assert all(parent.host.id not in peer.refused for parent in peer.parents), (
        f"{peer.host.id}: not kept apart"
    )
    assert peer.serves() or not peer.children, f"{peer.host.id} serves nobody, yet has children"
    has_room = peer.serves() and len(peer.children) < task.children_max
    growing = zone is not None and peer in zone.growing
    assert growing == (has_room and peer.is_downloading()), f"{peer.host.id}: wrongly among those that grow"
    assert len(peer.deceived) <= DECEIVED_MAX, f"{peer.host.id}: too many pieces that it was given wrong"
    holds = zone is not None and peer in zone.holders
    assert holds == (peer.serves() and peer.bits != 0), f"{peer.host.id}: wrongly among the holders"


def _validate_host(cluster: Cluster, host: Host) -> None:
    assert len(host.tasks) <= bounds.TASKS_PER_HOST_MAX, f"{host.id} takes part in too much"
    assert host.is_attached() or not host.tasks, f"{host.id} is lost, and still takes part"
    assert host.is_attached() or not host.held, f"{host.id} is lost, and still holds blobs"
    for task in host.tasks:
        assert host.id in cluster.tasks[task].peers, f"{host.id} is no peer of a task that it takes part in"
    peers = {task: cluster.tasks[task].peers[host.id] for task in host.tasks}
    placed = {(image, place, task) for image, found in host.layers.items() for task, place in found.items()}
    assert placed == {(*peer.layer, task) for task, peer in peers.items() if peer.layer}, (
        f"{host.id}: its layers are misplaced"
    )
    assert all(0 < len(found) <= LAYERS_MAX for found in host.layers.values()), f"{host.id}: too many layers"
    for lease in host.leases:
        assert lease in cluster.tasks[lease.task].leases, f"{host.id} has a lease that its task does not know"
