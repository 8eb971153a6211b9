"""Damselfly as a test runs it: dfscheduler and dfdaemons as processes of their own, on loopback, by pid.

A port is chosen once for each process, so that one which was killed comes back where others know it.
"""

import asyncio
import contextlib
import http.client
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Self, TypeVar

from prometheus_client.parser import text_string_to_metric_families

from benchmarks.io.image import Image
from benchmarks.io.puller import Pull
from tests.support.containerd import PULL_S, REGISTRY, Containerd, reference
from tests.support.http_client import fetch
from tests.support.processes import POLL_S, ChildProcess, free_port, run

ROOT = Path(__file__).parents[2]
EVENTUALLY_S = 20.0  # a loaded machine with two cores
CONTROL_S = 10.0
TOOL_S = 60.0

T = TypeVar("T")
Startable = TypeVar("Startable", "Daemon", "Node")
Settings = Mapping[str, Any]
DEFAULTS: Settings = MappingProxyType({})


class NotYet(AssertionError):
    """What a test waits for did not come."""


def eventually(what: Callable[[], T], *, timeout_s: float = EVENTUALLY_S) -> T:
    """Ask until the answer is true, and return it. Raises NotYet."""
    deadline = time.monotonic() + timeout_s
    while not (answer := what()):
        if time.monotonic() > deadline:
            raise NotYet(f"not within {timeout_s} s; the last answer was {answer!r}")
        time.sleep(POLL_S)
    return answer


class Program:
    """One process of Damselfly with its folder, its configuration file and its metrics."""

    def __init__(
        self, directory: Path, name: str, module: str, component: str, ready: str, settings: Settings
    ) -> None:
        self.name = name
        self.folder = directory / name
        self.folder.mkdir(parents=True)
        self.metrics_address = f"127.0.0.1:{free_port()}"
        self.config = self.folder / "config.toml"
        self.config.write_text(toml(merged({"metrics_listen": self.metrics_address}, settings)))
        self._component = component
        self._ready_word = ready
        argv: list[str | Path] = [sys.executable, "-m", module, "--config", self.config]
        # The folder is the process's working directory: it finds our packages by the path alone.
        env = {"PYTHONPATH": str(ROOT)}
        self.process = ChildProcess(name, argv, self.folder, env=env, ready=self._is_ready)
        self._starts = 0

    def start(self) -> Self:
        """Start, also again after a stop or a kill, and wait until it says that it is ready."""
        self._starts += 1
        self.process.start()
        return self

    def stop(self) -> int | None:
        """SIGTERM; returns the exit code."""
        return self.process.stop()

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()

    def __enter__(self) -> Self:
        return self if self.process.running else self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.__exit__(kind, error, trace)

    def log(self) -> str:
        """Everything that it wrote."""
        return self.process.log()

    def noted(self, event: str) -> list[str]:
        """The log lines of one event."""
        return [line for line in self.log().splitlines() if f" {event} " in f"{line} "]

    def metric(self, name: str, **labels: str) -> float:
        """Sum of a metric's series that have these labels; 0 without any. `name` is short: `rings_total`."""
        text = fetch("GET", f"http://{self.metrics_address}/metrics").body.decode()
        full = f"damselfly_{self._component}_{name}"
        return sum(
            sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == full and labels.items() <= sample.labels.items()
        )

    def _is_ready(self) -> bool:
        return len(self.noted(self._ready_word)) >= self._starts


class Scheduler(Program):
    """A dfscheduler."""

    def __init__(self, directory: Path, settings: Settings = DEFAULTS, *, name: str = "scheduler") -> None:
        self.address = f"127.0.0.1:{free_port()}"
        listen = merged({"listen": self.address}, settings)
        super().__init__(directory, name, "scheduler", "scheduler", "scheduler_ready", listen)


