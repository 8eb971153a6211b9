"""The test bed itself, without Damselfly: real containerds pull an image from a real registry and run it."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from benchmarks.io.image import Image, generate_image
from benchmarks.origin.access import AccessPolicy, Account, AuthMode
from tests.support.background import in_background
from tests.support.containerd import Containerd, reference
from tests.support.docker_registry import DockerRegistry
from tests.support.processes import ProcessFailed, http_status, short_directory
from tests.support.throttle import ThrottleProxy
from tests.support.token_server import TokenServer

pytestmark = pytest.mark.needs("containerd", "runc", "docker-registry", "skopeo", "busybox-static", root=True)

MIB = 1 << 20
PULL_S = 30.0


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    """A runnable image of three layers."""
    directory = tmp_path_factory.mktemp("image")
    return generate_image(directory, "test/img", "v1", [8 * MIB, 3 * MIB], runnable=True, with_index=True)


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory, image: Image) -> Iterator[DockerRegistry]:
    """A registry to which the image was pushed."""
    with DockerRegistry(tmp_path_factory.mktemp("registry")) as registry:
        registry.push(image)
        yield registry


@pytest.fixture
def node(registry: DockerRegistry) -> Iterator[Containerd]:
    """A containerd that pulls straight from the registry."""
    with short_directory() as directory, Containerd(directory) as node:
        node.use_mirror(None, registry.url)
        registry.forget_traffic()
        yield node


def test_ctr_pulls_the_image_and_runs_it(node: Containerd, registry: DockerRegistry, image: Image) -> None:
    node.pull(reference(image))
    assert node.run(reference(image), "/bin/echo", "it", "runs") == "it runs\n"
    assert node.wrong_blobs(image) == []
    traffic = registry.settled_traffic(image.total_bytes)
    assert traffic.blob_bytes == dict(image.blobs)
    assert traffic.manifest_gets == {image.root_digest: 1, image.manifest_digest: 1}


def test_cri_pulls_the_image_as_kubelet_does(node: Containerd, image: Image) -> None:
    assert node.cri.status(reference(image)) is None
    node.cri.pull(reference(image), timeout_s=PULL_S)
    status = node.cri.status(reference(image))
    assert status is not None
    assert list(status.repo_tags) == [reference(image)]
    assert node.wrong_blobs(image) == []


def test_a_removed_image_is_fetched_again(node: Containerd, registry: DockerRegistry, image: Image) -> None:
    for _ in range(2):
        node.pull(reference(image))
        node.images_rm(reference(image))
    traffic = registry.settled_traffic(2 * image.total_bytes)
    assert traffic.total_blob_bytes == 2 * image.total_bytes


def test_four_containerds_side_by_side_keep_their_own_content(registry: DockerRegistry, image: Image) -> None:
    with short_directory() as directory, ThreadPoolExecutor(4) as pool:
        nodes = [Containerd(directory, f"n{number}") for number in range(4)]
        try:
            list(pool.map(Containerd.start, nodes))
            for node in nodes:
                node.use_mirror(None, registry.url)
            registry.forget_traffic()
            list(pool.map(lambda node: node.pull(reference(image)), nodes))
            assert [node.wrong_blobs(image) for node in nodes] == [[], [], [], []]
        finally:
            list(pool.map(Containerd.stop, nodes))
    traffic = registry.settled_traffic(4 * image.total_bytes)
    assert traffic.blob_gets == {digest: 4 for digest, _ in image.blobs}


def test_a_mirror_that_is_down_is_passed_over(
    node: Containerd, registry: DockerRegistry, image: Image
) -> None:
    node.use_mirror("http://127.0.0.1:1", registry.url)
    node.pull(reference(image))
    assert node.wrong_blobs(image) == []


def test_the_mirror_is_asked_before_the_server(
    node: Containerd, registry: DockerRegistry, image: Image
) -> None:
    with in_background(ThrottleProxy(("127.0.0.1", registry.port))) as mirror:
        node.use_mirror(mirror.url, "http://127.0.0.1:1")
        node.pull(reference(image))
        assert image.total_bytes < mirror.bytes_down < image.total_bytes + MIB
    assert all("ns=registry.test" in answer.path for answer in registry.answers())


def test_a_pull_without_a_registry_fails_with_its_reason(node: Containerd, image: Image) -> None:
    node.use_mirror(None, "http://127.0.0.1:1")
    with pytest.raises(ProcessFailed, match="connection refused"):
        node.pull(reference(image))


def test_an_image_placed_into_the_storage_is_like_a_pushed_one(
    tmp_path: Path, node: Containerd, image: Image
) -> None:
    with DockerRegistry(tmp_path) as registry:
        registry.place(image)
        node.use_mirror(None, registry.url)
        node.pull(reference(image))
    assert node.wrong_blobs(image) == []


def test_a_pull_through_cache_fetches_once(
    tmp_path: Path, node: Containerd, registry: DockerRegistry, image: Image
) -> None:
    with DockerRegistry(tmp_path, name="cache", proxy_of=registry.url) as cache:
        node.use_mirror(None, cache.url)
        node.pull(reference(image))
        assert cache.settled_traffic(image.total_bytes).total_blob_bytes == image.total_bytes
    assert node.wrong_blobs(image) == []


@pytest.mark.needs("apache2-utils")
def test_basic_authentication_lets_in_only_who_has_the_password(
    tmp_path: Path, node: Containerd, image: Image
) -> None:
    with DockerRegistry(tmp_path, accounts={"ann": "secret"}) as registry:
        registry.push(image, credentials="ann:secret")
        node.use_mirror(None, registry.url)
        with pytest.raises(ProcessFailed, match="401 Unauthorized"):
            node.pull(reference(image))
        node.pull(reference(image), credentials="ann:secret")
    assert node.wrong_blobs(image) == []


def test_token_authentication_tells_public_from_private(
    tmp_path: Path, node: Containerd, image: Image
) -> None:
    private = generate_image(tmp_path / "private", "test/private", "v1", [MIB], seed=1)
    policy = AccessPolicy(AuthMode.BEARER, {"ann": Account("secret")}, public=frozenset({image.name}))
    with TokenServer(tmp_path, policy) as tokens, DockerRegistry(tmp_path, tokens=tokens) as registry:
        registry.push(image, credentials="ann:secret")
        registry.place(private)
        assert http_status(f"{registry.url}/v2/") == 401
        node.use_mirror(None, registry.url)
        node.pull(reference(image))
        with pytest.raises(ProcessFailed, match="insufficient_scope"):
            node.pull(reference(private))
        node.cri.pull(reference(private), user="ann", password="secret", timeout_s=PULL_S)
    assert node.wrong_blobs(private) == []
