"""The registry mirror that containerd talks to: OCI distribution pull over HTTP, everything else passed through."""

import asyncio
import contextlib
import logging
from collections.abc import Callable

from aiohttp import web

from dfdaemon.config import DaemonConfig
from dfdaemon.io.authorisation import Authoriser
from dfdaemon.io.blobs import Blobs, Cluster
from dfdaemon.io.loop_turns import LoopTurns
from dfdaemon.io.mirror_answers import (
    API_VERSION,
    TooLarge,
    TooManyClients,
    UnknownMethod,
    error_answer,
    fault_answer,
)
from dfdaemon.io.mirror_server import MirrorServer
from dfdaemon.io.origin_client import OriginClient, OriginSource
from dfdaemon.io.passthrough import Passthrough
from dfdaemon.io.proxy_blobs import ProxyBlobs
from dfdaemon.io.proxy_manifests import ProxyManifests
from dfdaemon.io.tags import Tags
from dfdaemon.names import URL_CHARS_MAX, Wanted, resolve
from dfdaemon.permissions import Place
from dfdaemon.trust import Trust
from swarm.addresses import bind_host, parse_listen
from swarm.errors import ConfigError, DamselflyError
from swarm.facts import Note
from swarm.messages import Address

HEADER_BYTES_MAX = 16 * 1024
"""All headers of a request together; a registry's token takes up to 4 KiB of it."""
HEADERS_MAX = 100
KEEP_ALIVE_S = 120.0
"""containerd keeps connections for 30 s."""
BACKLOG = 512
STOP_S = 0.5
"""What answers get to leave their last buffer after the grace."""
READS = frozenset({"GET", "HEAD"})
METHODS = READS | {"POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
"""What the distribution specification knows, and what browsers ask before."""

_SILENT = logging.getLogger("dfdaemon.mirror.http")
_SILENT.setLevel(
    logging.CRITICAL + 1
)  # what aiohttp says of malformed requests quotes them, credentials included


class RegistryProxy:
    """Serves config.mirror.listen. `handle` may also be mounted elsewhere, such as on the control socket."""

    def __init__(
        self,
        config: DaemonConfig,
        origin: OriginClient,
        authoriser: Authoriser,
        blobs: Blobs,
        cluster: Cluster,
        note: Callable[[Note], None],
    ) -> None:
        self._config = config.mirror
        self._origin = origin
        self._authoriser = authoriser
        self._turns = LoopTurns()
        self._blobs = ProxyBlobs(origin, authoriser, blobs, note, self._turns)
        self.tags = Tags(config.mirror, origin, authoriser, cluster, note)
        self._trust = Trust(config.origin)
        self._manifests = ProxyManifests(origin, authoriser, self._blobs, self.tags, self._trust)
        self._passthrough = Passthrough(origin)
        self._note = note
        self.answering = 0
        """Requests that are not answered to the end yet."""
        self._idle = asyncio.Event()
        self._idle.set()
        self._server: MirrorServer | None = None
        self._runner: web.ServerRunner | None = None

    async def start(self) -> Address:
        """Listen, and return where; raises ConfigError when that is not possible."""
        host, port = parse_listen(self._config.listen, "mirror.listen")
        self._server = MirrorServer(
            self.handle,
            self._config.connections_max,
            access_log=None,
            logger=_SILENT,
            auto_decompress=False,
            keepalive_timeout=KEEP_ALIVE_S,
            max_line_size=URL_CHARS_MAX,
            max_field_size=HEADER_BYTES_MAX,
            max_headers=HEADERS_MAX,
        )
        self._runner = web.ServerRunner(self._server, handle_signals=False, shutdown_timeout=STOP_S)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, bind_host(host), port, backlog=BACKLOG).start()
        except OSError as error:
            await self.close(0)
            raise ConfigError(
                f"mirror.listen = {self._config.listen!r} cannot be listened on: {error.strerror}; "
                "is another daemon running?"
            ) from error
        host, port = self._runner.addresses[0][:2]
        return Address(host, port)

    async def close(self, grace_s: float) -> None:
        """Take no more clients, give answers in progress `grace_s` seconds, end the rest."""
        runner, self._runner = self._runner, None
        if runner is None:
            return
        for site in list(runner.sites):
            await site.stop()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                await self._idle.wait()
        await runner.cleanup()
        self.tags.close()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        self.answering += 1
        self._idle.clear()
        if self._server is not None:
            self._server.spoke(request.transport)
        try:
            await self._turns.next()
            return await self._handle(request)
        finally:
            self.answering -= 1
            if self.answering == 0:
                self._idle.set()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        kind = ""
        try:
            self._check_limits(request)
            wanted = resolve(
                request.raw_path, request.headers.get("OCI-Namespace"), self._config.default_registry
            )
            kind = wanted.kind
            return await self._answer(request, wanted)
        except DamselflyError as error:
            self._note(Note("request_refused", fields=(("method", request.method), ("reason", str(error)))))
            response = error_answer(error, kind)
            if isinstance(error, TooManyClients):
                response.force_close()
            return response
        except ConnectionError:
            return _gone(request)
        except Exception as error:
            message = f"a {request.method} request to the mirror failed; please report this"
            context = {"message": message, "exception": error}
            asyncio.get_running_loop().call_exception_handler(context)
            return _gone(request) if request.writer.output_size else fault_answer()

    async def _answer(self, request: web.BaseRequest, wanted: Wanted) -> web.StreamResponse:
        reads = request.method in READS
        if wanted.kind == "ping" and reads and not self._config.ping_registry:
            return web.json_response({}, headers=dict([API_VERSION]))
        self._origin.endpoint(wanted.registry)
        if reads and wanted.kind == "blob":
            assert wanted.digest is not None, "a blob is named by its digest"
            authorization = self._origin.credential(wanted.registry, request.headers.get("Authorization"))
            source = OriginSource(
                wanted.registry,
                wanted.repository,
                wanted.digest,
                "blob",
                authorization=authorization,
                scope=self._trust.scope(wanted.registry),
            )
            return await self._blobs.answer(request, source)
        if reads and wanted.kind == "manifest":
            answer = await self._manifests.answer(request, wanted)
            if answer is not None:
                return answer
        passed = await self._passthrough.answer(request, wanted)
        if not reads and wanted.kind == "manifest" and passed.status < 300:
            self.tags.pushed(Place(wanted.registry, wanted.repository), wanted.reference)
        return passed

    def _check_limits(self, request: web.BaseRequest) -> None:
        if request.method not in METHODS:
            raise UnknownMethod(f"{request.method[:20]!r} is no method of a registry")
        if sum(len(key) + len(value) + 4 for key, value in request.raw_headers) > HEADER_BYTES_MAX:
            raise TooLarge("headers", f"a request may have {HEADER_BYTES_MAX} bytes of them")
        if self._server is not None and self._server.is_full:
            limit = self._config.connections_max
            raise TooManyClients(f"more than {limit} clients are connected; raise mirror.connections_max")


def _gone(request: web.BaseRequest) -> web.StreamResponse:
    """Return the response to a client that is not there any more: nothing of it is sent."""
    if request.transport is not None:
        request.transport.abort()
    response = web.Response()
    response.force_close()
    return response
