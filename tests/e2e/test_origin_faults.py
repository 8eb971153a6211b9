"""An origin that fails: where the pull can succeed it does; where it cannot, the client gets a clear error.

Each test has an image of its own, so that no daemon holds it yet. Two daemons pull it: one with a scheduler that
leases small ranges, and one that stands alone.
"""

import contextlib
import hashlib
import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.io.image import Image, generate_image
from benchmarks.io.origin_registry import OriginRegistry
from benchmarks.io.puller import PullFailed
from benchmarks.origin.faults import Fault, FaultKind, Where
from tests.support.background import in_background
from tests.support.cluster import Cluster, Daemon, eventually, pull
from tests.support.containerd import REGISTRY
from tests.support.http_client import Reply, fetch
from tests.support.processes import ProcessFailed, short_directory

MB = 1_000_000
LAYER_BYTES = 6 * MB  # twelve pieces
SMALL_LEASES = {"lease": {"bytes_min": MB}}
CLIENT_S = 60.0  # as long as an origin may be asked again and again

_seeds = itertools.count(100)


@dataclass(frozen=True, slots=True)
class Scene:
    """An origin, and daemons that pull from it."""

    origin: OriginRegistry
    attached: Daemon
    alone: Daemon


@pytest.fixture(scope="module")
def whole_scene() -> Iterator[Scene]:
    origin = OriginRegistry()
    with (
        short_directory() as one,
        short_directory() as two,
        in_background(origin),
        Cluster(one, origin.url, scheduler=SMALL_LEASES) as cluster,
        Cluster(two, origin.url, alone=True) as none,
    ):
        (attached,) = cluster.daemons("attached")
        (alone,) = none.daemons("alone")
        yield Scene(origin, attached, alone)


@pytest.fixture
def scene(whole_scene: Scene) -> Iterator[Scene]:
    whole_scene.origin.counters.clear()
    yield whole_scene
    whole_scene.origin.faults.clear()


@pytest.fixture(params=["attached", "alone"])
def daemon(request: pytest.FixtureRequest, scene: Scene) -> Daemon:
    found: Daemon = getattr(scene, request.param)
    return found


@pytest.fixture
def image(tmp_path: Path, scene: Scene) -> Image:
    """An image of one layer that nobody has yet."""
    return fresh_image(scene, tmp_path)


def fresh_image(scene: Scene, directory: Path) -> Image:
    seed = next(_seeds)
    image = generate_image(directory / "fresh", f"test/faults{seed}", "v1", [LAYER_BYTES], seed=seed)
    scene.origin.catalog.add(image)
    return image


def layer(image: Image) -> str:
    return image.layers[0].digest


def get_layer(daemon: Daemon, image: Image) -> Reply:
    """GET of the layer, as a client sees it."""
    url = f"{daemon.url}/v2/{image.name}/blobs/{layer(image)}?ns={REGISTRY}"
    return fetch("GET", url, timeout_s=CLIENT_S)


def is_whole(reply: Reply, image: Image) -> bool:
    right = hashlib.sha256(reply.body).hexdigest() == layer(image).removeprefix("sha256:")
    return reply.status == 200 and reply.ending == "complete" and right


def pull_when_welcome(image: Image, daemon: Daemon) -> None:
    """After a failure a blob is refused for a moment, so that clients go on elsewhere."""

    def attempt() -> bool:
        with contextlib.suppress(PullFailed, ExceptionGroup):
            pull(image, daemon)
            return True
        return False

    eventually(attempt)


