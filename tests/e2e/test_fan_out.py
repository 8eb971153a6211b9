"""The main job: containerds pull one image at once through their daemons, and the registry sends it once."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from benchmarks.io.image import Image
from tests.support.background import in_background
from tests.support.cluster import Cluster, Node, eventually, together
from tests.support.containerd import PULL_S, REGISTRY, reference
from tests.support.docker_registry import Answer, DockerRegistry, Traffic
from tests.support.http_client import fetch
from tests.support.processes import short_directory
from tests.support.throttle import ThrottleProxy

pytestmark = [
    pytest.mark.needs("containerd", "runc", "docker-registry", "busybox-static", root=True),
    pytest.mark.timeout(PULL_S),
]

ORIGIN_BYTES_PER_S = 50_000_000
ORIGIN_RATIO_MAX = 1.01
ON_ITS_WAY_BYTES = 12_000_000
"""In the sockets of registry, throttle and daemon, when an owner that is slow for want of a processor is relieved of
the end of its lease: that is sent once more, to another."""
ACCEPT = ("Accept", "application/vnd.oci.image.index.v1+json")


@dataclass(frozen=True, slots=True)
class FanOut:
    """Four nodes that have pulled the image at once, and what left the registry meanwhile."""

    cluster: Cluster
    nodes: list[Node]
    registry: DockerRegistry
    traffic: Traffic
    answers: list[Answer]


@pytest.fixture(scope="module")
def fan_out(tmp_path_factory: pytest.TempPathFactory, storage: Path, large_image: Image) -> Iterator[FanOut]:
    """Two pull with ctr and two as kubelet does, from a registry that is held to 50 MB/s."""
    registry = DockerRegistry(tmp_path_factory.mktemp("registry"), storage=storage)
    throttle = ThrottleProxy(("127.0.0.1", registry.port), ORIGIN_BYTES_PER_S)
    with (
        short_directory() as folder,
        registry,
        in_background(throttle),
        Cluster(folder, throttle.url) as cluster,
    ):
        nodes = cluster.nodes("n1", "n2", "n3", "n4")
        one, two, three, four = nodes
        together(
            lambda: one.pull(large_image),
            lambda: two.pull(large_image),
            lambda: three.cri_pull(large_image),
            lambda: four.cri_pull(large_image),
        )
        traffic = registry.settled_traffic(large_image.total_bytes)
        yield FanOut(cluster, nodes, registry, traffic, registry.answers())


def digests(image: Image) -> list[str]:
    return [digest for digest, _ in image.blobs]


def test_every_containerd_has_every_byte(fan_out: FanOut, large_image: Image) -> None:
    assert [node.containerd.wrong_blobs(large_image) for node in fan_out.nodes] == [[], [], [], []]


def test_the_image_runs(fan_out: FanOut, large_image: Image) -> None:
    pulled_with_ctr = fan_out.nodes[0].containerd
    assert pulled_with_ctr.run(reference(large_image), "/bin/echo", "it", "runs") == "it runs\n"


def test_kubelet_finds_the_image(fan_out: FanOut, large_image: Image) -> None:
    status = fan_out.nodes[3].containerd.cri.status(reference(large_image))
    assert status is not None
    assert list(status.repo_digests) == [f"{REGISTRY}/{large_image.name}@{large_image.root_digest}"]


def test_each_byte_left_the_registry_once(fan_out: FanOut, large_image: Image) -> None:
    assert set(fan_out.traffic.blob_bytes) == set(digests(large_image))
    assert fan_out.cluster.scheduler is not None
    reliefs = len(fan_out.cluster.scheduler.noted("lease_relieved"))
    allowed = ORIGIN_RATIO_MAX * large_image.total_bytes + reliefs * ON_ITS_WAY_BYTES
    assert large_image.total_bytes <= fan_out.traffic.total_blob_bytes <= allowed


def test_each_manifest_was_fetched_once_by_its_digest(fan_out: FanOut, large_image: Image) -> None:
    once = {large_image.root_digest: 1, large_image.manifest_digest: 1}
    assert fan_out.traffic.manifest_gets == once


def test_no_containerd_went_to_the_registry_itself(fan_out: FanOut) -> None:
    assert [answer for answer in fan_out.answers if "ns=" in answer.path] == []


def test_several_hosts_owned_leases(fan_out: FanOut, large_image: Image) -> None:
    fetched = [node.daemon.total("origin_bytes", digests(large_image)) for node in fan_out.nodes]
    assert sum(count > 0 for count in fetched) >= 2, fetched


def test_every_host_uploaded(fan_out: FanOut, large_image: Image) -> None:
    sent = [node.daemon.total("uploaded_bytes", digests(large_image)) for node in fan_out.nodes]
    assert all(count > 0 for count in sent), sent


def test_each_daemon_received_each_byte_once(fan_out: FanOut, large_image: Image) -> None:
    for node in fan_out.nodes:
        received = sum(
            node.daemon.total(key, digests(large_image))
            for key in ("origin_bytes", "peer_bytes", "inline_bytes")
        )
        assert received == large_image.total_bytes


def test_a_late_node_gets_everything_from_its_peers(fan_out: FanOut, large_image: Image) -> None:
    fan_out.registry.forget_traffic()
    (late,) = fan_out.cluster.nodes("n5")
    late.pull(large_image)
    assert late.containerd.wrong_blobs(large_image) == []
    assert late.daemon.total("origin_bytes", digests(large_image)) == 0
    assert fan_out.registry.traffic().total_blob_bytes == 0
    assert fan_out.registry.traffic().manifest_gets == {}


def test_with_the_registry_down_a_new_node_pulls_by_tag_and_is_told_that_it_is_the_last_known(
    fan_out: FanOut, large_image: Image
) -> None:
    (new,) = fan_out.cluster.nodes("n6")
    fan_out.registry.stop()
    try:
        tag = f"{new.daemon.url}/v2/{large_image.name}/manifests/{large_image.tag}?ns={REGISTRY}"
        answer = fetch("HEAD", tag, [ACCEPT])
        assert answer.status == 200
        assert answer.headers["Docker-Content-Digest"] == large_image.root_digest
        assert answer.headers["Warning"].startswith("110 ")
        new.pull(large_image)
    finally:
        fan_out.registry.start()
    assert new.containerd.wrong_blobs(large_image) == []


def test_with_the_registry_up_no_answer_says_that_it_is_the_last_known(
    fan_out: FanOut, large_image: Image
) -> None:
    tag = f"{fan_out.nodes[0].daemon.url}/v2/{large_image.name}/manifests/{large_image.tag}?ns={REGISTRY}"
    answer = eventually(lambda: fetch("HEAD", tag, [ACCEPT]))
    assert answer.status == 200
    assert "Warning" not in answer.headers
