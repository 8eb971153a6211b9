"""A leaked image on a cluster of processes: denied with dfctl, over restarts of everything, and allowed again."""

from pathlib import Path

import pytest

from benchmarks.io.image import Image
from benchmarks.io.puller import PullFailed
from tests.support.cluster import Cluster, Daemon, eventually, pull, wait_attached
from tests.support.containerd import REGISTRY
from tests.support.docker_registry import DockerRegistry
from tests.support.http_client import fetch
from tests.support.processes import ProcessFailed

pytestmark = pytest.mark.needs("docker-registry")


def refuses(daemon: Daemon, image: Image, digest: str) -> bool:
    """Whether a daemon refuses a layer as denied, in two forms, and has no copy of it."""
    url = f"{daemon.url}/v2/{image.name}/blobs/{digest}?ns={REGISTRY}"
    replies = [fetch("GET", url), fetch("GET", url, [("Range", "bytes=0-9")]), fetch("HEAD", url)]
    with pytest.raises((PullFailed, ExceptionGroup)):
        pull(image, daemon)
    copies = list(daemon.store.glob(f"blobs/sha256/*/{digest.removeprefix('sha256:')}/data"))
    return {reply.status for reply in replies} == {403} and not copies


def test_a_denied_layer_stays_denied_until_it_is_allowed(
    folder: Path, registry: DockerRegistry, image: Image
) -> None:
    kept = {"denials_file": str(folder / "denials.json")}
    layer = image.layers[0].digest
    with Cluster(folder, registry.url, scheduler=kept) as cluster:
        assert cluster.scheduler is not None
        admin = ("--scheduler", cluster.scheduler.metrics_address)
        one, two = cluster.daemons("one", "two")
        pull(image, one, two)
        assert "2 hosts were told" in one.dfctl("deny", layer, "--reason", "a key", *admin)
        eventually(lambda: all(daemon.noted("blob_denied") for daemon in (one, two)))
        registry.forget_traffic()
        assert refuses(one, image, layer)
        assert refuses(two, image, layer)
        assert [part.metric("denied_digests") for part in (one, two, cluster.scheduler)] == [1, 1, 1]
        two.stop()
        cluster.scheduler.stop()
        two.start()
        assert refuses(two, image, layer), "without a scheduler"
        cluster.scheduler.start()
        (late,) = cluster.daemons("late")
        for daemon in one, two:
            wait_attached(daemon)
        eventually(lambda: late.noted("blob_denied"))
        assert all(refuses(daemon, image, layer) for daemon in (one, two, late))
        assert f"{layer}  a key" in late.dfctl("denials", *admin)
        assert registry.traffic().blob_bytes[layer] == 0, "not from the registry either"
        one.dfctl("allow", layer, *admin)
        eventually(lambda: all(daemon.noted("blob_allowed") for daemon in (one, two, late)))
        pull(image, late, one)


def test_who_may_not_administer_the_scheduler_denies_nothing(
    folder: Path, registry: DockerRegistry, image: Image
) -> None:
    token = folder / "admin"
    token.write_text("a token of administrators")
    with Cluster(folder, registry.url, scheduler={"admin_token_file": str(token)}) as cluster:
        assert cluster.scheduler is not None
        (one,) = cluster.daemons("one")
        admin = ("--scheduler", cluster.scheduler.metrics_address)
        with pytest.raises(ProcessFailed, match="show the token"):
            one.dfctl("deny", image.layers[0].digest, *admin)
        pull(image, one)
        assert "1 host was told" in one.dfctl(
            "purge", "--cluster", image.layers[0].digest, *admin, "--token-file", str(token)
        )
        eventually(lambda: one.noted("blob_purged"))
        assert "administrators" not in one.log() + cluster.scheduler.log()


@pytest.mark.needs("containerd", root=True)
def test_containerd_asks_the_registry_itself_for_what_the_mirror_denies(
    folder: Path, registry: DockerRegistry, image: Image
) -> None:
    """Which is why docs/access.md says to delete it there too."""
    with Cluster(folder, registry.url) as cluster:
        assert cluster.scheduler is not None
        (node,) = cluster.nodes("one")
        layer = image.layers[0]
        node.daemon.dfctl("deny", layer.digest, "--scheduler", cluster.scheduler.metrics_address)
        eventually(lambda: node.daemon.noted("blob_denied"))
        node.pull(image)
        assert node.containerd.wrong_blobs(image) == []
        assert registry.settled_traffic(layer.size, layer.digest).blob_bytes[layer.digest] == layer.size
        assert "error" in node.daemon.explain(layer.digest), "not through the daemon"