PASSING = {
    "cuts the body": Fault(FaultKind.CUT_FIN, at_bytes=MB // 2),
    "resets the connection": Fault(FaultKind.CUT_RST, at_bytes=MB // 2),
    "answers 500": Fault(FaultKind.STATUS, status=500),
    "answers 503 with Retry-After": Fault(FaultKind.STATUS, status=503, retry_after_s=1),
    "answers 429 with Retry-After": Fault(FaultKind.STATUS, status=429, retry_after_s=1),
    "is slow to answer": Fault(FaultKind.SLOW_HEADERS, seconds=1.0),
}


@pytest.mark.parametrize("name", PASSING)
def test_what_passes_is_not_seen_by_the_client(scene: Scene, daemon: Daemon, image: Image, name: str) -> None:
    fault = replace(PASSING[name], match=layer(image))
    scene.origin.faults.append(fault)
    pull(image, daemon)
    assert fault.hits == 1, "the origin did fail once"
    assert daemon.explain(layer(image))["state"] == "complete"


def test_after_a_cut_only_what_is_missing_is_fetched_again(
    scene: Scene, daemon: Daemon, image: Image
) -> None:
    scene.origin.faults.append(Fault(FaultKind.CUT_FIN, layer(image), at_bytes=5 * MB))
    pull(image, daemon)
    assert scene.origin.counters.blob_bytes[layer(image)] < image.layers[0].size + 2 * MB


def test_an_origin_that_ignores_range_gives_a_blob_once(scene: Scene, image: Image) -> None:
    scene.origin.faults.append(Fault(FaultKind.IGNORE_RANGE, layer(image), times=None))
    pull(image, scene.alone)
    assert scene.alone.explain(layer(image))["state"] == "complete"
    assert scene.origin.counters.blob_bytes[layer(image)] == image.layers[0].size


def test_a_cluster_learns_once_that_an_origin_ignores_range(
    folder: Path, scene: Scene, tmp_path: Path, image: Image
) -> None:
    scene.origin.faults.append(Fault(FaultKind.IGNORE_RANGE, times=None))
    with Cluster(folder, scene.origin.url, scheduler=SMALL_LEASES) as cluster:
        one, two = cluster.daemons("one", "two")
        pull(image, one, two)
        assert scene.origin.counters.blob_gets[layer(image)] <= 2, "one attempt with Range, one without"
        other = fresh_image(scene, tmp_path / "other")
        pull(other, one, two)
        assert scene.origin.counters.blob_gets[layer(other)] == 1


def test_an_origin_that_tells_no_length_is_no_obstacle(scene: Scene, daemon: Daemon, image: Image) -> None:
    scene.origin.faults.append(Fault(FaultKind.NO_LENGTH, layer(image), times=None))
    pull(image, daemon)
    assert daemon.explain(layer(image))["state"] == "complete"


def test_an_origin_that_throttles_is_waited_for(scene: Scene, daemon: Daemon, image: Image) -> None:
    fault = Fault(FaultKind.STATUS, layer(image), times=3, status=429, retry_after_s=1)
    scene.origin.faults.append(fault)
    pull(image, daemon)
    assert fault.hits == 3
    assert scene.origin.counters.statuses[429] == 3


LASTING = {
    "cuts the body": Fault(FaultKind.CUT_FIN, times=None),
    "answers 500": Fault(FaultKind.STATUS, times=None, status=500),
    "answers 429 with Retry-After": Fault(FaultKind.STATUS, times=None, status=429, retry_after_s=1),
}
HOPELESS = [
    ("attached", "cuts the body"),
    ("attached", "answers 500"),
    ("alone", "cuts the body"),
    ("alone", "answers 500"),
    ("alone", "answers 429 with Retry-After"),
]


@dataclass(frozen=True, slots=True)
class Hopeless:
    """What a client got of a layer that the origin never gave, what was told about it, and a later pull."""

    reply: Reply
    whole: bool
    before: dict[str, Any]
    after: dict[str, Any]


@pytest.fixture(scope="module")
def hopeless(whole_scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Hopeless]:
    """All cases at once: each takes the seconds in which an origin may recover."""
    images = {case: fresh_image(whole_scene, tmp_path_factory.mktemp("hopeless")) for case in HOPELESS}

    def get(case: tuple[str, str]) -> Hopeless:
        daemon: Daemon = getattr(whole_scene, case[0])
        image = images[case]
        fault = replace(LASTING[case[1]], match=layer(image))
        whole_scene.origin.faults.append(fault)
        reply = get_layer(daemon, image)
        before = daemon.explain(layer(image))
        whole_scene.origin.faults.remove(fault)
        pull_when_welcome(image, daemon)
        return Hopeless(reply, is_whole(reply, image), before, daemon.explain(layer(image)))

    with ThreadPoolExecutor(len(HOPELESS)) as pool:
        return dict(zip(HOPELESS, pool.map(get, HOPELESS), strict=True))


@pytest.mark.parametrize("case", HOPELESS, ids=" ".join)
def test_what_lasts_is_told_to_the_client(
    hopeless: dict[tuple[str, str], Hopeless], case: tuple[str, str]
) -> None:
    """The answer lets containerd go on to the next host, and never asks it to hammer this one (408, 429)."""
    found = hopeless[case]
    assert not found.whole
    assert found.reply.ending == "cut" or found.reply.status in (500, 502, 503, 504)
    assert found.before["state"] != "complete"
    assert "origin" in found.before["failure"]


@pytest.mark.parametrize("case", HOPELESS, ids=" ".join)
def test_when_the_origin_is_well_again_so_is_the_pull(
    hopeless: dict[tuple[str, str], Hopeless], case: tuple[str, str]
) -> None:
    assert hopeless[case].after["state"] == "complete"


def test_wrong_content_never_arrives_whole_and_is_never_kept(
    scene: Scene, daemon: Daemon, image: Image
) -> None:
    fault = Fault(FaultKind.WRONG_BYTE, layer(image), times=None, at_bytes=3 * MB)
    scene.origin.faults.append(fault)
    reply = get_layer(daemon, image)
    assert reply.ending == "cut" or reply.status >= 500
    assert not is_whole(reply, image)
    account = daemon.explain(layer(image))
    assert account["state"] != "complete"
    assert "does not have the digest" in account["failure"]
    with pytest.raises(ProcessFailed, match="failed a moment ago: the origin's content"):
        daemon.dfget(f"http://{REGISTRY}/v2/{image.name}/blobs/{layer(image)}")
    scene.origin.faults.clear()
    pull_when_welcome(image, daemon)
    assert daemon.explain(layer(image))["state"] == "complete"


def test_a_manifest_with_wrong_content_is_an_error_and_is_never_kept(
    scene: Scene, daemon: Daemon, image: Image
) -> None:
    fault = Fault(FaultKind.WRONG_BYTE, image.manifest_digest, times=None, where=Where.MANIFEST, at_bytes=10)
    scene.origin.faults.append(fault)
    url = f"{daemon.url}/v2/{image.name}/manifests/{image.manifest_digest}?ns={REGISTRY}"
    reply = fetch("GET", url, [("Accept", "application/vnd.oci.image.manifest.v1+json")], timeout_s=CLIENT_S)
    assert fault.hits > 0
    assert reply.status >= 500 or reply.ending == "cut"
    scene.origin.faults.clear()
    pull_when_welcome(image, daemon)


def test_after_digest_withholds_what_is_wrong(folder: Path, scene: Scene, image: Image) -> None:
    scene.origin.faults.append(Fault(FaultKind.WRONG_BYTE, layer(image), times=None, at_bytes=3 * MB))
    with Cluster(folder, scene.origin.url, alone=True) as cluster:
        (careful,) = cluster.daemons("careful", settings={"mirror": {"stream": "after-digest"}})
        reply = get_layer(careful, image)
        assert not is_whole(reply, image)
        assert reply.status >= 500 or reply.body == b""
