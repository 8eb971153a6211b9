"""A real Docker Engine whose registry-mirrors is the mirror: it names no registry, and means docker.io."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from benchmarks.io.image import Image, generate_image
from tests.support.cluster import Daemon
from tests.support.docker_registry import DockerRegistry
from tests.support.processes import ChildProcess, run, short_directory, unix_open

pytestmark = pytest.mark.needs("docker.io", "docker-registry", "busybox-static", root=True)

DOCKER = "/usr/bin/docker"
DOCKER_S = 60.0
MB = 1_000_000


@dataclass(frozen=True, slots=True)
class Engine:
    """A dockerd, the daemon that is its mirror, and the registry that stands for Docker Hub."""

    folder: Path
    daemon: Daemon
    registry: DockerRegistry

    def docker(self, *words: str | Path, buildkit: bool = True) -> str:
        """Run docker; returns what it printed. Raises ProcessFailed."""
        env = {"DOCKER_BUILDKIT": str(int(buildkit)), "HOME": str(self.folder)}
        return run([DOCKER, "-H", f"unix://{self.folder / 'd.sock'}", *words], DOCKER_S, env=env)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    directory = tmp_path_factory.mktemp("image")
    return generate_image(directory, "team/app", "v1", [3 * MB], runnable=True, with_index=True)


@pytest.fixture(scope="module")
def engine(image: Image) -> Iterator[Engine]:
    with ExitStack() as stack:
        folder = stack.enter_context(short_directory())
        registry = stack.enter_context(DockerRegistry(folder))
        registry.place(image)
        registry.place(replace(image, name="library/app"))
        settings = {
            "mirror": {"default_registry": "docker.io"},
            "origin": {"registries": [{"name": "docker.io", "url": registry.url}]},
        }
        daemon = stack.enter_context(Daemon(folder, "node", registry.url, settings=settings))
        own = folder / "docker"
        own.mkdir()
        argv: list[str | Path] = ["dockerd", "--host", f"unix://{own / 'd.sock'}", "--pidfile", own / "pid"]
        argv += ["--data-root", own / "data", "--exec-root", own / "exec", "--registry-mirror", daemon.url]
        argv += ["--iptables=false", "--ip6tables=false", "--bridge=none"]
        process = ChildProcess("dockerd", argv, own, ready=unix_open(own / "d.sock"))
        stack.enter_context(process)
        if not process.running:
            process.start()
        yield Engine(own, daemon, registry)


@pytest.fixture(autouse=True)
def empty(engine: Engine) -> Iterator[None]:
    """Afterwards the engine holds nothing."""
    yield
    engine.docker("system", "prune", "--all", "--force")


def test_it_pulls_by_tag(engine: Engine, image: Image) -> None:
    engine.docker("pull", "--quiet", "team/app:v1")
    traffic = engine.registry.settled_traffic(image.total_bytes)
    assert traffic.total_blob_bytes == image.total_bytes


def test_it_pulls_by_digest(engine: Engine, image: Image) -> None:
    engine.docker("pull", "--quiet", f"team/app@{image.root_digest}")
    assert image.root_digest in engine.docker("images", "--digests")


def test_a_name_of_one_word_is_in_the_library(engine: Engine) -> None:
    assert "library/app" in engine.docker("pull", "app:v1")


@pytest.mark.parametrize("buildkit", [True, False], ids=["BuildKit", "the old builder"])
def test_it_builds_from_an_image(engine: Engine, tmp_path: Path, buildkit: bool) -> None:
    before = engine.daemon.log().count(" blob_served ")
    (tmp_path / "Dockerfile").write_text("FROM team/app:v1\nLABEL a=b\n")
    engine.docker("build", "--quiet", "--tag", "built", tmp_path, buildkit=buildkit)
    assert engine.daemon.log().count(" blob_served ") > before
    assert "ERROR" not in engine.daemon.log()
