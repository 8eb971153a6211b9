"""A real docker-registry and a real containerd, as processes of a cluster on this machine. containerd takes root.

It pulls as a kubelet has it pull, through CRI: layers are unpacked in order while others arrive (`ctr` waits for all).
"""

import asyncio
import json
import shutil
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from benchmarks.io.image import Image
from benchmarks.io.local_cluster import LocalCluster, Process, ProcessFailed
from benchmarks.io.registry_storage import place

READY_S_MAX = 20.0
LOOK_S = 0.02
PULL_S_MAX = 170.0
REGISTRY = "registry.test"
"""The registry in the names of images; hosts.toml says where it is."""

_CONTAINERD = """\
version = 2
root = "{folder}/root"
state = "{folder}/state"
disabled_plugins = [
    "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper",
    "io.containerd.snapshotter.v1.zfs", "io.containerd.tracing.processor.v1.otlp", "io.containerd.internal.v1.tracing",
]
[grpc]
address = "{folder}/c.sock"
[plugins."io.containerd.internal.v1.opt"]
path = "{folder}/opt"
[plugins."io.containerd.grpc.v1.cri"]
stream_server_address = "127.0.0.1"
[plugins."io.containerd.grpc.v1.cri".registry]
config_path = "{folder}/certs.d"
"""
_CRI = "/runtime.v1.ImageService"


class PartsMissing(Exception):
    """A program that is measured is not here; the text says how to get it."""


def require_parts() -> None:
    """Raise PartsMissing where docker-registry or containerd is not installed."""
    missing = [name for name in ("docker-registry", "containerd") if shutil.which(name) is None]
    if missing:
        raise PartsMissing(f"missing: {', '.join(missing)}; apt-get install docker-registry containerd")


async def start_registry(
    cluster: LocalCluster, folder: Path, images: list[Image], listen: str, prefix: tuple[str, ...] = ()
) -> None:
    """Start a docker-registry with these images at host:port, by a command that begins with `prefix`."""
    for image in images:
        place(folder / "storage", image)
    config = {
        "version": 0.1,
        "log": {"level": "error", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(folder / "storage")}},
        "http": {"addr": listen, "secret": "of-a-benchmark", "relativeurls": True},
    }
    (folder / "config.yml").write_text(json.dumps(config))
    words = [*prefix, "docker-registry", "serve", str(folder / "config.yml")]
    process = await cluster.program(folder.name, words)
    host, _, port = listen.rpartition(":")
    await _until_open(process, socket.AF_INET, (host, int(port)))


@dataclass(frozen=True, slots=True)
class Containerd:
    """A containerd whose files are all in `folder`, which has a short name."""

    folder: Path
    process: Process

    @classmethod
    async def start(cls, cluster: LocalCluster, folder: Path) -> "Containerd":
        """Start one; raises ProcessFailed."""
        await asyncio.to_thread(_configure, folder)
        words = ["containerd", "--config", str(folder / "config.toml")]
        process = await cluster.program(folder.name, words)
        await _until_open(process, socket.AF_UNIX, f"{folder}/c.sock")
        return cls(folder, process)

    async def pull(self, image: Image, server: str, mirror: str | None) -> float:
        """Pull an image from a registry (host:port), by a mirror if there is one; return the seconds.

        The image is removed again, for the next pull. Raises ProcessFailed.
        """
        hosts = self.folder / "certs.d" / REGISTRY
        hosts.mkdir(parents=True, exist_ok=True)
        first = f'[host."http://{mirror}"]\ncapabilities = ["pull", "resolve"]' if mirror else "[host]"
        (hosts / "hosts.toml").write_text(f'server = "http://{server}"\n\n{first}\n')
        name = f"{REGISTRY}/{image.name}:{image.tag}"
        began = time.monotonic()
        await self._ask("PullImage", name)
        took_s = time.monotonic() - began
        await self._ask("RemoveImage", name)
        return took_s

    async def _ask(self, method: str, name: str) -> None:
        """Call a method of CRI whose request begins with an image's name; what it answers does not matter."""
        async with grpc.aio.insecure_channel(f"unix://{self.folder}/c.sock") as channel:
            call: Any = channel.unary_unary(f"{_CRI}/{method}")
            try:
                await call(_field_1(_field_1(name.encode())), timeout=PULL_S_MAX, wait_for_ready=True)
            except grpc.aio.AioRpcError as error:
                raise ProcessFailed(f"containerd's {method} of {name} failed: {error.details()}") from error


def _field_1(value: bytes) -> bytes:
    """Return a protobuf message whose field 1 is this text or message: ImageSpec, and requests that begin with one."""
    assert len(value) < 128, "its length is one byte"
    return bytes((0x0A, len(value))) + value


def _configure(folder: Path) -> None:
    folder.mkdir()
    (folder / "config.toml").write_text(_CONTAINERD.format(folder=folder))


async def _until_open(process: Process, family: socket.AddressFamily, address: str | tuple[str, int]) -> None:
    """Wait until somebody accepts connections there; raises ProcessFailed."""
    deadline = time.monotonic() + READY_S_MAX
    while True:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            if probe.connect_ex(address) == 0:
                return
        if process.child.returncode is not None or time.monotonic() > deadline:
            raise ProcessFailed(f"{process.name} did not become ready:\n{process.tail()}")
        await asyncio.sleep(LOOK_S)
