"""With `verify = "first-nodes"` real daemons get the right bytes, and only the first of them hash them."""

from pathlib import Path

from benchmarks.io.image import Image
from benchmarks.io.origin_registry import OriginRegistry
from tests.support.background import in_background
from tests.support.cluster import Cluster, Daemon, pull

SETTINGS = {"verify": "first-nodes", "peer": {"piece_digest": "blake3"}}
FIRST, LATE = ("n1", "n2", "n3", "n4", "n5"), ("n6", "n7")
LAYERS = 2


def verified(daemons: list[Daemon], how: str) -> list[float]:
    """How many blobs each daemon found right in this way."""
    return [daemon.metric("blobs_verified_total", how=how) for daemon in daemons]


def test_the_first_nodes_hash_the_layers_and_those_that_come_later_need_not(
    folder: Path, image: Image
) -> None:
    with (
        in_background(OriginRegistry([image])) as origin,
        Cluster(folder, origin.url) as cluster,
    ):
        first = cluster.daemons(*FIRST, settings=SETTINGS)
        pull(image, *first)
        assert sum(verified(first, "digest")) >= 3 * LAYERS
        late = cluster.daemons(*LATE, settings=SETTINGS)
        pull(image, *late)
        assert verified(late, "proof") == [LAYERS, LAYERS]
        assert verified(late, "digest") == [0, 0]
        assert origin.counters.total_blob_bytes == image.total_bytes
        assert cluster.scheduler is not None
        assert cluster.scheduler.metric("events_total", event="blob_proven") == LAYERS
        assert cluster.scheduler.metric("events_total", event="root_conflict") == 0


def test_a_blob_that_was_complete_by_proof_is_served_from_disk_after_a_restart(
    folder: Path, image: Image
) -> None:
    with (
        in_background(OriginRegistry([image])) as origin,
        Cluster(folder, origin.url) as cluster,
    ):
        pull(image, *cluster.daemons(*FIRST, settings=SETTINGS))
        (late,) = cluster.daemons("n6", settings=SETTINGS)
        pull(image, late)
        late.stop()
        late.start()
        pull(image, late)
        assert late.received() == 0
