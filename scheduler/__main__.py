"""The scheduler's process: builds the object graph, runs it until it is asked to stop, and nothing else."""

import asyncio
import gc
import secrets
import signal
import sys

from scheduler.config import SchedulerConfig
from scheduler.io.admin import Admin
from scheduler.io.denials_file import DenialsFile
from scheduler.io.inline_cache import InlineCache
from scheduler.io.loop import SchedulerLoop
from scheduler.io.server import AttachServer
from scheduler.io.server_tls import ServerTls
from scheduler.io.service import AttachService
from scheduler.io.state_store import MemoryStore
from scheduler.machine import SchedulerMachine
from swarm.dice import Dice
from swarm.errors import DamselflyError
from swarm.facts import Note
from swarm.io import event_loop
from swarm.io.config_file import load
from swarm.io.descriptors import allow_many
from swarm.io.health import HealthServer
from swarm.io.telemetry import Telemetry
from swarm.io.token_file import read_token

DESCRIPTION = (
    "The scheduler of a Damselfly cluster: knows who holds what, and decides who takes what from whom."
)


COLLECT_AFTER, COLLECT_OLDER_AFTER = 100_000, 50
"""New objects after which those are looked through for garbage in cycles, of which a scheduler makes next to none; and
such rounds after which older ones are too. While 10,000 hosts join, Python's default of 700 spends half of the time on
objects that all stay."""


async def run(config: SchedulerConfig) -> None:
    """Run a scheduler until SIGTERM or SIGINT; raises a DamselflyError when it cannot start."""
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    telemetry = Telemetry("scheduler", config.log_format, config.log_level)
    telemetry.adopt_logging()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER, COLLECT_OLDER_AFTER)
    store = MemoryStore()
    inline = InlineCache(config.inline_cache_bytes)
    machine = SchedulerMachine(config, Dice(secrets.randbits(64)))
    denials = DenialsFile(config.denials_file)
    machine.denials.restore(*denials.load())
    loop = SchedulerLoop(machine, store, inline, telemetry, denials=denials)
    seed_token = read_token(config.seed_token_file, "seed_token_file")
    service = AttachService(loop, read_token(config.token_file), telemetry, seed_token=seed_token)
    tell = asyncio.get_running_loop().call_soon_threadsafe  # gRPC asks for certificates in threads of its own
    tls = ServerTls(config, lambda note: tell(telemetry.note, note)) if config.tls_listen else None
    server = AttachServer(config.listen, service, tls_listen=config.tls_listen, tls=tls)
    admin_token = read_token(config.admin_token_file, "admin_token_file")
    admin = Admin(config.metrics_listen, admin_token, loop, machine.denials)
    missing = lambda: ["stopping"] if stopped.is_set() else []  # noqa: E731
    health = HealthServer(config.metrics_listen, telemetry, missing, admin.routes())
    telemetry.gauge("streams", lambda: len(loop.streams))
    telemetry.gauge("denied_digests", lambda: len(machine.denials.denied))
    telemetry.gauge("tasks", lambda: len(machine.cluster.tasks))
    telemetry.gauge("inline_cache_bytes", lambda: inline.usage_bytes)
    try:
        fields = [("listen", await server.start()), ("metrics", await health.start())]
        if server.tls_address:
            fields.append(("tls_listen", server.tls_address))
        telemetry.note(Note("scheduler_ready", fields=tuple(fields)))
        await stopped.wait()
    finally:
        await loop.close()
        await server.stop()
        await health.close()
        await store.close()
    telemetry.note(Note("scheduler_stopped"))


def main(argv: list[str] | None = None) -> None:
    """Run `dfscheduler`; exit code 2 means that the configuration must be changed."""
    try:
        config = load(SchedulerConfig, argv, "dfscheduler", DESCRIPTION)
        allow_many()
        event_loop.run(run(config))
    except DamselflyError as error:
        print(f"dfscheduler: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