class Daemon(Program):
    """A dfdaemon that knows the registry `registry.test` at `origin`, a URL."""

    def __init__(
        self,
        directory: Path,
        name: str,
        origin: str,
        *,
        scheduler: str | None = None,
        settings: Settings = DEFAULTS,
    ) -> None:
        self.mirror = f"127.0.0.1:{free_port()}"
        self.url = f"http://{self.mirror}"
        self.peer = f"127.0.0.1:{free_port()}"
        self.socket = directory / name / "s"
        self.store = directory / name / "store"
        own = {
            "host": name,
            "control_socket": str(self.socket),
            "mirror": {"listen": self.mirror},
            "peer": {"listen": self.peer},
            "scheduler": {"addresses": [scheduler] if scheduler else []},
            "store": {"directory": str(self.store), "free_bytes_min": 0},
            "origin": {"registries": [{"name": REGISTRY, "url": origin}]},
        }
        super().__init__(directory, name, "dfdaemon", "daemon", "daemon_ready", merged(own, settings))

    def control(self, path: str) -> dict[str, Any]:
        """What the control socket answers; an error answer has the key `error`."""
        with contextlib.closing(_UnixConnection(self.socket)) as connection:
            connection.request("GET", f"/control/{path}")
            found: dict[str, Any] = json.loads(connection.getresponse().read())
        return found

    def status(self) -> dict[str, Any]:
        """The answer of /control/status."""
        return self.control("status")

    def explain(self, digest: str) -> dict[str, Any]:
        """The answer of /control/explain; an unknown digest has only the key `error`."""
        return self.control(f"explain/{digest}")

    def total(self, key: str, digests: Sequence[str]) -> int:
        """Sum of one account entry over blobs, such as `origin_bytes`; `peer_bytes` of all hosts."""
        entries = (self.explain(digest).get(key, 0) for digest in digests)
        return sum(sum(entry.values()) if isinstance(entry, dict) else entry for entry in entries)

    def parents(self, digests: Sequence[str]) -> set[str]:
        """The hosts that gave this one bytes of these blobs."""
        return {host for digest in digests for host in self.explain(digest).get("peer_bytes", {})}

    def received(self) -> int:
        """Bytes that came from anywhere since its start."""
        return int(self.metric("downloaded_bytes_total"))

    def resident_bytes(self) -> int:
        """Memory that it has mapped now (VmRSS of proc(5)), and what it keeps in rings."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        mapped = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:"))
        return mapped * 1024 + self.ring_bytes()

    def ring_bytes(self) -> int:
        """Bytes of its files in memory (memfd_create(2)), which no process has mapped."""
        total = 0
        for link in Path(f"/proc/{self.process.pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                if os.readlink(link).startswith("/memfd:"):
                    total += os.stat(link).st_blocks * 512
        return total

    def dfctl(self, *words: str) -> str:
        """Run dfctl against it; returns what it printed. Raises ProcessFailed."""
        return run([_script("dfctl"), "--socket", self.socket, *words], TOOL_S, env={"COLUMNS": "200"})

    def dfget(self, *words: str) -> str:
        """Run dfget through it; returns what it printed. Raises ProcessFailed."""
        return run([_script("dfget"), "--socket", self.socket, *words], TOOL_S, env={"COLUMNS": "200"})


class Node:
    """A machine of the cluster: a containerd, and the daemon that is its mirror.

    containerd falls back to `server`, as a node's hosts.toml says; the daemon fetches from `origin`.
    """

    def __init__(self, daemon: Daemon, server: str) -> None:
        self.name = daemon.name
        self.daemon = daemon
        self.containerd = Containerd(daemon.folder, "c")
        self.containerd.use_mirror(daemon.url, server)

    def start(self) -> Self:
        """Start both."""
        self.daemon.start()
        self.containerd.start()
        return self

    def pull(self, image: Image) -> None:
        """Pull with ctr."""
        self.containerd.pull(reference(image))

    def cri_pull(self, image: Image) -> None:
        """Pull as kubelet does."""
        self.containerd.cri.pull(reference(image), timeout_s=PULL_S)


class Cluster:
    """A scheduler (unless `alone`), daemons and nodes of one registry at `origin`; all end with the block."""

    def __init__(
        self,
        directory: Path,
        origin: str,
        *,
        alone: bool = False,
        scheduler: Settings = DEFAULTS,
        server: str = "",
    ) -> None:
        self._directory = directory
        self._origin = origin
        self._server = server or origin
        self._programs: list[Program] = []
        self._containerds: list[Containerd] = []
        self.scheduler: Scheduler | None = None
        if not alone:
            self.scheduler = Scheduler(directory, scheduler).start()
            self._programs.append(self.scheduler)

    def daemon(self, name: str, settings: Settings = DEFAULTS) -> Daemon:
        """A daemon that is not yet started."""
        address = self.scheduler.address if self.scheduler else None
        daemon = Daemon(self._directory, name, self._origin, scheduler=address, settings=settings)
        self._programs.append(daemon)
        return daemon

    def node(self, name: str, settings: Settings = DEFAULTS) -> Node:
        """A node that is not yet started."""
        node = Node(self.daemon(name, settings), self._server)
        self._containerds.append(node.containerd)
        return node

    def daemons(self, *names: str, settings: Settings = DEFAULTS) -> list[Daemon]:
        """Daemons that run, and are attached if there is a scheduler."""
        return self._started([self.daemon(name, settings) for name in names], lambda daemon: daemon)

    def nodes(self, *names: str, settings: Settings = DEFAULTS) -> list[Node]:
        """Nodes that run, and are attached if there is a scheduler."""
        return self._started([self.node(name, settings) for name in names], lambda node: node.daemon)

    def _started(self, parts: list[Startable], daemon_of: Callable[[Startable], Daemon]) -> list[Startable]:
        with ThreadPoolExecutor(len(parts)) as pool:
            list(pool.map(lambda part: part.start(), parts))
        if self.scheduler is not None:
            for part in parts:
                wait_attached(daemon_of(part))
        return parts

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End all, each by its pid, daemons before the scheduler; a failure gets their logs."""
        ending: list[Containerd | Program] = [*self._containerds, *reversed(self._programs)]
        for part in ending:
            part.process.signal(signal.SIGTERM)
        for part in ending:
            part.stop()
            if error is not None:
                error.add_note(part.process.tail())


