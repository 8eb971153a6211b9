"""Everything that is not a pull of content by name: streamed to the origin and back, as it is."""

import asyncio
from collections.abc import AsyncIterator
from urllib.parse import quote, urlsplit

from aiohttp import ClientResponse, web
from multidict import CIMultiDict

from dfdaemon.endpoints import PORTS, Endpoint
from dfdaemon.hop_headers import end_to_end
from dfdaemon.io.origin_client import OriginClient
from dfdaemon.io.origin_transport import body_chunks
from dfdaemon.names import Wanted
from swarm.errors import DamselflyError

OURS = frozenset({"host", "oci-namespace", "expect"})
"""Headers of a request that are meant for the mirror."""
BODILESS = frozenset({204, 304})


class Passthrough:
    """Passes requests on, with repeated headers, and without `ns`."""

    def __init__(self, origin: OriginClient) -> None:
        self._origin = origin

    async def answer(self, request: web.BaseRequest, wanted: Wanted) -> web.StreamResponse:
        """Send a request to its registry and its answer to the client; raises OriginError before the headers."""
        endpoint = self._origin.endpoint(wanted.registry)
        headers = CIMultiDict(end_to_end(request.headers.items(), OURS))
        body = _body(request) if request.can_read_body else None
        async with self._origin.request(
            wanted.registry, request.method, wanted.path, headers, body
        ) as answer:
            response = web.StreamResponse(
                status=answer.status, reason=answer.reason, headers=_answer_headers(answer, endpoint)
            )
            await response.prepare(request)
            if request.method != "HEAD" and answer.status not in BODILESS:
                await _copy(answer, request, response)
            return response


async def _body(request: web.BaseRequest) -> AsyncIterator[bytes]:
    """Give the client's body; a client that waits for leave to send it gets it."""
    if request.headers.get("Expect", "").lower() == "100-continue" and request.transport is not None:
        assert isinstance(request.transport, asyncio.WriteTransport), "a server's transport can write"
        request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    async for chunk in request.content.iter_any():
        yield chunk


async def _copy(answer: ClientResponse, request: web.BaseRequest, response: web.StreamResponse) -> None:
    try:
        async for chunk in body_chunks(answer, request.path):
            await response.write(chunk)
    except DamselflyError:
        response.force_close()
        if request.transport is not None:
            request.transport.close()


def _answer_headers(answer: ClientResponse, endpoint: Endpoint) -> CIMultiDict[str]:
    headers = CIMultiDict(end_to_end(answer.headers.items()))
    if "Location" in headers:
        headers["Location"] = mirrored(headers["Location"], endpoint)
    headers["OCI-Namespace"] = endpoint.registry
    return headers


def mirrored(location: str, endpoint: Endpoint) -> str:
    """Return an address at the origin as one at this mirror, with `ns`; others stay as they are."""
    try:
        parts = urlsplit(location)
        port = parts.port or PORTS.get(parts.scheme or endpoint.scheme)
    except ValueError:
        return location
    at_origin = (parts.scheme, parts.hostname, port) == (endpoint.scheme, endpoint.host, endpoint.port)
    if not at_origin and (parts.scheme or parts.netloc or not parts.path.startswith("/")):
        return location
    query = f"{parts.query}&" if parts.query else ""
    return f"{parts.path}?{query}ns={quote(endpoint.registry, safe='')}"
