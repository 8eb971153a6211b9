"""/healthz, /readyz and /metrics of a process, on an address of their own."""

from collections.abc import Callable, Sequence

from aiohttp import web

from swarm.addresses import bind_host, join_address, parse_listen
from swarm.errors import ConfigError
from swarm.io.telemetry import Telemetry

Readiness = Callable[[], list[str]]
"""Returns what is missing for the process to do its work; nothing means that it is ready."""

STOP_S = 1.0
"""A scrape takes milliseconds; one that does not end must not hold up the stop."""


class HealthServer:
    """Serves the state of the process to probes and to Prometheus; `more` are paths that a process adds."""

    def __init__(
        self, listen: str, telemetry: Telemetry, missing: Readiness, more: Sequence[web.RouteDef] = ()
    ) -> None:
        self._host, self._port = parse_listen(listen, "metrics_listen")
        self._telemetry = telemetry
        self._missing = missing
        self._more = more
        self._runner: web.AppRunner | None = None

    async def start(self) -> str:
        """Listen; returns the address, with the real port. Raises ConfigError when it is taken."""
        application = web.Application()
        application.router.add_get("/healthz", self._healthz)
        application.router.add_get("/readyz", self._readyz)
        application.router.add_get("/metrics", self._metrics)
        application.router.add_routes(self._more)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=STOP_S)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, bind_host(self._host), self._port).start()
        except OSError as error:
            await self.close()
            listen = join_address(self._host, self._port)
            raise ConfigError(f"metrics_listen = {listen!r} cannot be used: {error.strerror}") from error
        return join_address(self._host, self._runner.addresses[0][1])

    async def close(self) -> None:
        """Stop listening; more calls do nothing."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    async def _healthz(self, request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _readyz(self, request: web.Request) -> web.Response:
        missing = self._missing()
        return (
            web.Response(status=503, text="\n".join(missing) + "\n") if missing else web.Response(text="ok\n")
        )

    async def _metrics(self, request: web.Request) -> web.Response:
        body, content_type = self._telemetry.exposition()
        return web.Response(body=body, headers={"Content-Type": content_type})
