"""A whole cluster on this machine: an origin registry, a scheduler and daemons, each its own process, on loopback,
or where a command puts them."""

import asyncio
import contextlib
import json
import os
import re
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

READY_TIMEOUT_S = 30.0
"""A process is up within half a second; a loaded machine gets more."""
STOP_TIMEOUT_S = 5.0
_FIELD = re.compile(r"(\w+)=(\S+)")


class ProcessFailed(Exception):
    """A process of the cluster ended, or was not ready in time; the text ends with its log."""


@dataclass(slots=True)
class Process:
    """One process and the file with its output."""

    name: str
    child: asyncio.subprocess.Process
    log: Path

    async def stop(self) -> None:
        """Ask it to end, and make it end."""
        if self.child.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            self.child.terminate()
        try:
            await asyncio.wait_for(self.child.wait(), STOP_TIMEOUT_S)
        except TimeoutError:
            self.child.kill()
            await self.child.wait()

    def tail(self) -> str:
        """Return the end of its log."""
        return self.log.read_text(errors="replace")[-2000:]


@dataclass(frozen=True, slots=True)
class Node:
    """One daemon: its name, its mirror, peer wire and metrics (each host:port), and its control socket."""

    name: str
    mirror: str
    peers: str
    metrics: str
    control: str
    process: Process


@dataclass(frozen=True, slots=True)
class Where:
    """Where a process runs: the address that it listens on, and what its command begins with."""

    address: str = "127.0.0.1"
    prefix: tuple[str, ...] = ()


LOOPBACK = Where()


class LocalCluster:
    """Starts processes below a folder, and stops those it started."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._processes: list[Process] = []
        self.scheduler_metrics = ""
        """Where the scheduler shows its metrics, host:port, once it was started."""

    async def stop(self) -> None:
        """Stop everything, last started first."""
        for process in reversed(self._processes):
            await process.stop()

    def pids(self) -> list[int]:
        """Return the processes that run."""
        return [process.child.pid for process in self._processes if process.child.returncode is None]

    async def origin(self, layout: Path, bytes_per_s: int, where: Where = LOOPBACK) -> str:
        """Start an origin registry of one image, not limited if `bytes_per_s` is 0; returns its address."""
        arguments = [
            "benchmarks.io.origin_registry",
            "--layout",
            str(layout),
            "--listen",
            f"{where.address}:0",
        ]
        if bytes_per_s:
            arguments += ["--bytes-per-s", str(bytes_per_s)]
        process = await self._start("origin", arguments, where.prefix)
        line = await self._wait(process, '"address"')
        return str(json.loads(line)["address"])

    async def cache(self, origin: str, bytes_per_s: int) -> str:
        """Start a pull-through cache of an origin, not limited if `bytes_per_s` is 0; returns its address."""
        arguments = ["benchmarks.io.pull_through", "--origin", origin, "--folder", str(self._folder)]
        process = await self._start("cache", [*arguments, "--bytes-per-s", str(bytes_per_s)])
        return str(json.loads(await self._wait(process, '"address"'))["address"])

    async def scheduler(self, where: Where = LOOPBACK) -> str:
        """Start a scheduler; returns the address where daemons attach, host:port."""
        free = f"{where.address}:0"
        arguments = ["scheduler", "--listen", free, "--metrics-listen", free, "--insecure-no-token"]
        process = await self._start("scheduler", arguments, where.prefix)
        fields = _fields(await self._wait(process, "scheduler_ready"))
        self.scheduler_metrics = fields["metrics"]
        return fields["listen"]

    async def node(self, name: str, scheduler: str, registry: str, origin: str) -> Node:
        """Start a daemon whose mirror knows `registry` at http://`origin`."""
        settings = _DAEMON_CONFIG.format(
            name=name, folder=self._folder / name, scheduler=scheduler, registry=registry, origin=origin
        )
        return await self.daemon(name, settings)

    async def daemon(self, name: str, settings: str) -> Node:
        """Start a daemon with these settings (TOML); its control socket is the file `s` in its folder."""
        folder = self._folder / name
        folder.mkdir()
        config = folder / "dfdaemon.toml"
        config.write_text(settings)
        process = await self._start(name, ["dfdaemon", "--config", str(config)])
        fields = _fields(await self._wait(process, "daemon_ready"))
        return Node(name, fields["mirror"], fields["peers"], fields["metrics"], f"{folder}/s", process)

    async def _start(self, name: str, module: list[str], prefix: tuple[str, ...] = ()) -> Process:
        return await self.program(name, [*prefix, sys.executable, "-m", *module])

    async def program(self, name: str, words: list[str]) -> Process:
        """Start any program; it is stopped with the others."""
        log = self._folder / f"{name}.log"
        with log.open("wb") as output:
            child = await asyncio.create_subprocess_exec(
                *words,
                stdin=asyncio.subprocess.DEVNULL,
                start_new_session=True,  # as services have: the kernel shares the processor between sessions
                stdout=output,
                stderr=output,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            )
        process = Process(name, child, log)
        self._processes.append(process)
        return process

    async def _wait(self, process: Process, word: str) -> str:
        """Return the first line of the process's output that has this word in it."""
        deadline = asyncio.get_running_loop().time() + READY_TIMEOUT_S
        while asyncio.get_running_loop().time() < deadline and process.child.returncode is None:
            for line in process.log.read_text(errors="replace").splitlines():
                if word in line:
                    return line
            await asyncio.sleep(0.02)
        raise ProcessFailed(f"{process.name} did not become ready:\n{process.tail()}")


_DAEMON_CONFIG = """\
host = "{name}"
control_socket = "{folder}/s"
metrics_listen = "127.0.0.1:0"

[mirror]
listen = "127.0.0.1:0"

[peer]
listen = "127.0.0.1:0"

[scheduler]
addresses = ["{scheduler}"]

[store]
directory = "{folder}/blobs"
free_bytes_min = 0

[[origin.registries]]
name = "{registry}"
url = "http://{origin}"
"""


def _fields(line: str) -> dict[str, str]:
    return dict(_FIELD.findall(line))


@contextlib.asynccontextmanager
async def local_cluster(folder: Path) -> AsyncIterator[LocalCluster]:
    """Stop all processes at the end, however it comes."""
    cluster = LocalCluster(folder)
    try:
        yield cluster
    finally:
        await cluster.stop()
