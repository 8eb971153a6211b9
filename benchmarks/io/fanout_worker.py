"""A process with many real daemons, each with its own ports, store, identity and scheduler stream.

The program of a process of `dfbench fanout`: it reads a FanoutTask from standard input, starts its daemons, says that
they are ready, and at the word "go" lets all pull at once. Answers are lines of JSON (benchmarks/io/child_process.py).
"""

import asyncio
import contextlib
import gc
import json
import os
import resource
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, TextIO

from benchmarks.report import NodeResult, as_dict
from dfdaemon.__main__ import Daemon, Threads, build, open_doors, start_threads
from dfdaemon.config import (
    EVERY_NODE,
    DaemonConfig,
    MirrorConfig,
    OriginConfig,
    PeerConfig,
    RegistryConfig,
    SchedulerLinkConfig,
    StoreConfig,
)
from dfdaemon.io.origin_client import OriginSource
from swarm.digest import Digest
from swarm.errors import DamselflyError
from swarm.io import event_loop
from swarm.io.telemetry import Telemetry

BLOBS_AT_ONCE = 3
"""As containerd pulls the layers of an image."""
RECEIVE_THREADS = 1
"""Of each process: together there are more processes than cores."""
STARTS_AT_ONCE = 16
"""Daemons that start together: more only wait for one another."""
READY_S_MAX = 60.0
"""A stream to the scheduler takes milliseconds, and a thousand at once some seconds."""
READY_LOOK_S = 0.02
"""How often to look whether all streams are there."""
PULL_S_MAX = 175.0
"""A node that takes longer has failed: the whole run must be below three minutes."""
COLLECT_AFTER = 700
"""Objects of one daemon after which garbage is collected: Python's default. With as many for a hundred daemons, each
would be looked through a hundred times as often as in a process of its own."""
PROGRESS_S = 1.0
"""Pause between two progress lines."""
EVENTS = "damselfly_daemon_events_total"
"""The counter of what daemons note (swarm/io/notes.py)."""
VERIFIED = "damselfly_daemon_blobs_verified_total"
"""The counter of blobs that daemons found right."""
REGISTRY, REPOSITORY = "registry.bench", "bench/app"


@dataclass(frozen=True, slots=True)
class FanoutTask:
    """What one process has to do. `blobs`: digests and sizes; rates in bytes per second, 0: not limited."""

    nodes: list[int]
    folder: str
    scheduler: str
    origin: str
    blobs: list[tuple[str, int]]
    zones: int
    link_bytes_per_s: int
    download_slots: int
    upload_slots: int
    address: str = "127.0.0.1"
    congestion_control: str = ""
    shaped: bool = False
    """The daemons themselves keep to the rates of their links."""
    verify: str = EVERY_NODE
    """Who computes the digests of blobs. Piece digests are BLAKE3 where that is not every node."""

    @property
    def piece_digest(self) -> str:
        """The kind of piece digest of the cluster."""
        return "xxh3" if self.verify == EVERY_NODE else "blake3"


@dataclass(frozen=True, slots=True)
class _Node:
    """One daemon and its name."""

    name: str
    zone: str
    daemon: Daemon
    telemetry: Telemetry


