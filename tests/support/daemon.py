"""A whole daemon inside the test's event loop: the object graph of dfdaemon/__main__.py, on free ports of loopback."""

import contextlib
import io
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from dfdaemon.__main__ import Daemon, Threads, build, open_doors
from dfdaemon.config import (
    DaemonConfig,
    MirrorConfig,
    OriginConfig,
    PeerConfig,
    RegistryConfig,
    SchedulerLinkConfig,
    StoreConfig,
)
from swarm.io.telemetry import Telemetry
from swarm.messages import Address

REGISTRY = "registry.test"


@dataclass(frozen=True, slots=True)
class RunningDaemon:
    """A daemon that listens; `log` is what it wrote so far."""

    daemon: Daemon
    mirror: Address
    control: str
    log: io.StringIO
    telemetry: Telemetry


def daemon_config(
    folder: Path, origin_url: str, *, name: str = "host-1", scheduler: str = ""
) -> DaemonConfig:
    """Return a configuration with every address on a free port, and one registry, REGISTRY, at `origin_url`."""
    return DaemonConfig(
        host=name,
        control_socket=str(folder / f"{name}.sock"),
        metrics_listen="127.0.0.1:0",
        mirror=MirrorConfig(listen="127.0.0.1:0"),
        peer=PeerConfig(listen="127.0.0.1:0"),
        scheduler=SchedulerLinkConfig(addresses=(scheduler,) if scheduler else ()),
        origin=OriginConfig(registries=(RegistryConfig(name=REGISTRY, url=origin_url),)),
        store=StoreConfig(directory=str(folder / name), free_bytes_min=0),
    )


@contextlib.asynccontextmanager
async def running_daemon(
    config: DaemonConfig, threads: Threads | None = None
) -> AsyncIterator[RunningDaemon]:
    """Run a daemon for the length of the block; many in one process may share their threads."""
    log = io.StringIO()
    telemetry = Telemetry("daemon", stream=log)
    async with contextlib.AsyncExitStack() as closing:
        daemon = await build(config, telemetry, closing, threads)
        await open_doors(config, daemon, telemetry, closing)
        host, _, port = log.getvalue().partition("mirror=")[2].split()[0].rpartition(":")
        yield RunningDaemon(daemon, Address(host, int(port)), config.control_socket, log, telemetry)
