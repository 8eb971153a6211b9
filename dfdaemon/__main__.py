"""The daemon's process: builds the object graph, runs it until it is asked to stop, and nothing else."""

import asyncio
import contextlib
import gc
import secrets
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from dfdaemon.config import DaemonConfig, PeerConfig
from dfdaemon.events import BlobEvicted, Event, Stopping
from dfdaemon.io import node_commands
from dfdaemon.io.active_blob import ActiveBlobs
from dfdaemon.io.authorisation import Authoriser
from dfdaemon.io.blob_store import BlobStore
from dfdaemon.io.cluster import ClusterKnowledge
from dfdaemon.io.control import Control
from dfdaemon.io.denied import DeniedContent
from dfdaemon.io.driver import Driver
from dfdaemon.io.identity import host_info, parse_address
from dfdaemon.io.jobs import Jobs
from dfdaemon.io.loop_lag import watch_lag
from dfdaemon.io.orders import Orders
from dfdaemon.io.origin_client import OriginClient
from dfdaemon.io.origin_commands import OriginCommands
from dfdaemon.io.peer_client import PeerClient
from dfdaemon.io.peer_commands import PeerCommands
from dfdaemon.io.peer_server import PeerServer
from dfdaemon.io.peer_tls import PeerTls
from dfdaemon.io.receiver import ReceiverPool
from dfdaemon.io.registry_proxy import RegistryProxy
from dfdaemon.io.scheduler_client import SchedulerClient
from dfdaemon.io.scheduler_tls import LinkTls
from dfdaemon.io.store_commands import StoreCommands
from dfdaemon.io.store_workers import StoreWorkers
from dfdaemon.machine import DaemonMachine
from dfdaemon.patience import Patience
from swarm.addresses import join_address
from swarm.dice import Dice
from swarm.errors import DamselflyError
from swarm.facts import Note
from swarm.io import event_loop
from swarm.io.config_file import load
from swarm.io.descriptors import allow_many
from swarm.io.health import HealthServer
from swarm.io.telemetry import Telemetry
from swarm.io.token_file import read_token
from swarm.messages import HostInfo
from swarm.version import VERSION

WHAT = "The daemon of one node: a registry mirror for the container runtime, and a peer of all other nodes."


@dataclass(frozen=True, slots=True)
class Threads:
    """The threads of a daemon. Daemons of one process may share them, if their pieces have the same digest."""

    receivers: ReceiverPool
    store: StoreWorkers


@dataclass(slots=True)
class Daemon:
    """The parts that something outside still speaks to, once everything is wired."""

    driver: Driver
    store: BlobStore
    blobs: ActiveBlobs
    server: PeerServer
    scheduler: SchedulerClient
    proxy: RegistryProxy
    orders: Orders
    info: HostInfo

    def is_busy(self) -> bool:
        """Tell whether anybody waits for it now."""
        return bool(self.proxy.answering or self.blobs.active or self.server.stats().uploads)


def main(argv: list[str] | None = None) -> None:
    """Run dfdaemon; exits 2 when it cannot start with its settings."""
    words = sys.argv[1:] if argv is None else argv
    if words[:1] in (["configure"], ["unconfigure"], ["doctor"]):
        node_commands.main(words)
        return
    try:
        config = load(DaemonConfig, argv, prog="dfdaemon", description=f"{WHAT} {node_commands.HELP}")
        allow_many()
        event_loop.run(run(config))
    except DamselflyError as error:
        print(f"dfdaemon: {error}", file=sys.stderr)
        sys.exit(2)


async def run(config: DaemonConfig) -> None:
    """Run a daemon until SIGTERM or SIGINT; raises a DamselflyError when it cannot start."""
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    telemetry = Telemetry("daemon", config.log_format, config.log_level)
    telemetry.adopt_logging()
    async with contextlib.AsyncExitStack() as closing:
        daemon = await build(config, telemetry, closing)
        gc.collect()
        gc.freeze()  # modules and parts stay: each full search for garbage among them would hold the loop for 50 ms
        watching = asyncio.create_task(
            watch_lag(partial(telemetry.observe, "loop_lag_seconds"), daemon.is_busy)
        )
        closing.callback(watching.cancel)
        closing.callback(asyncio.create_task(daemon.store.keep_floor()).cancel)
        await open_doors(config, daemon, telemetry, closing)
        await stopped.wait()
        telemetry.note(Note("daemon_stopping", host=daemon.info.host))
        daemon.driver.post(Stopping())
        await asyncio.gather(
            daemon.proxy.close(config.stop_timeout_s), daemon.server.close(config.stop_timeout_s)
        )


def start_threads(config: PeerConfig, closing: contextlib.AsyncExitStack) -> Threads:
    """Make the threads of a daemon; what ends them is left with `closing`."""
    receivers = ReceiverPool(config.receive_threads, config.piece_digest)
    closing.callback(receivers.close)
    store = StoreWorkers()
    closing.push_async_callback(asyncio.to_thread, store.close)
    return Threads(receivers, store)


