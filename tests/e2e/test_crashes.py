"""kill -9 while containerds pull: of a parent, a lease owner, the scheduler, the daemon. All pulls succeed."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from benchmarks.io.image import Image
from tests.support.background import in_background
from tests.support.cluster import Cluster, Daemon, Node, eventually, pull, wait_attached
from tests.support.containerd import PULL_S
from tests.support.docker_registry import DockerRegistry
from tests.support.throttle import ThrottleProxy

pytestmark = [
    pytest.mark.needs("containerd", "docker-registry", "busybox-static", root=True),
    pytest.mark.timeout(PULL_S),
]

MB = 1_000_000
SLOW_BYTES_PER_S = 8 * MB  # a pull of the image takes some seconds: time enough for a crash
ONE_OWNER = {"lease": {"connections": 1, "connections_max": 1, "parts": 1, "bytes_min": 1 << 30}}


@dataclass(frozen=True, slots=True)
class Scene:
    """A registry behind a throttle, and threads in which nodes pull."""

    folder: Path
    registry: DockerRegistry
    throttle: ThrottleProxy
    image: Image
    pool: ThreadPoolExecutor

    @property
    def digests(self) -> list[str]:
        """All blobs of the image."""
        return [digest for digest, _ in self.image.blobs]

    def slow(self) -> None:
        """From here on the registry is slow."""
        self.throttle.pacer.bytes_per_s = SLOW_BYTES_PER_S

    def fast(self) -> None:
        """From here on the registry is as fast as it can."""
        self.throttle.pacer.bytes_per_s = None

    def pulling(self, node: Node) -> Future[None]:
        """Let a node pull meanwhile."""
        return self.pool.submit(node.pull, self.image)

    def fetched(self, daemon: Daemon) -> int:
        """Bytes that this daemon has from the registry."""
        return daemon.total("origin_bytes", self.digests)

    def from_peers(self, daemon: Daemon) -> int:
        """Bytes that this daemon has from others."""
        return daemon.total("peer_bytes", self.digests)

    def gets_by_containerd(self) -> list[str]:
        """Blobs that a containerd fetched from the registry itself: it names the registry, a daemon does not."""
        return [a.path for a in self.registry.answers() if "/blobs/" in a.path and "ns=" in a.path]

    def check(self, *nodes: Node) -> None:
        """Every containerd has every byte."""
        assert [node.containerd.wrong_blobs(self.image) for node in nodes] == [[]] * len(nodes)


@pytest.fixture
def scene(folder: Path, registry: DockerRegistry, image: Image) -> Iterator[Scene]:
    throttle = ThrottleProxy(("127.0.0.1", registry.port))
    with in_background(throttle), ThreadPoolExecutor(4) as pool:
        yield Scene(folder, registry, throttle, image, pool)


def ended(*pulls: Future[None]) -> None:
    for running in pulls:
        running.result(PULL_S)


def test_a_parent_dies(scene: Scene) -> None:
    with Cluster(scene.folder, scene.throttle.url) as cluster:
        (parent,) = cluster.daemons("parent", settings={"peer": {"upload_bytes_per_s_max": SLOW_BYTES_PER_S}})
        pull(scene.image, parent)
        children = cluster.nodes("one", "two")
        scene.registry.forget_traffic()
        pulls = [scene.pulling(child) for child in children]
        eventually(lambda: parent.total("uploaded_bytes", scene.digests) > 4 * MB)
        parent.kill()
        assert not all(running.done() for running in pulls), "the parent died too late to matter"
        ended(*pulls)
        scene.check(*children)
        assert any(parent.name in child.daemon.parents(scene.digests) for child in children)
        assert scene.registry.settled_traffic(1).total_blob_bytes > 0, "what nobody held had to come again"
        assert scene.gets_by_containerd() == []


def test_the_lease_owner_dies(scene: Scene) -> None:
    scene.slow()
    with Cluster(scene.folder, scene.throttle.url, scheduler=ONE_OWNER) as cluster:
        owner, one, two = cluster.nodes("owner", "one", "two")
        pulls = [scene.pulling(owner)]
        eventually(lambda: scene.fetched(owner.daemon) > 2 * MB)
        pulls += [scene.pulling(one), scene.pulling(two)]
        eventually(lambda: scene.from_peers(one.daemon) + scene.from_peers(two.daemon) > 2 * MB)
        owner.daemon.kill()
        assert not any(running.done() for running in pulls), "the owner died too late to matter"
        scene.fast()
        ended(*pulls)
        scene.check(owner, one, two)
        assert scene.fetched(one.daemon) + scene.fetched(two.daemon) > 0, "somebody took the lease over"
        for node in (one, two):
            assert [node.daemon.explain(digest)["state"] for digest in scene.digests] == ["complete"] * 3


def test_the_scheduler_dies_and_stays_dead(scene: Scene) -> None:
    scene.slow()
    with Cluster(scene.folder, scene.throttle.url) as cluster:
        nodes = cluster.nodes("one", "two", "three")
        pulls = [scene.pulling(node) for node in nodes]
        eventually(lambda: sum(scene.from_peers(node.daemon) for node in nodes) > 4 * MB)
        assert cluster.scheduler is not None
        cluster.scheduler.kill()
        assert not any(running.done() for running in pulls), "the scheduler died too late to matter"
        ended(*pulls)
        scene.check(*nodes)
        assert scene.gets_by_containerd() == []


def test_the_scheduler_dies_and_comes_back(scene: Scene) -> None:
    scene.slow()
    with Cluster(scene.folder, scene.throttle.url) as cluster:
        nodes = cluster.nodes("one", "two", "three")
        pulls = [scene.pulling(node) for node in nodes]
        eventually(lambda: sum(scene.from_peers(node.daemon) for node in nodes) > 4 * MB)
        assert cluster.scheduler is not None
        cluster.scheduler.kill()
        cluster.scheduler.start()
        ended(*pulls)
        scene.check(*nodes)
        for node in nodes:
            wait_attached(node.daemon)
        scene.registry.forget_traffic()
        (late,) = cluster.nodes("late")
        late.pull(scene.image)
        scene.check(late)
        assert scene.fetched(late.daemon) == 0, "it knows again who holds what"
        assert scene.registry.traffic().total_blob_bytes == 0


def killed_in_a_pull(scene: Scene, node: Node) -> None:
    """The node's daemon dies when it has a part of the image; its containerd pulls the rest by itself."""
    scene.slow()
    running = scene.pulling(node)
    eventually(lambda: scene.fetched(node.daemon) > 8 * MB)
    node.daemon.kill()
    assert not running.done(), "the daemon died too late to matter"
    scene.fast()
    ended(running)


