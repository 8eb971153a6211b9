"""A store without room: large layers stream through a ring in memory, in order, and nobody is told of them."""

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks.io.image import Image
from benchmarks.io.origin_registry import OriginRegistry
from tests.support.background import in_background
from tests.support.cluster import Cluster, Daemon, pull, together
from tests.support.containerd import PULL_S
from tests.support.docker_registry import DockerRegistry
from tests.support.processes import POLL_S, run

MIB = 1 << 20
ROOM_BYTES = 64 * MIB
RING_BYTES = 32 * MIB  # store.ring_bytes' default: what one blob without room takes
OWN_BYTES_MAX = 128 * MIB  # a daemon with its libraries and layers in flight
MOUNT_S = 10.0


class MemoryWatch(threading.Thread):
    """Looks at a daemon's memory until it is told to stop."""

    def __init__(self, daemon: Daemon) -> None:
        super().__init__(daemon=True)
        self.resident_bytes_max = 0
        self.ring_bytes_max = 0
        self._watched = daemon
        self._stopped = threading.Event()

    def run(self) -> None:
        """Keep the largest figures."""
        while not self._stopped.wait(POLL_S):
            self.resident_bytes_max = max(self.resident_bytes_max, self._watched.resident_bytes())
            self.ring_bytes_max = max(self.ring_bytes_max, self._watched.ring_bytes())

    def __enter__(self) -> "MemoryWatch":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self.join()


@contextmanager
def small_disk(directory: Path) -> Iterator[Path]:
    """A file system of 64 MiB."""
    directory.mkdir()
    run(["mount", "-t", "tmpfs", "-o", f"size={ROOM_BYTES}", "tmpfs", directory], MOUNT_S)
    try:
        yield directory
    finally:
        run(["umount", "--lazy", directory], MOUNT_S)


def too_large(image: Image) -> list[str]:
    """The layers that find no room."""
    return [digest for digest, size in image.layers if size > ROOM_BYTES]


def memory_was_bounded(watch: MemoryWatch, image: Image) -> None:
    rings = len(too_large(image))
    assert 0 < watch.ring_bytes_max <= rings * RING_BYTES
    assert watch.resident_bytes_max <= OWN_BYTES_MAX + rings * RING_BYTES


def nothing_is_called_more_than_it_is(daemon: Daemon, image: Image) -> None:
    """What it says to have completely is there and right; what went through a ring it does not have."""
    for digest, _ in image.layers:
        state = daemon.explain(digest)["state"]
        assert state == "not stored" if digest in too_large(image) else state in ("complete", "not stored")
        if state == "complete":
            hexadecimal = digest.removeprefix("sha256:")
            content = (daemon.store / "blobs/sha256" / hexadecimal[:2] / hexadecimal / "data").read_bytes()
            assert hashlib.sha256(content).hexdigest() == hexadecimal


@pytest.mark.needs("containerd", "docker-registry", "busybox-static", root=True)
@pytest.mark.timeout(PULL_S)
def test_a_containerd_pulls_300_mb_through_64_mb(
    folder: Path, registry: DockerRegistry, large_image: Image
) -> None:
    with small_disk(folder / "disk") as disk, Cluster(folder, registry.url) as cluster:
        small = {"store": {"directory": str(disk / "store")}}
        (node,) = cluster.nodes("small", settings=small)
        node.daemon.store = disk / "store"
        with MemoryWatch(node.daemon) as watch:
            node.pull(large_image)
        assert node.containerd.wrong_blobs(large_image) == []
        assert [answer for answer in registry.answers() if "ns=" in answer.path] == []
        memory_was_bounded(watch, large_image)
        nothing_is_called_more_than_it_is(node.daemon, large_image)
        assert node.daemon.metric("rings_total") == len(too_large(large_image))
        assert node.daemon.ring_bytes() == 0, "a ring goes with its readers"


@pytest.mark.needs("busybox-static")
def test_a_quota_without_room_streams_beside_a_node_that_stores(folder: Path, large_image: Image) -> None:
    with in_background(OriginRegistry([large_image])) as origin, Cluster(folder, origin.url) as cluster:
        (small,) = cluster.daemons("small", settings={"store": {"quota_bytes": ROOM_BYTES}})
        (other,) = cluster.daemons("other")
        with MemoryWatch(small) as watch:
            together(lambda: pull(large_image, small), lambda: pull(large_image, other))
        memory_was_bounded(watch, large_image)
        nothing_is_called_more_than_it_is(small, large_image)
        assert small.total("uploaded_bytes", too_large(large_image)) == 0, "what is not kept is not served"
        assert small.name not in other.parents(too_large(large_image))
        assert [other.explain(digest)["state"] for digest, _ in large_image.layers] == ["complete"] * 4
        assert origin.counters.bytes_of(too_large(large_image)) < 2 * large_image.total_bytes
