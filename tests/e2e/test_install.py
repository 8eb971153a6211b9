"""`dfdaemon configure`, `doctor` and `unconfigure` on a node with a real containerd and a real daemon."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.io.image import Image, generate_image
from tests.support.cluster import Cluster, Daemon, wait_attached
from tests.support.containerd import PULL_S, REGISTRY, Containerd, reference
from tests.support.docker_registry import DockerRegistry

pytestmark = pytest.mark.needs("containerd", "docker-registry", root=True)

WORD_S = 60.0
CONFIG = "/config.toml"
BIND = 'mount --bind "$0" /etc/containerd && exec "$@"'
REGISTRY_TABLE = re.compile(
    r'^\[plugins\."io\.containerd\.grpc\.v1\.cri"\.registry\]\nconfig_path = .*\n', re.M
)
STRAIGHT = "[host]\n  [host.'{url}']\n    capabilities = ['pull', 'resolve']\n"
"""How Talos writes it."""


class InstalledNode:
    """A containerd whose /etc/containerd is that of a folder, in which dfdaemon's words work with --root."""

    def __init__(self, directory: Path) -> None:
        self.root = directory / "n"
        self.etc = self.root / "etc/containerd"
        prefix = ["unshare", "--mount", "sh", "-c", BIND, str(self.etc)]
        self.containerd = Containerd(directory, "n", prefix=prefix)
        self.etc.mkdir(parents=True)
        self.config = self.root / "config.toml"
        self.set_config_path("")

    def set_config_path(self, line: str) -> None:
        """Write containerd's configuration with this line in the registries' table, or without that table."""
        text = REGISTRY_TABLE.sub("", self.config.read_text())
        self.config.write_text(
            text + (f'[plugins."io.containerd.grpc.v1.cri".registry]\n{line}\n' if line else "")
        )

    def write_hosts(self, registry: str, text: str) -> None:
        """Write a registry's hosts.toml as the node's owner."""
        file = self.etc / "certs.d" / registry / "hosts.toml"
        file.parent.mkdir(parents=True)
        file.write_text(text)

    def configuration(self) -> dict[str, bytes]:
        """Every file and folder that is configuration, with its content."""
        paths = [self.config, *(self.root / "etc").rglob("*")]
        return {str(path): path.read_bytes() if path.is_file() else b"" for path in paths}

    def word(self, verb: str, *words: str) -> str:
        """Run `dfdaemon configure containerd` or `unconfigure containerd`; returns what it printed."""
        done = run(verb, "containerd", "--root", str(self.root), "--containerd-config", CONFIG, *words)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def findings(self) -> set[str]:
        """What `dfdaemon doctor` finds wrong in the files."""
        words = ("--containerd-config", CONFIG, "--containerd-version", "1.6", "--json")
        done = run("doctor", "--root", str(self.root), *words)
        found = json.loads(done.stdout)
        assert done.returncode == (1 if found["wrong"] else 0)
        return {finding["code"] for finding in found["findings"] if finding["wrong"]} - {
            "disk-quota",
            "disk-full",
        }

    def pull(self, image: str) -> None:
        """Pull as kubelet does, into an empty containerd."""
        self.containerd.cri.pull(image, timeout_s=PULL_S)

    def restart(self) -> None:
        """Restart containerd."""
        self.containerd.process.stop()
        self.containerd.start()


def run(*words: str) -> subprocess.CompletedProcess[str]:
    """Run dfdaemon to its end."""
    program = Path(sys.executable).with_name("dfdaemon")
    return subprocess.run([program, *words], check=False, capture_output=True, text=True, timeout=WORD_S)


@pytest.fixture
def node(folder: Path) -> Iterator[InstalledNode]:
    node = InstalledNode(folder)
    try:
        yield node
    finally:
        node.containerd.stop()


@pytest.fixture
def second(tmp_path: Path, registry: DockerRegistry) -> Image:
    """Another image in the registry, of which containerd has no layer yet."""
    image = generate_image(tmp_path / "second", "test/second", "v1", [3_000_000], seed=2)
    registry.place(image)
    return image


@pytest.fixture
def daemon(folder: Path, registry: DockerRegistry) -> Iterator[Daemon]:
    """A daemon that knows the registry by two names."""
    names = [{"name": name, "url": registry.url} for name in (REGISTRY, registry.address)]
    with Cluster(folder, registry.url, alone=True) as cluster:
        (daemon,) = cluster.daemons("d", settings={"origin": {"registries": names}})
        yield daemon


