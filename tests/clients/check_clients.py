"""Clients that are built from their Go modules, for real; `make clients` runs this, `make test` does not.

docs/compatibility.md names these functions. crane has the library of cosign and ko, oras that of helm.
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from benchmarks.io.image import Image, generate_image
from tests.support.cluster import eventually
from tests.support.containerd import REGISTRY, reference
from tests.support.cri import ImageService
from tests.support.processes import ChildProcess, run, short_directory, unix_open
from tests.support.registry_scenes import PASSWORD, USER, Builder, Scene

PROGRAMS = Path(__file__).parents[2] / ".clients/bin"
CLIENT_S = 60.0
MB = 1_000_000
CONTAINERD_CONFIG = """\
version = 3
root = "{folder}/root"
state = "{folder}/state"
disabled_plugins = ["io.containerd.internal.v1.tracing"]
[grpc]
address = "{folder}/c.sock"
[plugins."io.containerd.internal.v1.opt"]
path = "{folder}/opt"
[plugins."io.containerd.cri.v1.images"]
concurrent_layer_fetch_buffer = 1048576
max_concurrent_downloads = 8
[plugins."io.containerd.cri.v1.images".registry]
config_path = "{folder}/certs.d"
[plugins."io.containerd.cri.v1.runtime".cni]
bin_dirs = ["{folder}/cni"]
conf_dir = "{folder}/cni"
[plugins."io.containerd.transfer.v1.local"]
config_path = "{folder}/certs.d"
concurrent_layer_fetch_buffer = 1048576
max_concurrent_downloads = 8
"""


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    return generate_image(tmp_path_factory.mktemp("image"), "test/img", "v1", [3 * MB, 1000], with_index=True)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory, image: Image) -> Iterator[dict[str, Scene]]:
    with ExitStack() as stack:
        kinds = ("plain", "basic", "token", "tls")
        yield {kind: getattr(Builder(stack, tmp_path_factory.mktemp(kind), image), kind)() for kind in kinds}


class Client:
    """One program with a home of its own."""

    def __init__(self, name: str, home: Path) -> None:
        self.name = name
        self.home = home

    def __call__(self, *words: str | Path) -> str:
        """Run it in its home; returns what it printed. Raises ProcessFailed."""
        env = {"HOME": str(self.home), "PWD": str(self.home)}
        argv = ["env", f"--chdir={self.home}", PROGRAMS / self.name, *words]
        return run(argv, CLIENT_S, env={**os.environ, **env})


# crane refuses a token server on a private address, such as ours; oras does not.
@pytest.mark.parametrize("kind", ["plain", "basic", "tls"])
def test_crane_pulls_pushes_lists_and_deletes(
    scenes: dict[str, Scene], tmp_path: Path, image: Image, kind: str
) -> None:
    scene, crane = scenes[kind], Client("crane", tmp_path)
    mirror = scene.daemon.mirror
    if scene.private:
        crane("auth", "login", mirror, "-u", USER, "-p", PASSWORD, "--insecure")
    name = f"{mirror}/{image.name}"
    assert crane("--insecure", "digest", f"{name}:{image.tag}").strip() == image.root_digest
    assert crane("--insecure", "ls", name).split() == [image.tag]
    assert image.name in crane("--insecure", "catalog", mirror).split()
    copied = f"{mirror}/test/copied-{kind}"
    crane("--insecure", "copy", f"{name}:{image.tag}", f"{copied}:v2")
    crane("--insecure", "pull", "--format=oci", f"{copied}:v2", tmp_path / "out")
    assert (tmp_path / "out/blobs/sha256" / image.layers[0].digest.removeprefix("sha256:")).exists()
    crane("--insecure", "delete", f"{copied}@{image.root_digest}")


@pytest.mark.parametrize("kind", ["plain", "basic", "token", "tls"])
def test_oras_pushes_attaches_discovers_and_pulls(
    scenes: dict[str, Scene], tmp_path: Path, kind: str
) -> None:
    """The registry has no referrers API: oras writes and reads the tag in its place, through the mirror."""
    scene, oras = scenes[kind], Client("oras", tmp_path)
    if scene.private:
        oras("login", "--plain-http", scene.daemon.mirror, "-u", USER, "-p", PASSWORD)
    name = f"{scene.daemon.mirror}/test/artifact-{kind}:v1"
    (tmp_path / "a.txt").write_text("hello")
    oras("push", "--plain-http", name, "a.txt:text/plain")
    oras("attach", "--plain-http", "--artifact-type", "test/sbom", name, "a.txt:text/plain")
    assert "test/sbom" in oras("discover", "--plain-http", name)
    assert "v1" in oras("repo", "tags", "--plain-http", name.removesuffix(":v1")).split()
    oras("pull", "--plain-http", "--output", tmp_path / "pulled", name)
    assert (tmp_path / "pulled/a.txt").read_text() == "hello"


@pytest.fixture
def containerd(scenes: dict[str, Scene]) -> Iterator[Path]:
    """The folder of a containerd 2.x that takes layers in parallel chunks, and knows no server but the mirror."""
    with short_directory() as folder:
        hosts = folder / "certs.d" / REGISTRY
        hosts.mkdir(parents=True)
        mirror = scenes["plain"].daemon.url
        (hosts / "hosts.toml").write_text(
            f'server = "http://127.0.0.1:1"\n[host."{mirror}"]\ncapabilities = ["pull", "resolve"]\n'
        )
        config = folder / "config.toml"
        config.write_text(CONTAINERD_CONFIG.format(folder=folder))
        argv: list[str | Path] = [PROGRAMS / "containerd", "--config", config]
        with ChildProcess("containerd", argv, folder, ready=unix_open(folder / "c.sock")) as process:
            if not process.running:
                process.start()
            yield folder


@pytest.mark.parametrize("how", ["ctr with the transfer service", "ctr by itself", "kubelet"])
def test_containerd_2_pulls_in_parallel_chunks(
    scenes: dict[str, Scene], containerd: Path, tmp_path: Path, how: str
) -> None:
    image = generate_image(tmp_path, "test/chunks", "v1", [20 * MB], seed=len(how), with_index=True)
    # The registry of the scene has another image: this one comes with crane.
    crane = Client("crane", tmp_path)
    daemon = scenes["plain"].daemon
    crane("--insecure", "push", "--index", image.directory, f"{daemon.mirror}/{image.name}:{image.tag}")
    before = len(daemon.log())
    if how == "kubelet":
        ImageService(containerd / "c.sock").pull(reference(image), timeout_s=CLIENT_S)
    else:
        local = ["--local"] if how == "ctr by itself" else []
        hosts = ["--hosts-dir", containerd / "certs.d"]
        ctr = Client("ctr", tmp_path)
        ctr("-a", containerd / "c.sock", "images", "pull", *local, *hosts, reference(image))
    digest = image.layers[0].digest
    blob = containerd / "root/io.containerd.content.v1.content/blobs/sha256" / digest.removeprefix("sha256:")
    assert blob.stat().st_size == image.layers[0].size

    def dropped() -> bool:
        lines = [line for line in daemon.log()[before:].splitlines() if f"task={digest} " in line]
        return len([line for line in lines if " client_left " in line]) >= 4

    if how != "ctr by itself":
        eventually(dropped)  # each chunk has a connection of its own


def test_helm_pushes_and_pulls_a_chart(scenes: dict[str, Scene], tmp_path: Path) -> None:
    helm, mirror = Client("helm", tmp_path), scenes["plain"].daemon.mirror
    helm("create", "mychart")
    helm("package", "mychart")
    helm("push", "--plain-http", "mychart-0.1.0.tgz", f"oci://{mirror}/test/charts")
    shown = helm("show", "chart", "--plain-http", f"oci://{mirror}/test/charts/mychart", "--version", "0.1.0")
    assert "name: mychart" in shown
    (tmp_path / "pulled").mkdir()
    helm("pull", "--plain-http", f"oci://{mirror}/test/charts/mychart", "-d", "pulled")
    pushed, pulled = tmp_path / "mychart-0.1.0.tgz", tmp_path / "pulled/mychart-0.1.0.tgz"
    assert pulled.read_bytes() == pushed.read_bytes()