def wait_attached(daemon: Daemon) -> None:
    """Wait until it is attached to the scheduler."""
    eventually(lambda: daemon.status()["scheduler"])


def together(*jobs: Callable[[], object]) -> None:
    """Run all at once, to the end of the last; raises what the first that failed raised."""
    with ThreadPoolExecutor(len(jobs)) as pool:
        for running in [pool.submit(job) for job in jobs]:
            running.result()


def pull(image: Image, *daemons: Daemon) -> list[Pull]:
    """Pull through the mirrors, all at once, as containerd asks; every digest is checked. Raises PullFailed."""

    async def run_all() -> list[Pull]:
        pulls = [Pull(daemon.mirror, REGISTRY, image.name, image.tag) for daemon in daemons]
        await asyncio.gather(*(one.run() for one in pulls))
        return pulls

    return asyncio.run(run_all())


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("damselfly", timeout=CONTROL_S)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket instead of a host."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def _script(name: str) -> Path:
    """A console script of this installation."""
    return Path(sys.executable).with_name(name)


def merged(first: Settings, second: Settings) -> dict[str, Any]:
    """Both nested settings in one; what both have is taken from the second."""
    result = dict(first)
    for key, value in second.items():
        both = isinstance(value, Mapping) and isinstance(result.get(key), Mapping)
        result[key] = merged(result[key], value) if both else value
    return result


def toml(settings: Settings) -> str:
    """Settings as TOML: scalars and lists are written as JSON, whose forms TOML shares."""
    return "".join(_toml(settings, ""))


def _toml(settings: Settings, prefix: str) -> Iterator[str]:
    tables = {key: value for key, value in settings.items() if isinstance(value, Mapping)}
    lists = {key: value for key, value in settings.items() if _is_list_of_tables(value)}
    for key, value in settings.items():
        if key not in tables and key not in lists:
            yield f"{key} = {json.dumps(value)}\n"
    for key, value in tables.items():
        yield f"\n[{prefix}{key}]\n"
        yield from _toml(value, f"{prefix}{key}.")
    for key, entries in lists.items():
        for entry in entries:
            yield f"\n[[{prefix}{key}]]\n"
            yield from _toml(entry, f"{prefix}{key}.")


def _is_list_of_tables(value: object) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], Mapping)