def test_a_registry_of_its_own_goes_through_the_mirror_without_a_restart_and_back(
    node: InstalledNode, daemon: Daemon, registry: DockerRegistry, image: Image, second: Image
) -> None:
    node.set_config_path('config_path = "/etc/containerd/certs.d"')
    node.write_hosts(REGISTRY, STRAIGHT.format(url=registry.url))
    before = node.configuration()
    node.containerd.start()

    said = node.word("configure", "--registry", REGISTRY, "--mirror", daemon.mirror)
    assert "needed:" not in said
    node.pull(reference(image))
    assert daemon.total("origin_bytes", [digest for digest, _ in image.blobs]) == image.total_bytes

    node.word("unconfigure")
    assert node.configuration() == before
    received = daemon.received()
    node.pull(reference(second))
    assert daemon.received() == received
    assert registry.settled_traffic(second.total_bytes).blob_gets.keys() >= dict(second.blobs).keys()


def test_all_registries_go_through_the_mirror_once_config_path_is_set(
    node: InstalledNode, daemon: Daemon, registry: DockerRegistry, image: Image, second: Image
) -> None:
    before = node.configuration()
    assert node.findings() == {"containerd-config-path"}
    node.containerd.start()

    node.word("configure", "--mirror", daemon.mirror, "--dry-run")
    assert node.configuration() == before
    said = node.word("configure", "--mirror", daemon.mirror)
    assert "needed: systemctl restart containerd" in said
    configured = node.configuration()
    assert "nothing to change" in node.word("configure", "--mirror", daemon.mirror)
    assert node.configuration() == configured

    node.restart()
    node.pull(f"{registry.address}/{image.name}:{image.tag}")
    assert daemon.total("origin_bytes", [digest for digest, _ in image.blobs]) == image.total_bytes

    assert "needed: systemctl restart containerd" in node.word("unconfigure")
    assert node.configuration() == before
    node.restart()
    received = daemon.received()
    node.pull(f"{registry.address}/{second.name}:{second.tag}")
    assert daemon.received() == received


def test_containerd_pulls_straight_when_the_configured_mirror_is_gone(
    node: InstalledNode, daemon: Daemon, registry: DockerRegistry, image: Image
) -> None:
    node.word("configure", "--mirror", daemon.mirror, "--containerd-version", "2.1")
    daemon.stop()
    node.containerd.start()
    assert 'dial_timeout = "' in (node.etc / "certs.d/_default/hosts.toml").read_text()
    node.pull(f"{registry.address}/{image.name}:{image.tag}")
    assert registry.settled_traffic(image.total_bytes).total_blob_bytes == image.total_bytes


def test_a_folder_that_hides_the_default_is_found_and_mended(
    node: InstalledNode, daemon: Daemon, registry: DockerRegistry, image: Image
) -> None:
    host, _, port = registry.address.rpartition(":")
    node.set_config_path('config_path = "/etc/containerd/certs.d"')
    (node.etc / f"certs.d/{host}_{port}_").mkdir(parents=True)
    said = node.word("configure", "--mirror", daemon.mirror)
    assert f"--registry {registry.address}" in said
    config = node.root / "etc/damselfly/dfdaemon.toml"
    config.write_text(f'[mirror]\nlisten = "{daemon.mirror}"\n')
    assert node.findings() == {"containerd-shadow"}
    node.word("configure", "--registry", registry.address)
    assert node.findings() == set()
    node.containerd.start()
    node.pull(f"{registry.address}/{image.name}:{image.tag}")
    assert daemon.total("origin_bytes", [digest for digest, _ in image.blobs]) == image.total_bytes


def running(daemon: Daemon) -> set[str]:
    """What the doctor finds wrong about what runs."""
    done = run("doctor", "--config", str(daemon.config), "--json")
    codes = {finding["code"] for finding in json.loads(done.stdout)["findings"] if finding["wrong"]}
    return {code for code in codes if code.startswith(("mirror", "daemon", "scheduler", "version", "clock"))}


def test_the_doctor_tells_what_runs(folder: Path, registry: DockerRegistry) -> None:
    with Cluster(folder, registry.url) as cluster:
        (daemon,) = cluster.daemons("d")
        wait_attached(daemon)
        assert running(daemon) == set()
        assert cluster.scheduler is not None
        cluster.scheduler.kill()
        assert running(daemon) == {"scheduler-unreachable"}
        daemon.stop()
        assert running(daemon) == {"mirror-unreachable", "daemon-silent", "scheduler-unreachable"}
