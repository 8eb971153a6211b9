"""SIGTERM: what is on its way is finished, nothing new is begun, and the daemon leaves."""

import contextlib
import hashlib
import http.client
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from benchmarks.io.image import Image
from benchmarks.io.origin_registry import OriginRegistry
from tests.support.background import in_background
from tests.support.cluster import Cluster, eventually, pull
from tests.support.containerd import REGISTRY
from tests.support.processes import http_status

MB = 1_000_000
ANSWER_S = 30.0
STOPS_S = 15.0  # stop_timeout_s is 10 by default


@pytest.fixture
def cluster(folder: Path, image: Image) -> Iterator[Cluster]:
    with in_background(OriginRegistry([image])) as origin, Cluster(folder, origin.url) as cluster:
        yield cluster


def test_a_client_gets_the_rest_of_its_blob(cluster: Cluster, image: Image) -> None:
    (daemon,) = cluster.daemons("one")
    pull(image, daemon)
    digest, _ = image.layers[0]
    with contextlib.closing(http.client.HTTPConnection(daemon.mirror, timeout=ANSWER_S)) as connection:
        connection.request("GET", f"/v2/{image.name}/blobs/{digest}?ns={REGISTRY}")
        answer = connection.getresponse()
        received = hashlib.sha256(answer.read(MB))
        daemon.process.signal(signal.SIGTERM)
        eventually(lambda: is_closed(daemon.url))
        assert daemon.process.running, "it waits for this client"
        received.update(answer.read())
    assert f"sha256:{received.hexdigest()}" == digest
    assert daemon.process.wait(STOPS_S) == 0


def is_closed(url: str) -> bool:
    """Whether nobody takes connections there."""
    try:
        http_status(f"{url}/v2/")
    except OSError:
        return True
    return False


def test_children_finish_and_the_scheduler_hears_a_farewell(cluster: Cluster, image: Image) -> None:
    (parent,) = cluster.daemons("parent", settings={"upload_bytes_per_s": 8 * MB})
    pull(image, parent)
    (child,) = cluster.daemons("child")
    with ThreadPoolExecutor(1) as pool:
        pulling = pool.submit(pull, image, child)
        eventually(lambda: child.received() > 4 * MB)
        assert parent.stop() == 0
        pulling.result(ANSWER_S)  # every digest was checked
    digests = [digest for digest, _ in image.layers]
    assert child.total("origin_bytes", digests) > 0, "the parent stopped too late to matter"
    assert child.total("peer_bytes", digests) > 0
    assert cluster.scheduler is not None
    assert len(cluster.scheduler.noted("host_left")) == 1
    assert "host=parent" in cluster.scheduler.noted("host_left")[0]
    assert [child.explain(digest)["state"] for digest in digests] == ["complete"] * 2


def test_after_a_stop_everything_is_held_and_nothing_is_checked_again(cluster: Cluster, image: Image) -> None:
    (daemon,) = cluster.daemons("one")
    pull(image, daemon)
    held = daemon.status()["store"]
    assert daemon.stop() == 0
    daemon.start()
    assert daemon.status()["store"] == held
    pull(image, daemon)
    assert daemon.total("disk_bytes", [digest for digest, _ in image.layers]) == sum(
        size for _, size in image.layers
    )


def test_a_scheduler_stops_when_asked(cluster: Cluster) -> None:
    cluster.daemons("one")
    assert cluster.scheduler is not None
    assert cluster.scheduler.stop() == 0