def test_the_daemon_dies_and_its_containerd_goes_on_at_the_registry(scene: Scene) -> None:
    with Cluster(scene.folder, scene.throttle.url) as cluster:
        (node,) = cluster.nodes("node")
        killed_in_a_pull(scene, node)
        scene.check(node)
        assert scene.gets_by_containerd() != []


def test_a_daemon_that_died_resumes_from_what_it_holds(scene: Scene) -> None:
    with Cluster(scene.folder, scene.throttle.url) as cluster:
        (node,) = cluster.nodes("node")
        killed_in_a_pull(scene, node)
        scene.registry.forget_traffic()
        node.daemon.start()
        pull(scene.image, node.daemon)
        resumed = node.daemon.total("resumed_bytes", scene.digests)
        assert resumed > 4 * MB
        left = scene.image.total_bytes - resumed
        assert scene.fetched(node.daemon) + node.daemon.total("inline_bytes", scene.digests) == left
        assert scene.registry.settled_traffic(left).total_blob_bytes <= left * 1.01


def test_a_daemon_that_died_trusts_nothing_that_it_did_not_check_again(scene: Scene) -> None:
    with Cluster(scene.folder, scene.throttle.url) as cluster:
        (node,) = cluster.nodes("node")
        killed_in_a_pull(scene, node)
        rotten = [path for path in node.daemon.store.rglob("data") if path.stat().st_size > MB]
        for path in rotten:
            with path.open("r+b") as file:
                first = file.read(1)
                file.seek(0)
                file.write(bytes([first[0] ^ 1]))
        assert rotten
        node.daemon.start()
        pull(scene.image, node.daemon)  # checks every digest
        assert node.daemon.total("resumed_bytes", scene.digests) > 2 * MB


def test_the_daemon_loses_the_registry_and_its_containerd_does_not(scene: Scene) -> None:
    scene.slow()
    with Cluster(scene.folder, scene.throttle.url, server=scene.registry.url, alone=True) as cluster:
        (node,) = cluster.nodes("node")
        running = scene.pulling(node)
        eventually(lambda: scene.fetched(node.daemon) > 8 * MB)
        scene.throttle.refuse()
        scene.throttle.cut()
        assert not running.done(), "the registry went away too late to matter"
        ended(running)
        scene.check(node)
        assert scene.gets_by_containerd() != []
