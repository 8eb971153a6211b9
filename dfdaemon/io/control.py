"""The control socket: what the daemon holds and does, for dfget and dfctl on this machine.

A Unix socket that only its owner may open. Besides its own paths it answers the registry mirror's, so that
the
command-line tools pass the same authorisation as every other client.
"""

import contextlib
import os
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from pathlib import Path

from aiohttp import web

from dfdaemon.io.active_blob import ActiveBlobs
from dfdaemon.io.blob_store import BlobStore
from dfdaemon.io.ledger import Account
from dfdaemon.io.orders import Orders
from dfdaemon.io.scheduler_client import SchedulerClient
from swarm.digest import Digest
from swarm.errors import BadDigest, ConfigError
from swarm.ids import TaskId
from swarm.messages import HostInfo
from swarm.repositories import Purge

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
SOCKET_PATH_BYTES_MAX = 107
"""What the kernel takes as the path of a Unix socket (unix(7))."""


class Control:
    """Serves the control socket."""

    def __init__(
        self,
        path: str,
        info: HostInfo,
        store: BlobStore,
        blobs: ActiveBlobs,
        scheduler: SchedulerClient,
        orders: Orders,
        mirror: Handler,
    ) -> None:
        self._path = path
        self._info = info
        self._store = store
        self._blobs = blobs
        self._scheduler = scheduler
        self._orders = orders
        self._mirror = mirror
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Listen; raises ConfigError when the socket cannot be made there."""
        if not self._path:
            return
        if len(self._path.encode()) > SOCKET_PATH_BYTES_MAX:
            raise ConfigError(
                f"control_socket {self._path} is too long: at most {SOCKET_PATH_BYTES_MAX} bytes"
            )
        app = web.Application()
        app.router.add_get("/control/status", self._status)
        app.router.add_get("/control/explain/{digest}", self._explain)
        app.router.add_post("/control/purge", self._purge)
        app.router.add_route("*", "/{path:.*}", self._mirror)
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True)
        await self._runner.setup()
        try:
            self._make_way()
            await web.UnixSite(self._runner, self._path).start()
            os.chmod(self._path, 0o600)
        except OSError as error:
            await self._runner.cleanup()
            raise ConfigError(f"control_socket {self._path} cannot be made: {error.strerror}") from error

    def _make_way(self) -> None:
        """Make the folder, and remove the socket of a daemon that is gone (two on one store are refused
        before)."""
        path = Path(self._path)
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        if path.is_socket():
            path.unlink()

    async def close(self) -> None:
        """Stop listening and remove the socket."""
        if self._runner is not None:
            await self._runner.cleanup()
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._path)

    async def _status(self, _: web.Request) -> web.Response:
        stored = self._store.inventory()
        return web.json_response(
            {
                "host": self._info.host,
                "zone": self._info.zone,
                "version": self._info.version,
                "scheduler": self._scheduler.attached,
                "scheduler_reason": "" if self._scheduler.attached else self._scheduler.reason,
                "store": {
                    "blobs": sum(blob.complete for blob in stored),
                    "partial": sum(not blob.complete for blob in stored),
                    "bytes": self._store.usage_bytes(),
                },
                "active": [
                    {
                        "digest": str(blob.digest),
                        "size": blob.pieces.size,
                        "pieces": blob.pieces.count,
                        "pieces_held": blob.released.bit_count(),
                        "readers": len(blob.readers),
                        "ring": blob.ring,
                    }
                    for blob in self._blobs.active.values()
                ],
            }
        )

    async def _explain(self, request: web.Request) -> web.Response:
        try:
            digest = Digest.parse(request.match_info["digest"]).task
        except BadDigest as error:
            return web.json_response({"error": str(error)}, status=400)
        copies = self._store.copies(digest)
        task = self._blobs.ledger.named(digest) or (copies[0] if copies else digest)
        stored = self._store.get(task)
        account = self._blobs.ledger.get(task)
        if stored is None and account is None:
            text = (
                f"this daemon neither holds {digest} nor remembers it; was it pulled through another mirror?"
            )
            return web.json_response({"error": text}, status=404)
        state = "complete" if stored and stored.complete else "partial" if stored else "not stored"
        return web.json_response(
            {**describe(account), "digest": digest, "state": state, "size": self._size(task)}
        )

    async def _purge(self, request: web.Request) -> web.Response:
        """Forget a blob, or what a tag meant, on this machine."""
        asked = request.query
        try:
            task = Digest.parse(asked["digest"]).task if "digest" in asked else TaskId("")
        except BadDigest as error:
            return web.json_response({"error": str(error)}, status=400)
        names = tuple(asked.get(key, "") for key in ("registry", "repository", "tag"))
        if not task and not all(names):
            return web.json_response({"error": "name a digest, or registry, repository and tag"}, status=400)
        freed = [self._store.get(copy) for copy in self._store.copies(task)]
        self._orders.purge(Purge(task, *names))
        return web.json_response({"bytes": sum(stored.size for stored in freed if stored is not None)})

    def _size(self, task: TaskId) -> int:
        stored = self._store.get(task)
        account = self._blobs.ledger.get(task)
        return stored.size if stored else account.size if account else 0


def describe(account: Account | None) -> dict[str, object]:
    """Return an account as JSON; empty for a blob that came before the daemon's start."""
    return {} if account is None else {**asdict(account), "seconds": account.seconds}
