"""A real containerd of a node: own root, state, socket and hosts.toml. Several run side by side, as root."""

import hashlib
import itertools
import shutil
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from benchmarks.io.image import Image
from tests.support.cri import ImageService
from tests.support.processes import ChildProcess, run, unix_open

PROGRAM = "containerd"
CTR = "ctr"
REGISTRY = "registry.test"  # the host in image names; hosts.toml leads it somewhere real
PULL_S = 120.0
RUN_S = 30.0
SOCKET_BYTES_MAX = 107  # sun_path of unix(7), without its NUL

_CONFIG = """\
version = 2
root = "{root}/root"
state = "{root}/state"
disabled_plugins = [
    "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
    "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs",
    "io.containerd.tracing.processor.v1.otlp", "io.containerd.internal.v1.tracing",
]
[grpc]
address = "{socket}"
[debug]
level = "info"
[plugins."io.containerd.internal.v1.opt"]
path = "{root}/opt"
[plugins."io.containerd.grpc.v1.cri"]
disable_apparmor = true
restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{root}/cni"
conf_dir = "{root}/cni"
[plugins."io.containerd.grpc.v1.cri".registry]
config_path = "{root}/certs.d"
"""

_run_ids = itertools.count(1)


class Containerd:
    """One containerd whose files are all in `directory/name`; the directory must have a short name.

    `prefix` goes before the command, such as `nsenter --net=/run/netns/X`.
    """

    def __init__(self, directory: Path, name: str = "node", *, prefix: Sequence[str] = ()) -> None:
        self.name = name
        self.root = directory / name
        self.socket = self.root / "c.sock"
        assert len(bytes(self.socket)) <= SOCKET_BYTES_MAX, f"{self.socket} is too long for a socket"
        (self.root / "certs.d").mkdir(parents=True)
        (self.root / "cni").mkdir()
        config = self.root / "config.toml"
        config.write_text(_CONFIG.format(root=self.root, socket=self.socket))
        self._prefix = [*prefix]
        argv: list[str | Path] = [*prefix, PROGRAM, "--config", config]
        self.cri = ImageService(self.socket)
        is_open = unix_open(self.socket)
        ready = lambda: is_open() and self.cri.is_initialized()  # noqa: E731
        self.process = ChildProcess("containerd", argv, self.root, ready=ready)

    def start(self) -> Self:
        """Start and wait until its image service answers."""
        self.process.start()
        return self

    def stop(self) -> None:
        """End it and delete its data."""
        self.process.stop()
        shutil.rmtree(self.root / "root", ignore_errors=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.__exit__(kind, error, trace)
        self.stop()

    def use_mirror(self, mirror: str | None, server: str, *, registry: str = REGISTRY) -> None:
        """Write a registry's hosts.toml: `mirror` first (a URL, or none), then `server`. Read at a pull."""
        host = "[host]" if mirror is None else f'[host."{mirror}"]\ncapabilities = ["pull", "resolve"]'
        directory = self.root / "certs.d" / registry
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "hosts.toml").write_text(f'server = "{server}"\n\n{host}\n')

    def pull(self, image: str, *, credentials: str | None = None, timeout_s: float = PULL_S) -> str:
        """`ctr images pull` through the hosts.toml. `credentials` are user:password. Raises ProcessFailed."""
        user = [] if credentials is None else ["--user", credentials]
        hosts = self.root / "certs.d"
        return self.ctr("images", "pull", "--hosts-dir", hosts, *user, image, timeout_s=timeout_s)

    def run(self, image: str, *command: str) -> str:
        """Run a container to its end and return its stdout."""
        name = f"run-{next(_run_ids)}"
        return self.ctr(
            "run", "--rm", "--runc-root", self.root / "runc", image, name, *command, timeout_s=RUN_S
        )

    def images_rm(self, *images: str) -> None:
        """Remove images and wait until their content is collected."""
        self.ctr("images", "rm", "--sync", *images, timeout_s=RUN_S)

    def ctr(self, *words: str | Path, timeout_s: float, namespace: str = "default") -> str:
        """Any ctr command; returns its stdout. Raises ProcessFailed."""
        return run([*self._prefix, CTR, "-a", self.socket, "-n", namespace, *words], timeout_s)

    def blob_path(self, digest: str) -> Path:
        """Where its content store keeps a blob."""
        algorithm, _, encoded = digest.partition(":")
        return self.root / "root/io.containerd.content.v1.content/blobs" / algorithm / encoded

    def wrong_blobs(self, image: Image) -> list[str]:
        """The blobs of the image that the content store lacks, or whose bytes don't have their digest."""
        digests = [image.root_digest, image.manifest_digest, *(digest for digest, _ in image.blobs)]
        return [digest for digest in digests if _sha256(self.blob_path(digest)) != digest]


def reference(image: Image, *, registry: str = REGISTRY) -> str:
    """The name under which containerd pulls it."""
    return f"{registry}/{image.name}:{image.tag}"


def _sha256(path: Path) -> str | None:
    if not path.exists():
        return None
    with path.open("rb") as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()