async def build(
    config: DaemonConfig,
    telemetry: Telemetry,
    closing: contextlib.AsyncExitStack,
    threads: Threads | None = None,
) -> Daemon:
    """Build every part; what ends them, last built first, is left with `closing`. Given threads are not ended."""
    threads = threads or start_threads(config.peer, closing)
    token = read_token(config.peer.token_file, "peer.token_file")
    kind = config.peer.piece_digest
    store = BlobStore(config.store, kind, lambda task: driver.post(BlobEvicted(task)), workers=threads.store)
    closing.push_async_callback(store.close)
    own = host_info(config, parse_address(config.peer.listen, "peer.listen"), VERSION)
    patience = Patience()
    tls = PeerTls(config.peer, telemetry.note)
    served: Callable[[Event], None] = lambda event: taking.served(event)  # noqa: E731, PLW0108 - made below
    server = PeerServer(own, token, config.peer, patience, served, telemetry.note, tls)
    closing.push_async_callback(server.close, 0.0)
    info = host_info(config, await server.start(), VERSION)
    dice = Dice(secrets.randbits(64))
    machine = DaemonMachine(info, config, dice)
    machine.restore(store.offered())
    blobs = ActiveBlobs()
    closing.callback(blobs.close)
    driver = Driver(machine, blobs, store, hold_until_whole=config.mirror.stream == "after-digest")
    jobs = Jobs()
    origin = OriginClient(config.origin, dice, note=telemetry.note)
    closing.push_async_callback(origin.close)
    scheduler = attachment(config, info, token, driver, telemetry)
    closing.push_async_callback(scheduler.close)
    heard: Callable[[Event], None] = lambda event: taking.heard(event)  # noqa: E731, PLW0108 - made below
    peers = PeerClient(info, token, config.peer, threads.receivers, patience, heard, telemetry.note, tls)
    closing.push_async_callback(peers.close)
    storing = StoreCommands(store, blobs, jobs, telemetry, driver.post)
    taking = PeerCommands(store, blobs, peers, server, scheduler, jobs, telemetry, driver.post)
    fetching = OriginCommands(origin, scheduler, blobs, jobs, threads.receivers, driver.post)
    driver.carry_out(storing.table(), taking.table(), fetching.table())
    driver.mend, server.on_unreadable = storing.mend, storing.unreadable
    proxy, orders = open_mirror(config, driver, store, origin, scheduler, jobs, telemetry, closing)
    storing.tell_problems()
    closing.push_async_callback(jobs.close)  # fetches end while the origin can still be left properly
    closing.callback(driver.close)  # first of all: what ends now is no news for the machine
    return Daemon(driver, store, blobs, server, scheduler, proxy, orders, info)


def attachment(
    config: DaemonConfig, info: HostInfo, token: bytes, driver: Driver, telemetry: Telemetry
) -> SchedulerClient:
    """Build the link to the scheduler. A seed may have a token of its own to show there."""
    as_seed = read_token(config.scheduler.seed_token_file, "scheduler.seed_token_file")
    answered = partial(telemetry.observe, "join_answer_seconds")
    return SchedulerClient(
        config.scheduler, info.host, as_seed or token, driver.said, answered, LinkTls(config)
    )


def open_mirror(
    config: DaemonConfig,
    driver: Driver,
    store: BlobStore,
    origin: OriginClient,
    scheduler: SchedulerClient,
    jobs: Jobs,
    telemetry: Telemetry,
    closing: contextlib.AsyncExitStack,
) -> tuple[RegistryProxy, Orders]:
    """Build the registry mirror with what it knows of repositories, and what the scheduler orders about it."""
    cluster = ClusterKnowledge(scheduler)
    denied = DeniedContent(config.store.directory, telemetry.note)
    authoriser = Authoriser(config.mirror, origin, cluster, telemetry.note, denied)
    closing.push_async_callback(authoriser.close)
    proxy = RegistryProxy(config, origin, authoriser, driver, cluster, telemetry.note)
    knowledge = authoriser.knowledge
    orders = Orders(
        cluster, proxy.tags, knowledge, denied, store, driver.blobs, jobs, driver.post, telemetry.note
    )
    driver.told = orders.told
    orders.enforce()
    return proxy, orders


async def open_doors(
    config: DaemonConfig, daemon: Daemon, telemetry: Telemetry, closing: contextlib.AsyncExitStack
) -> None:
    """Start to listen, attach to the scheduler, and say that the daemon is ready."""
    closing.push_async_callback(daemon.proxy.close, 0.0)
    mirror = await daemon.proxy.start()
    control = Control(
        config.control_socket,
        daemon.info,
        daemon.store,
        daemon.blobs,
        daemon.scheduler,
        daemon.orders,
        daemon.proxy.handle,
    )
    closing.push_async_callback(control.close)
    await control.start()
    health = HealthServer(config.metrics_listen, telemetry, list)
    closing.push_async_callback(health.close)
    metrics = await health.start()
    telemetry.gauge("denied_digests", lambda: float(daemon.orders.denied_count))
    telemetry.gauge("scheduler_attached", lambda: float(daemon.scheduler.attached))
    daemon.scheduler.start()
    peers = ",".join(join_address(address.host, address.port) for address in daemon.info.addresses)
    addresses = (("mirror", join_address(mirror.host, mirror.port)), ("peers", peers), ("metrics", metrics))
    telemetry.note(Note("daemon_ready", host=daemon.info.host, fields=addresses))


if __name__ == "__main__":
    main()
