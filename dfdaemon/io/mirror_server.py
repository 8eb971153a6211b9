"""The HTTP server under the mirror, with bounds on clients that connect and say nothing, and on their number."""

import asyncio
from typing import Any
from weakref import WeakSet

from aiohttp import web

from dfdaemon.io.loopback import prefer_cheap_congestion_control
from swarm.addresses import is_loopback

FIRST_REQUEST_S = 15.0
"""How long a client may take for the headers of its first request; after it, keep-alive's time counts."""
REFUSED_SHARE = 2
"""Beyond this many times mirror.connections_max nobody is told why: each answer holds a descriptor for a while."""


class MirrorServer(web.Server):
    """aiohttp's server; its connections are at most REFUSED_SHARE times `connections_max`."""

    def __init__(
        self, handler: Any, connections_max: int, first_request_s: float = FIRST_REQUEST_S, **settings: Any
    ) -> None:
        super().__init__(handler, handler_cancellation=True, **settings)
        self._connections_max = connections_max
        self._first_request_s = first_request_s
        self._spoke: WeakSet[asyncio.BaseTransport] = WeakSet()

    @property
    def is_full(self) -> bool:
        """Whether more clients are connected than are served."""
        return len(self.connections) > self._connections_max

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        """Take a connection; a client that does not speak soon loses it."""
        super().connection_made(handler, transport)
        _tune(transport)
        if len(self.connections) > REFUSED_SHARE * self._connections_max:
            transport.close()
        else:
            asyncio.get_running_loop().call_later(self._first_request_s, self._look_at, transport)

    def spoke(self, transport: asyncio.BaseTransport | None) -> None:
        """A client has sent the headers of a request."""
        if transport is not None:
            self._spoke.add(transport)

    def _look_at(self, transport: asyncio.Transport) -> None:
        if transport not in self._spoke:
            transport.close()


def _tune(transport: asyncio.Transport) -> None:
    """Send cheaply to a client on this host, as nearly all are."""
    peer, sock = transport.get_extra_info("peername"), transport.get_extra_info("socket")
    if sock is not None and isinstance(peer, tuple) and is_loopback(str(peer[0])):
        prefer_cheap_congestion_control(sock)
