"""The gRPC server around the service: its address, its limits, its start and stop."""

from collections.abc import Callable

import grpc

from scheduler.io.server_tls import ServerTls
from scheduler.io.service import AttachService
from swarm.addresses import join_address, parse_listen
from swarm.errors import ConfigError
from swarm.io.channel import KEEPALIVE_S, server_options
from swarm.rpc import attach_pb2 as pb

STREAMS_MAX = 20_000
"""Streams at once: twice the daemons that one scheduler is built for, since all may attach again together."""
STOP_S = 2.0
"""For the ends of the streams to reach the daemons when the scheduler stops."""

SERVICE = pb.DESCRIPTOR.services_by_name["Scheduler"].full_name


class AttachServer:
    """Listens for daemons."""

    def __init__(
        self,
        listen: str,
        service: AttachService,
        keepalive_s: float = KEEPALIVE_S,
        tls_listen: str = "",
        tls: ServerTls | None = None,
    ) -> None:
        """Listen nowhere yet. With `tls` at `tls_listen` too."""
        self._listen = listen
        self._tls_listen = tls_listen
        self._tls = tls
        self.tls_address = ""
        """Where it listens with TLS, once it has started."""
        options = server_options(keepalive_s)
        self._server = grpc.aio.server(options=options, maximum_concurrent_rpcs=STREAMS_MAX)
        attach = grpc.stream_stream_rpc_method_handler(
            service.attach,
            request_deserializer=pb.DaemonBatch.FromString,
            response_serializer=pb.SchedulerBatch.SerializeToString,
        )
        handler = grpc.method_handlers_generic_handler(SERVICE, {"Attach": attach})
        self._server.add_generic_rpc_handlers((handler,))

    async def start(self) -> str:
        """Listen; returns the address, with the real port. Raises ConfigError when one cannot be had."""
        address = self._bind("listen", self._listen, self._server.add_insecure_port)
        if self._tls is not None:
            credentials = self._tls.credentials()
            add = lambda where: self._server.add_secure_port(where, credentials)  # noqa: E731
            self.tls_address = self._bind("tls_listen", self._tls_listen, add)
        await self._server.start()
        return address

    def _bind(self, setting: str, listen: str, add: Callable[[str], int]) -> str:
        host, port = parse_listen(listen, setting)
        try:
            bound = add(join_address(host or "[::]", port))
        except RuntimeError as error:
            raise ConfigError(f"{setting} = {listen!r} cannot be used: is another process there?") from error
        return join_address(host, bound)

    async def stop(self) -> None:
        """Take no new streams, and give those that were told to end STOP_S to do so."""
        await self._server.stop(STOP_S)
