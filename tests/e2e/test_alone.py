"""Without a scheduler a pull succeeds from the origin, and the daemon says so: once in its log, and in metrics."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.io.image import Image
from benchmarks.io.origin_registry import OriginRegistry
from tests.support.background import in_background
from tests.support.cluster import Cluster, Daemon, pull
from tests.support.processes import free_port


@pytest.fixture
def origin(image: Image) -> Iterator[OriginRegistry]:
    with in_background(OriginRegistry([image])) as origin:
        yield origin


def pulls_from_the_origin(daemon: Daemon, origin: OriginRegistry, image: Image) -> None:
    pull(image, daemon)
    assert daemon.total("origin_bytes", [digest for digest, _ in image.blobs]) == image.total_bytes
    assert origin.counters.total_blob_bytes == image.total_bytes
    assert daemon.metric("downloaded_bytes_total", source="origin") >= image.total_bytes


def test_no_scheduler_is_configured(folder: Path, origin: OriginRegistry, image: Image) -> None:
    with Cluster(folder, origin.url, alone=True) as cluster:
        (daemon,) = cluster.daemons("node")
        pulls_from_the_origin(daemon, origin, image)
        assert daemon.status()["scheduler"] is False
        assert daemon.metric("scheduler_attached") == 0
        assert ["no scheduler configured" in line for line in daemon.noted("scheduler_lost")] == [True]
        assert daemon.metric("events_total", event="scheduler_lost") == 1


def test_no_scheduler_answers(folder: Path, origin: OriginRegistry, image: Image) -> None:
    nobody = f"127.0.0.1:{free_port()}"
    link = {"addresses": [nobody], "retry_max_s": 0.1}
    with Cluster(folder, origin.url, alone=True) as cluster:
        (daemon,) = cluster.daemons("node", settings={"scheduler": link})
        pulls_from_the_origin(daemon, origin, image)
        assert daemon.status()["scheduler"] is False
        assert daemon.metric("scheduler_attached") == 0
        assert len(daemon.noted("scheduler_lost")) == 1, "many attempts, one line"
        assert daemon.metric("events_total", event="scheduler_lost") == 1


def test_hosts_that_do_not_reach_each_other_pull_from_the_origin_in_time(
    folder: Path, origin: OriginRegistry, image: Image
) -> None:
    nowhere = {"advertise": [f"127.0.0.1:{free_port()}"]}
    with Cluster(folder, origin.url) as cluster:
        holder, other = cluster.daemons("holder", "other", settings={"peer": nowhere})
        pull(image, holder)
        pull(image, other)
        assert other.status()["scheduler"] is True
        assert other.noted("parent_lost"), "it tried the holder first"
        assert other.metric("downloaded_bytes_total", source="origin") > image.total_bytes / 2
        assert not other.noted("body_ended_early")