@dataclass(slots=True)
class Worker:
    """The daemons of this process."""

    task: FanoutTask
    closing: contextlib.AsyncExitStack
    log: TextIO
    nodes: list[_Node] = field(default_factory=list)
    done: int = 0

    async def start(self) -> None:
        """Start all daemons and wait until the scheduler has taken them."""
        config = PeerConfig(receive_threads=RECEIVE_THREADS, piece_digest=self.task.piece_digest)
        threads = start_threads(config, self.closing)
        slots = asyncio.Semaphore(STARTS_AT_ONCE)
        await asyncio.gather(*(self._start(number, threads, slots) for number in self.task.nodes))
        async with asyncio.timeout(READY_S_MAX):
            while not all(node.daemon.scheduler.attached for node in self.nodes):  # noqa: ASYNC110
                await asyncio.sleep(READY_LOOK_S)

    async def _start(self, number: int, threads: Threads, slots: asyncio.Semaphore) -> None:
        async with slots:
            config = daemon_config(self.task, number)
            telemetry = Telemetry("daemon", log_level="warning", stream=self.log)
            daemon = await build(config, telemetry, self.closing, threads)
            await open_doors(config, daemon, telemetry, self.closing)
            self.nodes.append(_Node(config.host, config.zone, daemon, telemetry))

    async def pull(self) -> list[NodeResult]:
        """Let all nodes pull all blobs at once."""
        return await asyncio.gather(*(self._pull(node) for node in self.nodes))

    async def _pull(self, node: _Node) -> NodeResult:
        began, failure = time.monotonic(), ""
        slots = asyncio.Semaphore(BLOBS_AT_ONCE)
        try:
            async with asyncio.timeout(PULL_S_MAX), asyncio.TaskGroup() as group:
                for digest, size in self.task.blobs:
                    group.create_task(self._read(node, digest, size, slots))
        except TimeoutError:
            failure = f"not done within {PULL_S_MAX:g} s"
        except ExceptionGroup as errors:
            failure = str(errors.exceptions[0])
        self.done += 1
        return self._result(node, time.monotonic() - began, failure)

    async def _read(self, node: _Node, digest: str, size: int, slots: asyncio.Semaphore) -> None:
        """Read a blob as the mirror does. The last piece comes only when the daemon has checked the blob's digest."""
        async with slots:
            source = OriginSource(REGISTRY, REPOSITORY, Digest.parse(digest), "blob")
            reader = await node.daemon.driver.open(source, size, "", 0, size)
            offset = 0
            try:
                while offset < size:
                    span = await reader.span(offset)
                    offset += span.length
                    reader.advance(offset)
            finally:
                reader.close()
            stored = node.daemon.store.get(source.digest.task)
            if stored is None or not stored.complete:
                raise NotVerified(f"{node.name} handed out {digest} and did not mark it complete")

    def progress(self) -> dict[str, int]:
        """Return how many nodes are done, and what all of them got so far, by where it came from."""
        so_far = [self._result(node, 0.0, "") for node in self.nodes]
        return {
            "done": self.done,
            "origin_bytes": sum(each.origin_bytes for each in so_far),
            "peer_bytes": sum(each.peer_bytes for each in so_far),
            "cross_zone_bytes": sum(each.cross_zone_bytes for each in so_far),
        }

    def counts(self, name: str, label: str) -> Counter[str]:
        """Return a counter of all daemons, by its label."""
        counts: Counter[str] = Counter()
        for node in self.nodes:
            wanted = node.telemetry.registry.restricted_registry([name])
            for sample in (sample for family in wanted.collect() for sample in family.samples):
                counts[sample.labels[label]] += int(sample.value)
        return counts

    def _result(self, node: _Node, seconds: float, failure: str) -> NodeResult:
        origin = peers = crossing = 0
        for digest, _ in self.task.blobs:
            account = node.daemon.blobs.ledger.get(Digest.parse(digest).task)
            if account is not None:
                origin += account.origin_bytes
                peers += sum(account.peer_bytes.values())
                crossing += sum(
                    count for host, count in account.peer_bytes.items() if not host.endswith(node.zone)
                )
        return NodeResult(seconds, origin, peers, crossing, failure)


class NotVerified(DamselflyError):
    """A daemon handed out a whole blob that it did not mark as complete."""


def daemon_config(task: FanoutTask, number: int) -> DaemonConfig:
    """Return the settings of one daemon: every address on a free port, and a folder of its own."""
    zone = f"zone-{number % task.zones}"
    name = f"node-{number}-{zone}"
    return DaemonConfig(
        host=name,
        zone=zone,
        upload_bytes_per_s=task.link_bytes_per_s,
        download_bytes_per_s=task.link_bytes_per_s,
        control_socket=f"{task.folder}/{number}.sock",
        metrics_listen="127.0.0.1:0",
        verify=task.verify,
        mirror=MirrorConfig(listen="127.0.0.1:0"),
        peer=PeerConfig(
            listen=f"{task.address}:0",
            insecure_no_token=True,
            congestion_control=task.congestion_control,
            piece_digest=task.piece_digest,
            upload_slots=task.upload_slots,
            download_slots=task.download_slots,
            upload_bytes_per_s_max=task.link_bytes_per_s * task.shaped,
            download_bytes_per_s_max=task.link_bytes_per_s * task.shaped,
        ),
        scheduler=SchedulerLinkConfig(addresses=(task.scheduler,), connect_timeout_s=READY_S_MAX),
        origin=OriginConfig(registries=(RegistryConfig(name=REGISTRY, url=f"http://{task.origin}"),)),
        store=StoreConfig(directory=f"{task.folder}/{number}", free_bytes_min=0),
    )


def used() -> tuple[float, int]:
    """Return the CPU seconds of this process so far, and its largest memory in bytes."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime, used.ru_maxrss * 1024


def _say(message: dict[str, Any]) -> None:
    print(json.dumps(message), flush=True)


async def _report(worker: Worker) -> None:
    while True:
        await asyncio.sleep(PROGRESS_S)
        _say(worker.progress())


async def run() -> None:
    """Do what standard input says, and end without ceremony: nothing of what was made is needed any more."""
    task = FanoutTask(**json.loads(sys.stdin.readline()))
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    worker = Worker(task, contextlib.AsyncExitStack(), sys.stderr)
    await worker.start()
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER * len(worker.nodes))
    _say({"ready": len(worker.nodes)})
    await asyncio.to_thread(sys.stdin.readline)
    reporting = asyncio.create_task(_report(worker))
    cpu_before_s, _ = used()
    results = await worker.pull()
    reporting.cancel()
    cpu_s, rss_bytes = used()
    _say(
        {
            "results": [as_dict(result) for result in results],
            "cpu_s": cpu_s - cpu_before_s,
            "rss_bytes": rss_bytes,
            "descriptors": len(os.listdir("/proc/self/fd")),
            "events": worker.counts(EVENTS, "event"),
            "verified": worker.counts(VERIFIED, "how"),
        }
    )
    await asyncio.to_thread(sys.stdin.readline)
    os._exit(0)


def main() -> None:
    """One process."""
    event_loop.run(run())


if __name__ == "__main__":
    main()
