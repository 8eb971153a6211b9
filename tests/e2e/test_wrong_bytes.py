"""A parent that sends wrong bytes: it is found out and quarantined, pulls succeed, nothing wrong is kept."""

import hashlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from benchmarks.io.image import Image, blob_path
from benchmarks.io.origin_registry import OriginRegistry
from tests.support.background import in_background
from tests.support.cluster import Cluster, Daemon, Scheduler, eventually, pull
from tests.support.containerd import REGISTRY
from tests.support.faulty_peer import FAULTY, Fault, FaultyPeer, attach
from tests.support.http_client import fetch

CAREFUL = {"mirror": {"stream": "after-digest"}}


@pytest.fixture
def origin(image: Image) -> Iterator[OriginRegistry]:
    with in_background(OriginRegistry([image])) as origin:
        yield origin


@pytest.fixture
def cluster(folder: Path, origin: OriginRegistry) -> Iterator[Cluster]:
    with Cluster(folder, origin.url) as cluster:
        yield cluster


@asynccontextmanager
async def holder(fault: Fault, image: Image, scheduler: Scheduler | None) -> AsyncIterator[FaultyPeer]:
    """A host that says that it holds the first layer, and serves it wrongly."""
    assert scheduler is not None, "it tells a scheduler"
    peer = FaultyPeer(fault, blob_path(image.directory, image.layers[0].digest).read_bytes())
    link = attach(peer, await peer.start(), scheduler.address, b"")
    try:
        yield peer
    finally:
        await link.close()
        await peer.close()


def believed(cluster: Cluster) -> bool:
    """Whether the scheduler knows the faulty host."""
    assert cluster.scheduler is not None
    return any(f"host={FAULTY}" in line for line in cluster.scheduler.noted("host_attached"))


def quarantined(cluster: Cluster) -> bool:
    """Whether the scheduler uses the faulty host no more."""
    assert cluster.scheduler is not None
    return any(f"host={FAULTY}" in line for line in cluster.scheduler.noted("quarantine"))


def nothing_wrong_is_kept(image: Image, *daemons: Daemon) -> None:
    """Every blob is complete, and on disk is what its digest names; nothing of it came from the faulty host."""
    for daemon in daemons:
        for digest, _ in image.layers:
            assert daemon.explain(digest)["state"] == "complete"
            encoded = digest.removeprefix("sha256:")
            data = (daemon.store / "blobs/sha256" / encoded[:2] / encoded / "data").read_bytes()
            assert hashlib.sha256(data).hexdigest() == encoded


def test_bytes_that_do_not_match_their_digest_quarantine_their_sender(cluster: Cluster, image: Image) -> None:
    with in_background(holder(Fault.CORRUPT, image, cluster.scheduler)) as peer:
        eventually(lambda: believed(cluster))
        one, two = cluster.daemons("one", "two")
        pull(image, one, two)  # checks every digest
        assert peer.requests >= 2, "both asked it"
        nothing_wrong_is_kept(image, one, two)
        assert FAULTY not in one.parents([image.layers[0].digest]) | two.parents([image.layers[0].digest])
        assert all(daemon.noted("piece_rejected") for daemon in (one, two))
        eventually(lambda: quarantined(cluster))
        asked = peer.requests
        (three,) = cluster.daemons("three")
        pull(image, three)
        assert peer.requests == asked, "nobody asks it any more"


def test_one_report_is_a_claim_and_the_reporter_gets_the_blob_elsewhere(
    cluster: Cluster, image: Image
) -> None:
    with in_background(holder(Fault.CORRUPT, image, cluster.scheduler)) as peer:
        eventually(lambda: believed(cluster))
        (one,) = cluster.daemons("one")
        pull(image, one)  # checks every digest
        assert peer.requests >= 1
        nothing_wrong_is_kept(image, one)
        assert not quarantined(cluster)


def test_a_liar_whose_digests_match_is_found_out_by_the_blobs_own_digest(
    cluster: Cluster, image: Image
) -> None:
    with in_background(holder(Fault.LIE, image, cluster.scheduler)) as peer:
        eventually(lambda: believed(cluster))
        one, two = cluster.daemons("one", "two", settings=CAREFUL)
        pull(image, one, two)  # checks every digest
        assert peer.requests >= 1
        nothing_wrong_is_kept(image, one, two)
        assert one.noted("piece_rejected") + two.noted("piece_rejected"), "the liar is named"


def test_a_client_that_is_streamed_to_never_gets_a_wrong_blob_whole(cluster: Cluster, image: Image) -> None:
    digest, size = image.layers[0]
    with in_background(holder(Fault.LIE, image, cluster.scheduler)):
        eventually(lambda: believed(cluster))
        (one,) = cluster.daemons("one")
        reply = fetch("GET", f"{one.url}/v2/{image.name}/blobs/{digest}?ns={REGISTRY}")
        right = f"sha256:{hashlib.sha256(reply.body).hexdigest()}" == digest
        assert right or len(reply.body) < size
        eventually(lambda: one.explain(digest)["state"] == "complete")
        pull(image, one)  # checks every digest
        nothing_wrong_is_kept(image, one)
