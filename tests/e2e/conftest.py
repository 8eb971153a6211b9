"""What the tests of whole processes share: images, and registries that hold them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.io.image import Image, generate_image
from tests.support.docker_registry import DockerRegistry
from tests.support.processes import short_directory

MIB = 1 << 20
MB = 1_000_000


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short name, for sockets."""
    with short_directory() as directory:
        yield directory


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    """30 MB in two layers, with an index, not runnable: it needs nothing of the machine."""
    directory = tmp_path_factory.mktemp("image")
    return generate_image(directory, "test/app", "v1", [20 * MB, 10 * MB], with_index=True)


@pytest.fixture(scope="session")
def large_image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    """300 MB in four layers, with an index; the first has a busybox."""
    directory = tmp_path_factory.mktemp("large-image")
    sizes = [150 * MB, 100 * MB, 50 * MB]
    return generate_image(directory, "test/large", "v1", sizes, runnable=True, with_index=True, seed=1)


@pytest.fixture(scope="session")
def storage(tmp_path_factory: pytest.TempPathFactory, image: Image, large_image: Image) -> Path:
    """A docker-registry's storage that holds both images. Registries share it: each has its own log."""
    directory = tmp_path_factory.mktemp("storage")
    registry = DockerRegistry(directory)
    registry.place(image)
    registry.place(large_image)
    return registry.storage


@pytest.fixture
def registry(tmp_path: Path, storage: Path) -> Iterator[DockerRegistry]:
    """A real registry that holds both images, and whose log begins here."""
    with DockerRegistry(tmp_path, storage=storage) as registry:
        yield registry
